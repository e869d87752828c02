"""The processes under load: how they begin and end, and what they use."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

from http_load.client import Door
from http_load.report import check


def resident(pid, name="VmRSS"):
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"{name}:\s+(\d+)", text).group(1)) << 10


def begin_peak(pid):
    """From now on VmHWM is the most that has been resident since."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Pipeline:
    """A pipeline and its front door, in a folder of their own."""

    def __init__(self, options, slots):
        self.folder = tempfile.TemporaryDirectory()
        self.endpoint = f"ipc://{self.folder.name}/pipeline"
        self.log = Path(self.folder.name) / "log"
        line = [options.trestle, "up", "--model", options.model, "--devices", "cpu,cpu", "--threads", "1,1"]
        line += ["--slots", str(slots), "--context", "4096", "--endpoint", self.endpoint]
        self.up = self.serve = None
        try:
            self.up = self.start(line, stdout=subprocess.PIPE, text=True)
            if self.up.stdout.readline().strip() != "ready":
                sys.exit(f"the pipeline did not start: {self.log.read_text()}")
            line = [options.trestle, "serve", "--model", options.model, "--endpoint", self.endpoint]
            self.serve = self.start([*line, "--http", "127.0.0.1:0"])
            self.door = Door("127.0.0.1", self.port(), "none")
        except BaseException:
            self.stop()
            raise
        self.pids = {"front door": self.serve.pid, "coordinator": self.up.pid}

    def start(self, line, **options):
        with open(self.log, "a", encoding="utf-8") as log:
            return subprocess.Popen(line, stderr=log, **options)

    def port(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.serve.poll() is None:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/v1", self.log.read_text()):
                return int(found.group(1))
            time.sleep(0.02)
        sys.exit(f"the front door did not start: {self.log.read_text()}")

    def ended(self):
        return [name for name, process in (("serve", self.serve), ("up", self.up)) if process.poll() is not None]

    def stop(self):
        for name, process in (("front door", self.serve), ("pipeline", self.up)):
            if not process:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                check(False, f"the {name} ends when it is told to: not within 30 s")
                process.kill()
                process.wait()
        self.folder.cleanup()


class Running:
    """A server that somebody else has started."""

    def __init__(self, options):
        url = urllib.parse.urlsplit(options.url)
        self.door = Door(url.hostname, url.port or 80, options.key)
        self.endpoint = options.endpoint
        given = {"front door": options.serve_pid, "coordinator": options.coordinator_pid}
        self.pids = {name: pid for name, pid in given.items() if pid}

    def ended(self):
        return [name for name, pid in self.pids.items() if not os.path.exists(f"/proc/{pid}")]

    def stop(self):
        """It goes on."""
