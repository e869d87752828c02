"""What the checks of all clients share: what is asked, how it is compared, and the report."""

import asyncio
import inspect
import json
import socket
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import openai
from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).resolve().parent
PROMPT = "To be, or not to be"
# Tokens for sixteen calls, which is as many as one answer may have.
ROOM = 2000
# What has to be tried again is a fault here, and what takes a minute hangs.
CLIENT = {"api_key": "none", "max_retries": 0, "timeout": 60}


class Closed(BaseModel):
    """Has no other members than those that are named; a weak model would add them for ever."""

    model_config = ConfigDict(extra="forbid")


class Weather(Closed):
    """Tells the weather of the next days."""

    city: str = Field(max_length=12)
    days: int = Field(ge=1, le=7)


class Person(Closed):
    """Somebody in a play."""

    name: str = Field(min_length=1, max_length=10)
    kind: Literal["king", "fool"]
    ages: list[int] = Field(max_length=3)


# No part of it needs a bound to have an end, for clients that leave bounds out of a schema.
class Verdict(Closed):
    """A judgement."""

    kind: Literal["king", "fool"]
    is_just: bool


# In the form of each interface.
TOOL = openai.pydantic_function_tool(Weather, name="get_weather")
RESPONSES_TOOL = {
    "type": "function", "name": "get_weather", "strict": True, "parameters": TOOL["function"]["parameters"]}
MESSAGES_TOOL = {
    "name": "get_weather", "description": Weather.__doc__, "input_schema": TOOL["function"]["parameters"]}


def user(text):
    return [{"role": "user", "content": text}]


def same(actual, wanted):
    assert actual == wanted, f"{actual!r}, not {wanted!r}"


def error_of(kind, function, **arguments):
    """The error of this kind that the function must raise."""
    try:
        function(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


class Report:
    """Prints a line for each check, and counts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        # Clients keep connections, which belong to the loop that opened them.
        self.runner = asyncio.Runner()

    def tell(self, what, fault, seconds):
        print(f"FAIL  {what}: {fault}" if fault else f"ok    {what} ({seconds:.1f} s)", flush=True)
        self.failed += bool(fault)
        self.passed += not fault

    def skip(self, what):
        print(f"skipped: {what}", flush=True)
        self.skipped += 1

    def check(self, what, fact):
        began, fault = time.monotonic(), None
        try:
            result = fact()
            if inspect.iscoroutine(result):
                self.runner.run(result)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            line = [frame.lineno for frame in frames if Path(frame.filename).parent == FOLDER][-1]
            fault = f"{type(error).__name__}: {short(str(error))}, line {line}"
        self.tell(what, fault, time.monotonic() - began)

    def check_all(self, title, section):
        """Checks each public method of a section: its name is the fact."""
        for kind in reversed(type(section).__mro__):
            for name, value in vars(kind).items():
                if inspect.isfunction(value) and not name.startswith("_"):
                    self.check(f"{title}: {name.replace('_', ' ')}", getattr(section, name))


def short(text):
    return " ".join(text.split())[:600]


def too_long(pipeline):
    return "word " * pipeline.status()["context_tokens"]


def wait_until_idle(pipeline):
    """A client that has gone may keep nothing busy for more than two seconds."""
    deadline = time.monotonic() + 2
    while pipeline.status()["sessions"]:
        assert time.monotonic() < deadline, pipeline.status()["sessions"]
        time.sleep(0.05)


@contextmanager
def full_queue(pipeline):
    """As many long requests as are taken, so that one more is turned away; gives a function that ends them."""
    sockets = []

    def release():
        while sockets:
            sockets.pop().close()

    try:
        # Eight answers at once, then single ones, until neither finds room.
        for count in (8, 1):
            while begin_long(pipeline, count, sockets):
                assert len(sockets) < 200, "nothing was turned away"
        yield release
    finally:
        release()
        wait_until_idle(pipeline)


def begin_long(pipeline, count, sockets):
    """Begins so many answers that take minutes, in one request; false if it was turned away."""
    body = json.dumps({"prompt": "a", "n": count, "max_tokens": 3000, "ignore_eos": True}).encode()
    own = socket.create_connection(("127.0.0.1", pipeline.port))
    sockets.append(own)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    own.sendall(head.encode() + body)
    own.settimeout(0.3)
    try:
        return own.recv(12) != b"HTTP/1.1 429"
    except TimeoutError:
        return True
