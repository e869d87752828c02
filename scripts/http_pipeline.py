"""A pipeline with its front door, for scripts that try the server as its users do."""

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def add_pipeline_options(parser):
    parser.add_argument("--trestle", type=Path, metavar="PATH", help="default: the last build")
    parser.add_argument("--model", type=Path, metavar="PATH", default=ROOT / "demo-model")
    parser.add_argument("--chat-template", metavar="PATH", help="for a model that has none")


def serve_options(options):
    """What of these options is for `trestle serve`."""
    return ["--chat-template", options.chat_template] if options.chat_template else []


def find_trestle(given):
    """The program to try: the one given, or that of a build."""
    builds = [ROOT / ".build" / kind / "trestle" for kind in ("debug", "release")]
    found = [path for path in builds if path.exists()]
    if not given and not found:
        sys.exit("no build; run scripts/build, or give --trestle PATH")
    return str(given or found[0])


class FrontDoor:
    """`trestle serve` at a free port of this machine."""

    def __init__(self, line, log):
        with open(log, "w") as file:
            self.process = subprocess.Popen([*line, "--http", "127.0.0.1:0"], stderr=file)
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/v1", log.read_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"the front door did not start: {log.read_text()}")
            time.sleep(0.02)
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def ask(self, method, path, body=None, headers=None, raw=None):
        """One request on a connection of its own: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = raw if raw is not None else json.dumps(body) if body is not None else None
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.getheaders()), text


class Pipeline:
    """Two workers on the CPU, and a front door with the options of `serve`; `directory` holds socket and logs."""

    def __init__(self, trestle, model, directory, *serve):
        self.trestle, self.model, self.directory, self.serve = trestle, str(model), Path(directory), serve
        self.endpoint = f"ipc://{directory}/pipeline"
        self.up, self.doors = None, []

    def line(self, command, *options):
        return [self.trestle, command, "--model", self.model, "--endpoint", self.endpoint, *options]

    def start(self):
        log = self.directory / "up.log"
        with open(log, "w") as file:
            line = self.line("up", "--devices", "cpu,cpu", "--threads", "1,1")
            self.up = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=file, text=True)
        try:
            if self.up.stdout.readline().strip() != "ready":
                raise RuntimeError(f"the pipeline did not start: {log.read_text()}")
            door = self.open_door(*self.serve)
        except BaseException:
            self.close()
            raise
        self.port, self.url, self.ask = door.port, door.url, door.ask

    def open_door(self, *options):
        """Starts one more front door."""
        door = FrontDoor(self.line("serve", *options), self.directory / f"serve-{len(self.doors)}.log")
        self.doors.append(door)
        return door

    def close(self):
        for door in self.doors:
            door.close()
        self.up.send_signal(signal.SIGTERM)
        self.up.wait(30)

    def status(self):
        line = [self.trestle, "status", "--json", "--endpoint", self.endpoint]
        return json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout)
