"""Checks with LangChain's standard tests of a chat model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from client_checks.common import short

TESTS = Path(__file__).resolve().parent / "langchain_standard_tests.py"


class LangChain:
    """LangChain's standard tests of a chat model, run by pytest."""

    CERTAIN = "not (json_mode or loop or unicode_tool or tool_calling_async or (tool_calling and not no_arguments))"
    NOT_CERTAIN = {
        "json mode": "an object of whose members the server is not told",
        "agent loop": "a call that may be left out",
        "tool calling, its async form, unicode tool call": "arguments that are copied from the question",
    }

    def __init__(self, pipeline, model):
        self.pipeline, self.model = pipeline, model

    def report(self, report, is_clever):
        environment = {**os.environ, "TRESTLE_URL": f"{self.pipeline.url}/v1", "TRESTLE_MODEL": self.model}
        selection = []
        if not is_clever:
            environment["TRESTLE_BIAS"] = json.dumps(self.bias({'"': 30, "}": 32}))
            selection = ["-k", self.CERTAIN]
            for name, why in self.NOT_CERTAIN.items():
                report.skip(f"langchain: {name}: {why}: needs a cleverer model; try --clever --model PATH of one")
        for case in self.run(environment, selection):
            self.tell(report, case)

    def bias(self, values):
        """By the tokens of texts, as the API wants it."""
        bias = {}
        for text, value in values.items():
            tokens = json.loads(self.pipeline.ask("POST", "/tokenize", {"content": text})[2])["tokens"]
            bias |= {str(token): value for token in tokens}
        return bias

    def run(self, environment, selection):
        results = self.pipeline.directory / "langchain.xml"
        line = [
            sys.executable, "-m", "pytest", TESTS, *selection,
            f"--junitxml={results}", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto",
            "-o", "asyncio_default_test_loop_scope=session",
            "--disable-socket", "--allow-hosts=127.0.0.1", "--allow-unix-socket",
        ]
        done = subprocess.run(
            line, env=environment, cwd=self.pipeline.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True)
        cases = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
        if not cases:
            raise RuntimeError(done.stdout)
        return cases

    def tell(self, report, case):
        name = f"langchain: {case.get('name').removeprefix('test_').replace('_', ' ')}"
        if (skipped := case.find("skipped")) is not None:
            report.skip(f"{name}: {skipped.get('message')}")
            return
        faults = [case.find(kind) for kind in ("failure", "error")]
        told = [short(fault.get("message")) for fault in faults if fault is not None]
        report.tell(name, told[0] if told else None, float(case.get("time")))
