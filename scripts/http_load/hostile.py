"""Clients that read slowly, leave, say half of something, or too much."""

import asyncio
import contextlib
import re
import socket
import struct
import time

from http_load.client import question
from http_load.report import MIB

# A slow reader's unread text may take a mebibyte in the front door; the rest is the heaps of short-lived
# allocations, as in scripts/soak.
SLOW_READER = 1 * MIB
HEAPS = 32 * MIB
# The largest body is 8 MiB; while it is read it may be held twice, once more as it grows, and once as a value.
FLOOD = 4 * 8 * MIB
# What a client may send before it must have been refused.
FLOOD_BYTES = 64 * MIB


class Line:
    """A connection on which anything may be sent."""

    def __init__(self, door):
        self.door = door
        self.loop = asyncio.get_running_loop()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.got = bytearray()
        self.is_over = False

    async def open(self, is_small=False):
        if is_small:
            # Otherwise the kernels of both sides hold megabytes, and the server never learns that nobody reads.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        await self.loop.sock_connect(self.socket, (self.door.host, self.door.port))
        return self

    async def send(self, data):
        await self.loop.sock_sendall(self.socket, data)

    async def receive(self, size=1 << 16):
        """Reads something; b"" at the end, however it came."""
        try:
            data = await self.loop.sock_recv(self.socket, size)
        except OSError:
            data = b""
        self.is_over = not data
        self.got += data
        return data

    async def receive_events(self, count):
        while self.got.count(b"\ndata: ") < count and await self.receive():
            pass

    async def wait_until_over(self):
        while await self.receive():
            pass

    @property
    def status(self):
        """The status of the answer; None if none has come."""
        found = re.match(rb"HTTP/1\.1 (\d+)", self.got)
        return int(found.group(1)) if found else None

    def half_close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


async def hang_up(door, choose, lines, index):
    """Asks, and leaves at a moment and in a way that are chosen at random."""
    moment = choose.choice(["header", "body", "waiting", "prompt", "streaming"])
    # No prompt is like another, so that each must be computed, and answers go on for longer than anybody
    # waits here.
    text = f"{index} {'word ' * 200}"
    long = {"prompt": text} if index % 2 else {"messages": [{"role": "user", "content": text}]}
    streams = moment == "streaming" or choose.random() < 0.5
    request = door.request("POST", *question(index, 3000, stream=streams, **long))
    head = request.index(b"\r\n\r\n") + 4
    sent = {"header": choose.randrange(1, head), "body": choose.randrange(head, len(request))}
    pause = choose.uniform(0, 1) if moment == "waiting" else choose.uniform(0, 0.05)
    events, leave = choose.randrange(1, 20), choose.choice([Line.close, Line.reset, Line.half_close])
    line = await Line(door).open()
    lines.append(line)
    await line.send(request[: sent.get(moment, len(request))])
    if moment == "streaming":
        await line.receive_events(events)
    else:
        await asyncio.sleep(pause)
    leave(line)


class HalfOpen:
    """Connections that never come to their point, and when the server closed them."""

    # Who sends something is not idle, and how slow a client may be is not agreed.
    SLOW = ["drips a body"]

    def __init__(self, door):
        self.door = door
        # By kind, how long each line lived; None while it does.
        self.lines = {}
        self.tasks, self.opened = [], 0
        path, body = question(1, 4)
        request = door.request("POST", path, {**body, "prompt": "word " * 1000})
        head = request.index(b"\r\n\r\n") + 4
        health = door.request("GET", "/health")
        # What each kind sends, and what it goes on with byte by byte.
        self.kinds = {
            "says nothing": (b"", b""),
            "sends half a header": (request[: head // 2], b""),
            "drips a header": (b"GET /health HTTP/1.1\r\nX-Slow: ", b"a"),
            "sends half a body": (request[: head + 500], b""),
            "is kept open after an answer": (health, b""),
            "drips a body": (door.head("POST", path, ["Content-Length: 1000000"]), b" "),
        }

    async def open(self, count):
        self.opened = time.monotonic()
        for kind, (begin, drip) in self.kinds.items():
            for _ in range(count):
                line = await Line(self.door).open()
                await line.send(begin)
                self.lines.setdefault(kind, {})[line] = None
                self.tasks.append(asyncio.create_task(self.watch(line, self.lines[kind])))
                if drip:
                    self.tasks.append(asyncio.create_task(self.drip(line, drip)))

    @staticmethod
    async def watch(line, lives):
        began = time.monotonic()
        await line.wait_until_over()
        lives[line] = time.monotonic() - began

    @staticmethod
    async def drip(line, byte):
        with contextlib.suppress(OSError):
            while not line.is_over:
                await line.send(byte)
                await asyncio.sleep(1)

    @property
    def open_count(self):
        return sum(life is None for lives in self.lines.values() for life in lives.values())

    async def wait(self, seconds):
        """Waits until all that must be closed are, for so many seconds after they were opened."""
        while time.monotonic() < self.opened + seconds:
            if all(None not in lives.values() for kind, lives in self.lines.items() if kind not in self.SLOW):
                return
            await asyncio.sleep(0.1)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for lives in self.lines.values():
            for line in lives:
                line.close()
        self.lines, self.tasks = {}, []


def floods(door):
    """What to send, by name: a beginning, and what is repeated so many times after it."""
    post, many = ("POST", "/v1/completions"), FLOOD_BYTES >> 16
    chunked = door.head(*post, ["Transfer-Encoding: chunked"])
    block = b"a" * (1 << 16)
    brackets = b"[" * MIB
    return {
        "a header of 1 MiB": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ", block, 16),
        "10,000 header lines": (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"".join(b"X-%d: a\r\n" % n for n in range(10000)), 1
        ),
        "a path of 1 MiB": (b"GET /", block, 16),
        "a chunked body without end": (chunked, b"10000\r\n" + block + b"\r\n", many),
        "a body of 100 MB": (door.head(*post, ["Content-Length: 100000000"]), block, 100_000_000 >> 16),
        "the extension of a chunk without end": (chunked + b"1;", block, many),
        "trailers without end": (chunked + b"1\r\n \r\n0\r\n", b"X-Trailer: aaaaaaaaaaaaaaaa\r\n" * 2048, many),
        "a chunk of more bytes than a number holds": (chunked + b"F" * 17 + b"\r\n", block, many),
        "a body of 1 MiB of brackets": (
            door.head(*post, [f"Content-Length: {len(brackets)}"]), brackets[: 1 << 16], 16
        ),
    }


async def flood(door, begin, block, count, patience):
    """Sends until the server answers or closes, for which it then has some more seconds.

    Returns the answer's status or "closed", None if neither came; and how many bytes were sent until then.
    """
    line = await Line(door).open()
    listener = asyncio.create_task(line.receive())
    sent = 0
    with contextlib.suppress(OSError):
        await line.send(begin)
        for _ in range(count):
            sender = asyncio.create_task(line.send(block))
            await asyncio.wait([sender, listener], return_when=asyncio.FIRST_COMPLETED, timeout=10)
            if listener.done() or not sender.done():
                sender.cancel()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await sender
                break
            sender.result()
            sent += len(block)
    await asyncio.wait([listener], timeout=patience)
    has_ended = listener.done()
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    line.close()
    return (line.status or "closed") if has_ended else None, sent
