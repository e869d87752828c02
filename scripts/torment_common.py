"""Shared by scripts/torment and scripts/soak: a pipeline under test and streams that are compared."""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROMPT = "KING RICHARD III:\nMy lord, "
LAYERS = 30
# The adverse conditions that last through the whole run.
HARDSHIPS = ["stops", "sleepy-log", "descriptors", "mute-client"]
DESCRIPTORS = 256


class Torment(Exception):
    """The pipeline has failed the test."""


class Pipeline:
    """`trestle up`, its log with the time of each line, and commands to it."""

    def __init__(self, arguments, directory):
        self.binary = arguments.binary
        self.tokens = arguments.tokens
        self.directory = directory
        self.endpoint = f"ipc://{directory}/front"
        self.log = []
        self.hardships = arguments.under
        self.choose = random.Random(arguments.seed + 1)
        # Timeouts are longer by the time for which the coordinator, or the reader of its log, may pause.
        self.patience = 5 if {"stops", "sleepy-log"} & set(self.hardships) else 1
        self.is_over = False
        self.stopped = 0
        workers = arguments.workers
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)))
        self.process = subprocess.Popen(
            [self.binary, "up", "--model", arguments.model, "--endpoint", self.endpoint,
             "--slots", "16", "--devices", ",".join(["cpu"] * workers),
             "--threads", ",".join(["1"] * workers),
             "--split", ",".join(map(str, self.even(workers)))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=limit if "descriptors" in self.hardships else None)
        if self.process.stdout.readline() != "ready\n":
            sys.exit("torment: the pipeline did not start: " + self.process.stderr.read())
        threading.Thread(target=self.read_log, daemon=True).start()
        self.stopper = threading.Thread(target=self.stop_and_go)
        self.mute = None

    def begin_hardships(self):
        if "stops" in self.hardships:
            self.stopper.start()
        if "mute-client" in self.hardships:
            self.mute = subprocess.Popen(
                [self.binary, "run", "--raw", "--max-tokens", "3000", "--temperature", "0.8",
                 "--seed", "2", "--endpoint", self.endpoint, PROMPT],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            time.sleep(0.3)
            self.mute.send_signal(signal.SIGSTOP)

    def end_hardships(self):
        self.is_over = True
        if self.stopper.ident:
            self.stopper.join()
        if self.mute:
            self.mute.kill()
            self.mute.wait()

    def stop_and_go(self):
        """Stops the coordinator now and then, mostly for a second or two and sometimes for long."""
        while not self.is_over:
            time.sleep(self.choose.uniform(0.5, 5))
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(min(30, 0.1 * 300 ** self.choose.random() ** 2))
            self.process.send_signal(signal.SIGCONT)
            self.stopped += 1

    @staticmethod
    def even(workers):
        return [LAYERS // workers + (1 if i < LAYERS % workers else 0) for i in range(workers)]

    def read_log(self):
        for line in self.process.stderr:
            self.log.append((time.monotonic(), line))
            if "sleepy-log" in self.hardships and self.choose.random() < 0.02 and not self.is_over:
                time.sleep(min(30, 0.1 * 300 ** self.choose.random()))

    def command(self, *arguments):
        return subprocess.run([self.binary, *arguments, "--endpoint", self.endpoint, "--json"],
                              capture_output=True, text=True, timeout=120 * self.patience)

    def document(self, *arguments):
        outcome = self.command(*arguments)
        try:
            return json.loads(outcome.stdout)
        except ValueError:
            raise Torment(f"no answer to {arguments[0]}: {outcome.stderr}") from None

    def status(self):
        return self.document("status")

    def generate(self, seed):
        outcome = self.command("run", "--raw", "--temperature", "0.8", "--seed", str(seed),
                               "--max-tokens", str(self.tokens), PROMPT)
        return json.loads(outcome.stdout)["tokens"] if outcome.returncode == 0 else outcome.stderr

    def lines(self, moment, *words):
        """The log's lines since a moment that contain all the words, each with its time."""
        return [(at, line) for at, line in list(self.log)
                if at >= moment and all(word in line for word in words)]

    def wait_for(self, what, condition, limit=60):
        limit *= self.patience
        deadline = time.monotonic() + limit
        while not (value := condition()):
            if self.process.poll() is not None:
                raise Torment(f"the coordinator has ended, waiting for {what}")
            if time.monotonic() > deadline:
                raise Torment(f"not within {limit} s: {what}")
            time.sleep(0.005)
        return value

    def resident(self):
        return resident(self.process.pid)


def resident(pid):
    """The resident memory of a process in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) << 10


def descriptor_count(pid):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Streams:
    """Clients that send requests repeatedly until told to stop."""

    def __init__(self, pipeline, expected):
        self.pipeline, self.expected = pipeline, expected
        self.finished, self.wrong, self.is_over = 0, [], False
        self.threads = [threading.Thread(target=self.run, args=(seed,)) for seed in expected]
        for thread in self.threads:
            thread.start()

    def run(self, seed):
        while not self.is_over:
            tokens = self.pipeline.generate(seed)
            if tokens != self.expected[seed]:
                self.wrong.append((seed, tokens))
            self.finished += 1

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()
