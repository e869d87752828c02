"""A model hub that can lie: it plays a Hugging Face-compatible hub, its CDN and a stranger on three ports of this machine.

    hub = FakeHub(); hub.add(Repository("org/name", {"model-Q8_0.gguf": File(content, lfs=True)}))
    hub.url is what HF_ENDPOINT is set to; repository.fault("content", "drop", 100_000, count=2) makes two answers end early;
    hub.requests tells what was asked for, with which headers, and how many bytes left. See FAULTS for all that can go wrong.
"""

import hashlib
import json
import random
import select
import socket
import struct
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAIN = "main"
CHUNK = 64 << 10
# What can go wrong, by name; `value` is what Repository.fault() is given. Those of an answer's body are for contents only.
FAULTS = {
    "status": "(code, headers): this answer instead of the right one",
    "redirect": "a URL to be sent to, or `loop` for the URL that was asked for, with one more parameter each time",
    "body": "bytes: these instead of the JSON",
    "next": "a URL, or `same`: tree pages go on there, without an end",
    "drop": "bytes after which the connection ends",
    "reset": "bytes after which the connection is reset",
    "stall": "bytes after which nothing more comes",
    "rate": "bytes a second",
    "ignore-range": "the whole content, with status 200",
    "no-content-range": "a part without a word on which",
    "range-start": "how much too high the start is that Content-Range names",
    "range-total": "how much too high the total is that Content-Range names",
    "short": "bytes that the body has fewer than Content-Length says",
    "fewer": "bytes that the range ends before what was asked for, and says so",
    "more": "bytes that the range ends after what was asked for, and says so",
    "endless": "bytes that are sent at most, without a Content-Length",
    "other": "other bytes of the same size: the content has changed",
}


def seeded(seed, size):
    """Large content that is the same for each seed."""
    return random.Random(seed).randbytes(size)


def git_digest(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class File:
    """A file of a repository. `listed` replaces members of what the tree says of it: size, oid."""

    content: bytes
    lfs: bool = True
    listed: dict = field(default_factory=dict)

    def __post_init__(self):
        self.oid = hashlib.sha256(self.content).hexdigest() if self.lfs else git_digest(self.content)

    def entry(self, path):
        size, oid = self.listed.get("size", len(self.content)), self.listed.get("oid", self.oid)
        entry = {"type": "file", "path": path, "size": size, "oid": oid}
        if self.lfs:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()
            entry |= {"oid": git_digest(pointer), "lfs": {"oid": oid, "size": size, "pointerSize": len(pointer)}}
        return entry


@dataclass
class Fault:
    where: str
    what: str
    value: object
    count: float
    path: str | None
    met: int = 0


class Repository:
    """A repository at one or more commits. `token` is what its files need, `private` hides all of it without."""

    def __init__(self, name, files, commit=None, token=None, private=False, page_size=1000):
        self.name, self.token, self.private, self.page_size = name, token, private, page_size
        commit = commit or hashlib.sha1(name.encode()).hexdigest()
        self.commits, self.branches, self.tags = {commit: files}, {MAIN: commit}, {}
        self.faults, self.lock = [], threading.Lock()

    @property
    def commit(self):
        return self.branches.get(MAIN)

    @property
    def files(self):
        return self.commits[self.commit]

    def fault(self, where, what, value=None, count=float("inf"), path=None):
        """Lets the next `count` answers go wrong. `where` is refs, tree, resolve or content."""
        assert what in FAULTS, what
        self.faults.append(Fault(where, what, value, count, path))
        return self

    def take(self, where, path=None):
        """The faults of one answer, by name."""
        taken = {}
        with self.lock:
            for fault in self.faults:
                hit = fault.where == where and fault.path in (None, path) and fault.count > 0
                if hit and fault.what not in taken:
                    fault.count -= 1
                    fault.met += 1
                    taken[fault.what] = fault.value
        return taken

    def unmet(self):
        """The faults that nobody has come across: their tests have shown nothing."""
        return [fault for fault in self.faults if not fault.met]

    def resolve(self, revision):
        if revision in self.commits:
            return revision
        return self.branches.get(revision, self.tags.get(revision))

    def refs(self):
        def listed(kind, refs):
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": c} for n, c in refs.items()]

        return {"branches": listed("heads", self.branches), "tags": listed("tags", self.tags), "converts": []}


@dataclass
class Request:
    """What one request asked for. `sent` counts the bytes of the answer's body that left, `ended` is when the last did."""

    door: str
    method: str
    path: str
    range: str | None
    authorization: str | None
    headers: list
    kind: str = "other"
    time: float = field(default_factory=time.monotonic)
    ended: float = 0
    repository: str | None = None
    file: str | None = None
    start: int = 0
    sent: int = 0
    status: int = 0


class Handler(BaseHTTPRequestHandler):
    """One connection at one of the doors."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        # What the kernel holds back counts as sent, so it shall not be much.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.hub.answer(self)

    do_HEAD = do_GET

    def head(self, status, headers):
        self.asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def whole(self, status, body=b"", headers=None):
        """A short answer."""
        self.head(status, {"Content-Length": len(body), **(headers or {})})
        if self.command != "HEAD":
            self.write(body)

    def document(self, value, headers=None):
        self.whole(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def write(self, data, rate=None):
        step = max(1, min(CHUNK, int(rate / 8))) if rate else CHUNK
        for start in range(0, len(data), step):
            part = data[start : start + step]
            if rate:
                time.sleep(len(part) / rate)
            # Taken before the bytes leave: the other side may ask for more as soon as it has them.
            self.asked.ended = time.monotonic()
            self.wfile.write(part)
            self.asked.sent += len(part)

    def hang_up(self, reset=False):
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def stall(self):
        """Waits until the other side has enough of it."""
        self.close_connection = True
        while not self.server.hub.closed.wait(0.05):
            if select.select([self.connection], [], [], 0)[0]:
                return


class Door(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub, name):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub, self.name = hub, name
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_):
        """A client that hangs up is what these tests are about."""


class FakeHub:
    """The hub at `url`, its CDN, and a stranger that shall never see a token. `rate` throttles each answer's content."""

    def __init__(self):
        self.repositories, self.requests, self.rate = {}, [], {}
        self.lock, self.closed = threading.Lock(), threading.Event()
        self.hub, self.cdn, self.stranger = (Door(self, name) for name in ("hub", "cdn", "stranger"))
        self.url = self.hub.url

    def add(self, repository, rate=None):
        self.repositories[repository.name] = repository
        self.rate[repository.name] = rate
        return repository

    def close(self):
        self.closed.set()
        for door in (self.hub, self.cdn, self.stranger):
            door.shutdown()
            door.server_close()

    def asked(self, repository, kind=None):
        with self.lock:
            return [r for r in self.requests if r.repository == repository.name and kind in (None, r.kind)]

    def fetched(self, repository, path=None):
        """How many bytes of contents left for this repository."""
        return sum(r.sent for r in self.asked(repository, "content") if path in (None, r.file))

    def fetches(self, repository):
        return [r for r in self.asked(repository, "content") if r.method == "GET"]

    def twice(self, repository):
        """How many bytes left more often than once."""
        twice = 0
        for path in {r.file for r in self.fetches(repository)}:
            spans = sorted((r.start, r.start + r.sent) for r in self.fetches(repository) if r.file == path)
            end = 0
            for start, stop in spans:
                twice += max(0, min(stop, end) - start)
                end = max(end, stop)
        return twice

    def at_once(self, repository):
        """How many contents were on their way at once, at most."""
        moments = [m for r in self.fetches(repository) if r.sent for m in ((r.time, 1), (r.ended, -1))]
        most = running = 0
        for _, change in sorted(moments):
            running += change
            most = max(most, running)
        return most

    def answer(self, handler):
        headers = handler.headers
        asked = handler.asked = Request(
            handler.server.name, handler.command, handler.path, headers.get("Range"), headers.get("Authorization"),
            headers.keys(),
        )
        with self.lock:
            self.requests.append(asked)
        address = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        parts = [urllib.parse.unquote(part) for part in address.path.split("/")[1:]]
        try:
            self.route(handler, parts, query)
        except (BrokenPipeError, ConnectionError, ValueError):
            handler.close_connection = True

    def route(self, handler, parts, query):
        if handler.server.name != "hub" or parts[:2] == ["api", "resolve-cache"]:
            parts = parts[3:] if parts[:2] == ["api", "resolve-cache"] else parts
            route, name, rest = self.content, parts[:2], parts[2:]
        elif parts[:2] == ["api", "models"]:
            routes = {"refs": self.refs, "tree": self.tree, "revision": self.info}
            route, name, rest = routes.get("".join(parts[4:5]) or "revision"), parts[2:4], parts[5:]
        else:
            route, name, rest = (self.resolve if parts[2:3] == ["resolve"] else None), parts[:2], parts[3:]
        repository = self.repositories.get("/".join(name))
        if not route or not repository:
            return handler.whole(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        handler.asked.repository = repository.name
        handler.asked.kind = route.__name__
        bearer = handler.asked.authorization
        if repository.private and route != self.content and bearer != f"Bearer {repository.token}":
            return handler.whole(401, b'{"error":"Invalid username or password."}', {"X-Error-Code": "RepoNotFound"})
        return route(handler, repository, rest, query)

    def fails(self, handler, faults, query):
        """Answers with a fault that needs no knowledge of the question; tells whether there was one."""
        if "status" in faults:
            status, headers = faults["status"]
            handler.whole(status, b'{"error":"as told"}', headers)
        elif faults.get("redirect") == "loop":
            address = urllib.parse.urlsplit(handler.path)
            again = f"{handler.server.url}{address.path}?turn={int(query.get('turn', 0)) + 1}"
            handler.whole(302, headers={"Location": again})
        elif "redirect" in faults:
            handler.whole(302, headers={"Location": faults["redirect"]})
        elif "body" in faults:
            handler.whole(200, faults["body"], {"Content-Type": "application/json"})
        else:
            return False
        return True

    def refs(self, handler, repository, rest, query):
        if not self.fails(handler, repository.take("refs"), query):
            handler.document(repository.refs())

    def info(self, handler, repository, rest, query):
        """What the hub's own client asks first."""
        commit = repository.resolve("/".join(rest) or MAIN)
        if not commit:
            return handler.whole(404, b'{"error":"Revision not found"}', {"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": path} for path in repository.commits[commit]]
        handler.document({"id": repository.name, "modelId": repository.name, "sha": commit, "private": False,
                          "gated": bool(repository.token), "disabled": False, "tags": [], "downloads": 0, "likes": 0,
                          "siblings": siblings})

    def tree(self, handler, repository, rest, query):
        faults = repository.take("tree")
        if self.fails(handler, faults, query):
            return
        commit = repository.resolve("/".join(rest))
        if not commit:
            return handler.whole(404, b'{"error":"Revision not found"}', {"X-Error-Code": "RevisionNotFound"})
        files = repository.commits[commit]
        folders = sorted({path.rsplit("/", 1)[0] for path in files if "/" in path.strip("/")})
        entries = [{"type": "directory", "path": f, "size": 0, "oid": git_digest(f.encode())} for f in folders]
        entries += [file.entry(path) for path, file in files.items()]
        start = int(query.get("cursor", 0))
        headers, stop = {}, start + repository.page_size
        here = self.url + urllib.parse.urlsplit(handler.path).path + "?recursive=true&cursor="
        if "next" in faults:
            following = here + str(start) if faults["next"] == "same" else faults["next"]
            headers["Link"] = f'<{following}>; rel="next"'
        elif stop < len(entries):
            headers["Link"] = f'<{here}{stop}>; rel="next"'
        handler.document(entries[start:stop], headers)

    def resolve(self, handler, repository, rest, query):
        commit, path = repository.resolve(rest[0]), "/".join(rest[1:])
        handler.asked.file = path
        if self.fails(handler, repository.take("resolve", path), query):
            return
        file = repository.commits.get(commit, {}).get(path)
        if not file:
            return handler.whole(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
        if repository.token and handler.asked.authorization != f"Bearer {repository.token}":
            status = 403 if handler.asked.authorization else 401
            return handler.whole(status, b"Access to this model is restricted.", {"X-Error-Code": "GatedRepo"})
        quoted = urllib.parse.quote(f"{repository.name}/{commit}/{path}")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.oid}"'}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": len(file.content)}
            headers["Location"] = f"{self.cdn.url}/{quoted}?signature=of-a-kind"
        else:
            headers["Location"] = f"/api/resolve-cache/models/{quoted}"
        handler.whole(302 if file.lfs else 307, headers=headers)

    def content(self, handler, repository, rest, query):
        path = "/".join(rest[1:])
        handler.asked.file = path
        faults = repository.take("content", path) if handler.command == "GET" else {}
        if self.fails(handler, faults, query):
            return
        file = repository.commits.get(rest[0], {}).get(path)
        if not file:
            return handler.whole(404)
        self.send(handler, file, faults, rest[0], self.rate[repository.name])

    def send(self, handler, file, faults, commit, rate):
        data = seeded("other", len(file.content)) if "other" in faults else file.content
        size, span = len(data), handler.asked.range
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{file.oid}"', "X-Repo-Commit": commit}
        status, start, stop = 200, 0, size
        if span and "ignore-range" not in faults:
            first, last = span.removeprefix("bytes=").split("-")
            start, stop = int(first), min(size, int(last) + 1 if last else size)
            if start >= size:
                return handler.whole(416, headers={"Content-Range": f"bytes */{size}"})
            stop = max(start + 1, min(size, stop + faults.get("more", 0)) - faults.get("fewer", 0))
            status, said = 206, start + faults.get("range-start", 0)
            if "no-content-range" not in faults:
                total = size + faults.get("range-total", 0)
                headers["Content-Range"] = f"bytes {said}-{said + stop - start - 1}/{total}"
        handler.asked.start = start
        body = data[start:stop]
        if "endless" in faults:
            body = (body * (faults["endless"] // len(body) + 1))[: faults["endless"]]
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = len(body)
        handler.head(status, headers)
        if handler.command == "HEAD":
            return
        rate = faults.get("rate", rate)
        for name in ("drop", "reset", "stall"):
            if name in faults:
                handler.write(body[: faults[name]], rate)
                return handler.stall() if name == "stall" else handler.hang_up(name == "reset")
        kept = max(0, len(body) - faults.get("short", 0))
        handler.write(body[:kept], rate)
        if "short" in faults or "endless" in faults:
            handler.hang_up()
