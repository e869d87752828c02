"""Requests to the front door, and the times at which each part of an answer comes."""

import asyncio
import bisect
import json
import statistics
import time
from dataclasses import dataclass, field

PROMPTS = ["To be, or not to be", "My lord, the king is", "What news from", "Enter the duke, and with him"]


@dataclass(frozen=True)
class Door:
    """Where the front door listens."""

    host: str
    port: int
    key: str

    def request(self, method, path, body=None, headers=()):
        data = json.dumps(body).encode() if body is not None else b""
        return self.head(method, path, [f"Content-Length: {len(data)}", *headers]) + data

    def head(self, method, path, headers):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", *headers]
        lines += ["Content-Type: application/json", f"Authorization: Bearer {self.key}"]
        return "\r\n".join([*lines, "", ""]).encode()


class Exchange(asyncio.Protocol):
    """A request and its answer, with the time at which each part has come."""

    def __init__(self, request, keeps):
        self.request, self.keeps = request, keeps
        self.buffer, self.body = bytearray(), bytearray()
        self.status, self.headers, self.size = None, {}, 0
        # How large the body was at which time.
        self.marks = []
        # Why there is no whole answer; None if there is.
        self.fault = "no answer"
        self.began = time.perf_counter()
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        now = time.perf_counter()
        self.buffer += data
        if self.status is None and not self.read_head():
            return
        is_whole = self.read_chunks() if self.is_chunked else self.read_rest()
        self.marks.append((self.size, now))
        if is_whole:
            self.finish(None)

    def read_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (l.partition(":") for l in lines[1:])}
        self.status = int(lines[0].split()[1])
        self.is_chunked = self.headers.get("transfer-encoding") == "chunked"
        del self.buffer[: end + 4]
        return True

    def read_rest(self):
        self.take(self.buffer)
        self.buffer.clear()
        return self.size >= int(self.headers.get("content-length", 0))

    def read_chunks(self):
        at = 0
        while (end := self.buffer.find(b"\r\n", at)) >= 0:
            size = int(self.buffer[at:end], 16)
            if len(self.buffer) < end + size + 4:
                break
            if size == 0:
                return True
            self.take(self.buffer[end + 2 : end + 2 + size])
            at = end + size + 4
        del self.buffer[:at]
        return False

    def take(self, data):
        self.size += len(data)
        if self.keeps:
            self.body += data

    def connection_lost(self, error):
        self.finish(f"cut off after {self.size} bytes" + (f": {error}" if error else ""))

    def finish(self, fault):
        if not self.over.done():
            self.fault = fault
            self.over.set_result(None)

    @property
    def document(self):
        return json.loads(self.body)

    @property
    def events(self):
        """The events of a stream, each with its time; the last is None if the stream ended as it should."""
        events, at = [], 0
        sizes = [size for size, _ in self.marks]
        for frame in bytes(self.body).split(b"\n\n")[:-1]:
            at += len(frame) + 2
            _, moment = self.marks[bisect.bisect_left(sizes, at)]
            data = [line[6:] for line in frame.split(b"\n") if line.startswith(b"data: ")]
            if data:
                events.append((moment, None if data[0] == b"[DONE]" else json.loads(data[0])))
        return events


@dataclass
class Answer:
    """What a stream or a whole answer says."""

    text: str = ""
    usage: dict = field(default_factory=dict)
    reasons: list = field(default_factory=list)
    # When each piece of text has come.
    times: list = field(default_factory=list)
    fault: str = ""

    def add(self, document, moment):
        if "error" in document:
            self.fault = json.dumps(document["error"])
        self.usage = document.get("usage") or self.usage
        for choice in document.get("choices", []):
            part = choice.get("delta") or choice.get("message") or choice
            text = part.get("text") or part.get("content") or ""
            if text:
                self.text += text
                self.times.append(moment)
            self.reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []

    @property
    def gaps(self):
        return [b - a for a, b in zip(self.times, self.times[1:])]


def read_answer(exchange):
    """What an exchange says, or what went wrong with it."""
    answer = Answer()
    if exchange.fault:
        # An error may stand at the end of what has come.
        answer.fault = f"{exchange.fault} {bytes(exchange.body[-100:])!r}"
        return answer
    if exchange.status != 200:
        answer.fault = f"{exchange.status} {bytes(exchange.body[:150])!r}"
        return answer
    if not exchange.headers["content-type"].startswith("text/event-stream"):
        answer.add(exchange.document, exchange.marks[-1][1])
        return answer
    events = exchange.events
    for moment, document in events:
        if document is not None:
            answer.add(document, moment)
    if not answer.fault and (not events or events[-1][1] is not None):
        answer.fault = "the stream has no [DONE]"
    return answer


async def ask(door, method, path, body=None, timeout=120, keeps=True, headers=()):
    """One request on a connection of its own; it does not throw, the answer says what went wrong."""
    exchange = Exchange(door.request(method, path, body, headers), keeps)
    transport = None
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: exchange, door.host, door.port)
        await asyncio.wait_for(asyncio.shield(exchange.over), timeout)
    except asyncio.TimeoutError:
        exchange.fault = f"no whole answer within {timeout} s, {exchange.size} bytes of it"
    except OSError as error:
        exchange.fault = str(error)
    finally:
        if transport:
            transport.close()
    return exchange


def question(index, tokens, stream=True, **more):
    """A request whose answer is the same each time: chats and completions in turn."""
    text = f"{PROMPTS[index % len(PROMPTS)]} {index}"
    body = {"max_tokens": tokens, "temperature": 1, "top_k": 64, "top_p": 0.95, "seed": index, "ignore_eos": True}
    if stream:
        body.update(stream=True, stream_options={"include_usage": True})
    if index % 2:
        return "/v1/completions", {**body, "prompt": text, **more}
    return "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": text}], **more}


async def answers(door, questions, **more):
    """The answers to questions that are asked at once."""
    tasks = [ask(door, "POST", path, body, **more) for path, body in questions]
    return [read_answer(exchange) for exchange in await asyncio.gather(*tasks)]


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


def measure(door, count, tokens):
    """Seconds to the first token and between tokens of some streams, and how many of them failed."""
    asked = [question(1000 + index, tokens) for index in range(count)]

    async def run():
        tasks = [ask(door, "POST", path, body, timeout=60) for path, body in asked]
        return await asyncio.gather(*tasks)

    exchanges = asyncio.run(run())
    streams = [read_answer(exchange) for exchange in exchanges]
    gaps = [gap for stream in streams for gap in stream.gaps]
    return {
        "first": statistics.median(
            stream.times[0] - exchange.began if stream.times else float("inf")
            for stream, exchange in zip(streams, exchanges)
        ),
        "p50": quantile(gaps, 0.5),
        # A stream that failed has had a gap without an end.
        "p99": float("inf") if any(stream.fault for stream in streams) else quantile(gaps, 0.99),
        "faults": [stream.fault for stream in streams if stream.fault],
    }


def told_times(runs, name):
    values = [1000 * run[name] for run in runs]
    return f"{statistics.median(values):.2f} ms ({min(values):.2f} to {max(values):.2f})"
