#!/usr/bin/env python3
"""Serves the page with a pretended pipeline, so that it can be looked at and tested without one.

    scripts/page_mock.py [--port PORT] [--scene NAME] [--key KEY] [--trace FILE] [--page FILE]

Documents are those of `trestle status --json`, made up for each scene as a function of time, or read from a file
with one status a line (--trace). The page is served with the content policy of the real server. A POST to
/mock/scene with {"name": …} changes the scene; GET /mock/log tells what was posted and how many readers of an answer
hung up.
"""

import argparse
import base64
import hashlib
import json
import math
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HISTORY_SECONDS = 175  # A new reader is sent the documents of so many seconds first.
MOVE_SECONDS = 1.2
WORDS = "Now is the winter of our discontent made glorious summer by this sun of York .".split()


def policy(page: str) -> str:
    """Returns the content policy of a page: only what it holds itself may run or style it."""
    def digest(tag: str) -> str:
        body = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.S).group(1)
        return base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()

    return (f"default-src 'none'; script-src 'sha256-{digest('script')}'; style-src 'sha256-{digest('style')}'; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


def wave(seconds: float, period: float, low: float, high: float) -> float:
    rough = math.sin(seconds * 2 * math.pi / period) + 0.3 * math.sin(seconds * 1.7)
    return low + (high - low) * min(1, max(0, 0.5 + 0.4 * rough))


def worker(name: str, layers: int, device: str = "cpu", **facts) -> dict:
    """Returns a worker of a scene; Pipeline.document() puts its layers into a row and lets it work."""
    return {"name": name, "count": layers, "device": device, **facts}


# Each scene: its workers, and what differs from an ordinary hour. `load` is the share of the time with work.
SCENES = {
    "busy": {"workers": [worker("cpu-0", 12), worker("cpu-1", 10, temperature_celsius=61.5),
                         worker("igpu", 8, "vulkan", temperature_celsius=54.0)], "load": 0.8, "requests": 5},
    "idle": {"workers": [worker("cpu-0", 18), worker("cpu-1", 12)], "load": 0, "requests": 0},
    "one": {"workers": [worker("cpu-0", 30)], "load": 0.5, "requests": 1},
    "emulated": {"workers": [
        worker("cpu-0", 14), worker("vulkan-0", 11, "vulkan", emulated=True), worker("cpu-1", 2),
        worker("cpu-2", 3, temperature_celsius=88), worker("logits", 0, vocabulary=[700, 1024]),
        worker("spare", 0, detail="stands by, without layers")], "load": 0.6, "requests": 3},
    "lost": {"workers": [
        worker("cpu-0", 18, state="loading", detail="waiting for other workers", load_fraction=1),
        worker("cpu-1", 12, state="lost", detail="awaited: (pid 4242) was killed by signal 9", pid=0,
               load_fraction=0)], "state": "degraded", "load": 0, "requests": 4, "lost_workers": 1},
    "replaced": {"workers": [worker("cpu-0", 18), worker("cpu-1", 12)], "load": 0.6, "requests": 3, "lost_workers": 5,
                 "replaced": [{"name": "npu-<b>0</b>", "device": "npu", "emulated": True, "age_ms": 95_000,
                               "reason": "(pid 4711) ended with exit status 70; it is not started again"}]},
    "loading": {"workers": [worker("cpu-0", 18, state="loading", detail="42 %", load_fraction=0.42),
                            worker("cpu-1", 12, state="loading", detail="8 %", load_fraction=0.08)],
                "state": "loading", "load": 0, "requests": 0},
    "empty": {"workers": [], "state": "waiting", "load": 0, "requests": 0},
    "crowd": {"workers": [worker("cpu-0", 9), worker("cpu-1", 7), worker("cpu-2", 14)], "load": 1, "requests": 20,
              "waiting": 312, "queue": 7.4},
    "huge": {"workers": [worker("a-worker-with-a-very-long-name-indeed-0", 600, temperature_celsius=104.7),
                         worker("a-worker-with-a-very-long-name-indeed-1", 800)], "load": 1, "requests": 8,
             "scale": 1e6, "waiting": 4_000_000, "queue": 900, "model": "a-model-" + "x" * 120},
    "markup": {"workers": [worker("<img src=x onerror=alert(1)>", 15, "<b>cpu</b>"),
                           worker("</script><script>alert(2)</script>", 15, state="degraded",
                                  detail="<i>\"quoted\" & 'quoted'</i>")],
               "load": 0.5, "requests": 2, "model": "<u>model</u>"},
}


class Pipeline:
    """The pretended pipeline: a scene, when it began, and the moves that were asked for since."""

    def __init__(self, scene: str, trace: list):
        self.lock = threading.Lock()
        self.trace = trace
        self.posted, self.hung_up, self.cancelled = [], 0, set()
        self.show(scene)

    def show(self, scene: str):
        self.scene = SCENES[scene]
        self.workers = [dict(one) for one in self.scene["workers"]]
        self.began = time.time() - 3600
        self.epoch, self.moves, self.moved_bytes = 3, 1, 40_000_000

    def documents(self, now: float) -> list:
        """Returns what a new reader is sent at once: the last minutes, up to now."""
        if self.trace:
            return [{"status": status} for status in self.trace[:1]]
        return [self.document(now - age) for age in range(HISTORY_SECONDS, -1, -1)]

    def document(self, now: float) -> dict:
        scene, seconds = self.scene, now - self.began
        load = scene["load"] * (1 if scene["load"] in (0, 1) else wave(seconds, 90, 0.3, 1))
        workers = self.working(load, seconds)
        scale = scene.get("scale", 1)
        made = self.made(seconds)
        latency = scene["load"] > 0
        running = scene["requests"]
        status = {
            "model": scene.get("model", "demo-model"), "epoch": self.epoch, "state": scene.get("state", "ready"),
            "workers": workers, "replaced_workers": scene.get("replaced", []),
            "sessions": running, "queued": scene.get("waiting", 0),
            "tokens_per_second": (made - self.made(seconds - 5)) / 5, "uptime_ms": int(seconds * 1000),
            "protocol_errors": 0,
            "ttft": self.latency(latency, wave(seconds, 70, 40, 260) * math.sqrt(scale), 13),
            "inter_token": self.latency(latency, wave(seconds, 110, 2.4, 6) * math.sqrt(scale), 5742),
            "kv_positions": int(running * wave(seconds, 60, 300, 1400) * scale),
            "kv_capacity_positions": int(32768 * scale), "auto_rebalance": {"enabled": False},
            "counters": {
                "requests": {"stop": int(seconds / 7), "length": 12, "cancelled": 3, "evaluated": 0, "abandoned": 1,
                             "failed": [{"code": "too_long", "count": 2}, {"code": "busy", "count": 0}]},
                "prompt_tokens": made // 3, "cached_tokens": made // 9, "generated_tokens": made,
                "evaluated_tokens": 0, "steps": made // 2, "epochs": self.epoch,
                "lost_workers": scene.get("lost_workers", 0), "rebalances": self.moves,
                "moved_bytes": self.moved_bytes},
        }
        return {"status": status, "requests": self.requests(running, seconds, scale)}

    def made(self, seconds: float) -> int:
        """Returns the tokens up to a moment: a whole number for each second, so that it never falls."""
        rate = 700 * self.scene["load"] * self.scene.get("scale", 1)
        return int(rate * (seconds - 12 * math.cos(seconds / 14)))

    def working(self, load: float, seconds: float) -> list:
        first, workers = 0, []
        total = sum(one["count"] for one in self.workers)
        for index, one in enumerate(self.workers):
            facts = {key: value for key, value in one.items() if key != "count"}
            end = first + one["count"]
            works = load > 0 and facts.get("state", "ready") == "ready" and "stands by" not in facts.get("detail", "")
            busy = min(1, load * 2.2 * one["count"] / total + 0.05) if works else 0
            isLast = end == total and one["count"] > 0
            workers.append({
                "pid": 25152 + index, "emulated": False, "layers": [first, end] if one["count"] else [total, total],
                "vocabulary": [0, 1024] if isLast else [0, 0], "state": "ready", "threads": 1,
                "resident_bytes": 42496000 * (1 + one["count"]), "kv_bytes": 19683840 * one["count"],
                "busy": busy * wave(seconds + index, 9, 0.85, 1), "bubble": load * (1 - busy) * 0.6 if works else 0,
                "queued": self.scene.get("queue", wave(seconds, 17, 0, 3)) * busy if works else 0,
                "step_ms": 1.3 + index if works else 0, "heartbeat_age_ms": 123, "load_fraction": 1, "detail": "",
                "available_bytes": 24176672768, "layer_rows": 135918, "skipped_layer_rows": 0, **facts})
            first = end
        return workers

    def latency(self, is_there: bool, middle: float, count: int) -> dict:
        if not is_there:
            return {"count": 0}
        return {"count": count, "p50_ms": middle, "p90_ms": middle * 1.6, "p99_ms": middle * 2.4}

    def requests(self, count: int, seconds: float, scale: float) -> list:
        phases = ["answer", "answer", "prompt", "waiting"]
        return [{"id": f"chatcmpl-{7000 + index}", "age_ms": int((1.4 + 3.7 * index * index + seconds % 20) * 1000 * math.sqrt(scale)),
                 "phase": phases[index % 4], "prompt_tokens": int((17 + 90 * index) * scale),
                 "generated_tokens": 0 if index % 4 > 1 else int((seconds * 40 + index * 100) % 900 * scale)}
                for index in range(count) if f"chatcmpl-{7000 + index}" not in self.cancelled]

    def rebalance(self, split: list) -> dict:
        total = sum(one["count"] for one in self.workers)
        if len(split) != len(self.workers) or sum(split) != total or split[0] == 0:
            text = ",".join(map(str, split))
            raise ValueError(f"split {text} does not give {total} layers to {len(self.workers)} workers")
        time.sleep(MOVE_SECONDS)
        for one, count in zip(self.workers, split):
            one["count"] = count
        return self.moved()

    def drain(self, name: str) -> dict:
        index = next(index for index, one in enumerate(self.workers) if one["name"] == name)
        time.sleep(MOVE_SECONDS)
        gone = self.workers.pop(index)
        self.workers[max(0, index - 1)]["count"] += gone["count"]
        return self.moved()

    def moved(self) -> dict:
        self.epoch, self.moves, self.moved_bytes = self.epoch + 1, self.moves + 1, self.moved_bytes + 3_300_000
        return {"epoch": self.epoch, "layers_moved": 6, "kv_bytes_moved": 3_300_000, "pause_ms": 3.42}


class Handler(BaseHTTPRequestHandler):
    pipeline: Pipeline
    page: Path
    key: str | None

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: dict | str, **headers):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status: int, message: str):
        self.answer(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})

    def is_let_in(self) -> bool:
        if self.key is None or self.headers.get("Authorization") == f"Bearer {self.key}":
            return True
        self.refuse(401, "a key is wanted: Authorization: Bearer KEY")
        return False

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()

    def frame(self, document: dict | str):
        text = document if isinstance(document, str) else json.dumps(document)
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def do_GET(self):
        if self.path == "/":
            page = self.page.read_text()
            self.answer(200, page, Content_Security_Policy=policy(page))
        elif self.path == "/mock/log":
            self.answer(200, {"posted": self.pipeline.posted, "hung_up": self.pipeline.hung_up})
        elif self.path == "/api/events":
            if self.is_let_in():
                self.send_events()
        else:
            self.refuse(404, f"no such path: {self.path}")

    def send_events(self):
        self.stream()
        try:
            scene = None
            for turn in range(1, 1_000_000):
                if scene is not self.pipeline.scene:
                    scene = self.pipeline.scene
                    for document in self.pipeline.documents(time.time()):
                        self.frame(document)
                time.sleep(1)
                trace = self.pipeline.trace
                self.frame({"status": trace[turn % len(trace)]} if trace else self.pipeline.document(time.time()))
        except OSError:
            pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path == "/mock/scene":
            self.pipeline.show(body["name"])
            return self.answer(200, {})
        if not self.is_let_in():
            return None
        self.pipeline.posted.append({"path": self.path, "body": body})
        try:
            return self.act(body)
        except ValueError as error:
            return self.refuse(400, str(error))

    def act(self, body: dict):
        if self.path == "/api/rebalance":
            self.answer(200, self.pipeline.rebalance(body["split"]))
        elif self.path == "/api/drain":
            self.answer(200, self.pipeline.drain(body["worker"]))
        elif self.path == "/api/cancel":
            self.pipeline.cancelled.add(body["request"])
            self.answer(200, {})
        elif self.path == "/v1/chat/completions":
            self.chat(body)
        else:
            self.refuse(404, f"no such path: {self.path}")

    def chat(self, body: dict):
        """Answers in words of a play: "think" has it think first, "fail" breaks off, "long" goes on for a minute."""
        prompt = body["messages"][-1]["content"]
        count = min(body.get("max_tokens") or 512, 2000 if "long" in prompt else 32)
        self.stream()
        try:
            self.chunk({"role": "assistant", "content": ""})
            for index in range(12 if "think" in prompt else 0):
                self.chunk({"reasoning_content": WORDS[index % len(WORDS)] + " "})
            for index in range(count):
                time.sleep(0.03)
                if "fail" in prompt and index == 5:
                    return self.frame({"error": {"message": "the worker <b>cpu-1</b> was lost", "type": "server_error"}})
                self.chunk({"content": WORDS[index % len(WORDS)] + " "})
            self.chunk({}, finish="stop")
            self.frame({"id": "chatcmpl-1", "choices": [], "usage": {"completion_tokens": count}})
            self.frame("[DONE]")
        except OSError:
            self.pipeline.hung_up += 1

    def chunk(self, delta: dict, finish: str | None = None):
        self.frame({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--scene", choices=SCENES, default="busy")
    parser.add_argument("--key", help="the key that requests must bear")
    parser.add_argument("--trace", type=Path, help="a file with one document of `trestle status --json` a line")
    parser.add_argument("--page", type=Path, default=Path(__file__).resolve().parent.parent / "Sources/ServerPage/index.html")
    options = parser.parse_args()
    trace = [json.loads(line) for line in options.trace.read_text().splitlines()] if options.trace else []
    Handler.pipeline = Pipeline(options.scene, trace)
    Handler.page, Handler.key = options.page, options.key
    server = Server(("127.0.0.1", options.port), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
