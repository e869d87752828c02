"""Runs the commands of systemd units as far as possible like systemd, for scripts/check-units.

A service gets its user, directories, credentials and environment, the conditions of unit_conditions.py, and a socket
for what it tells (sd_notify(3)). Pairs of services run together: a pipeline with its front door, a coordinator with a
worker whose keys are credentials.
"""

import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from unit_conditions import Conditions

# The services' user: one that every system has.
USER = pwd.getpwnam("nobody")
WATCHDOG_MICROSECONDS = 3_000_000


def read_unit(paths):
    """The assignments of [Service] in a unit and its drop-ins; an empty one takes back those before."""
    settings = {}
    for path in paths:
        section = ""
        for line in path.read_text().replace("\\\n", " ").splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and "=" in line and not line.startswith("#"):
                key, value = line.split("=", 1)
                settings.setdefault(key, []).append(value)
                if not value:
                    settings[key] = []
    return settings


class Service:
    """A command of a unit that runs, and what it has told."""

    def __init__(self, units, name, trestle, folder, environment, credentials=None):
        self.name = name
        stem, _, self.instance = name.removesuffix(".service").partition("@")
        template = units / (f"{stem}@.service" if self.instance else name)
        self.settings = read_unit([template, *sorted((units / f"{name}.d").glob("*.conf"))])
        self.folder, self.credentials = folder, credentials
        self.directories = {"%t": folder / "run", "%S": folder / "lib", "%C": folder / "cache"}
        self.told = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        address = str(folder / f"notify-{len(list(folder.glob('notify-*')))}")
        self.socket.bind(address)
        os.chmod(address, 0o666)
        self.environment = self.make_environment(environment) | {
            "NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(WATCHDOG_MICROSECONDS),
        }
        line = self.settings["ExecStart"][-1].replace("/usr/local/bin/trestle", trestle)
        self.conditions = Conditions(self.settings, USER, self.writable())
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.words(line), env=self.environment, cwd=self.directories["%S"] / "trestle",
            stdout=subprocess.DEVNULL, stderr=self.log, preexec_fn=self.conditions.apply)

    def specify(self, text):
        for name, path in [*self.directories.items(), ("%d", self.credentials), ("%i", self.instance)]:
            text = text.replace(name, str(path))
        return text

    def make_environment(self, given):
        """What the unit sets, then what its EnvironmentFile would."""
        values = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        for line in self.settings.get("Environment", []):
            values |= dict(pair.split("=", 1) for pair in shlex.split(self.specify(line)))
        return values | given

    def words(self, line):
        """A command line as systemd takes it apart: ${X} stays one word, $X becomes as many as it has."""
        words = []
        for word in shlex.split(self.specify(line)):
            whole = re.fullmatch(r"\$(\w+)", word)
            if whole:
                words += self.environment.get(whole[1], "").split()
            else:
                word = re.sub(r"\$\{(\w+)\}", lambda match: self.environment.get(match[1], ""), word)
                words.append(word.replace("$$", "$"))
        return words

    def writable(self):
        """The directories that systemd makes for the service, which are its own."""
        made = []
        for key, specifier in [("RuntimeDirectory", "%t"), ("StateDirectory", "%S"), ("CacheDirectory", "%C")]:
            for name in self.settings.get(key, []):
                path = self.directories[specifier] / name
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o700)
                if os.geteuid() == 0:
                    os.chown(path, USER.pw_uid, USER.pw_gid)
                made.append(path)
        return made

    def listen(self):
        """Takes what has been told since, with who told it."""
        self.socket.settimeout(0.1)
        size = struct.calcsize("3i")
        try:
            while True:
                data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(size))
                process = struct.unpack("3i", ancillary[0][2][:size])[0]
                self.told.append((data.decode(), process))
        except TimeoutError:
            pass

    def count(self, text):
        self.listen()
        return sum(what.startswith(text) for what, _ in self.told)

    def wait_for(self, text, times, seconds):
        deadline = time.monotonic() + seconds
        while self.count(text) < times:
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
        return True

    def errors(self):
        self.log.seek(0)
        return self.log.read()[:1500]

    def state(self):
        ended = self.process.poll()
        return f"told {[what for what, _ in self.told]}, status {ended}, {self.errors()}"

    def expect_life(self, check):
        check(self.wait_for("READY=1", 1, 60), f"{self.name}: READY=1", self.state())
        signs = self.count("WATCHDOG=1")
        check(self.wait_for("WATCHDOG=1", signs + 2, 10), f"{self.name}: WATCHDOG=1, again and again", self.state())
        check(self.count("STATUS=") > 0, f"{self.name}: a status", self.state())

    def expect_end(self, check):
        self.process.send_signal(signal.SIGTERM)
        limit = int(self.settings["TimeoutStopSec"][-1])
        try:
            status = self.process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = f"none within {limit} s"
        check(self.count("STOPPING=1") == 1, f"{self.name}: SIGTERM, and STOPPING=1", self.state())
        check(status == 0, f"{self.name}: its end is no failure", f"{status}: {self.errors()}")
        others = {process for _, process in self.told} - {self.process.pid}
        check(not others, f"{self.name}: nobody but its main process has told anything", str(others))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.socket.close()


def run_together(make, check):
    """Services of which each needs the one before; they end in the opposite order."""
    running = []
    try:
        for service in make:
            running.append(service())
        for service in running:
            service.expect_life(check)
        for service in reversed(running):
            service.expect_end(check)
    finally:
        for service in running:
            service.close()


def try_conditions(units, check):
    """ExecCondition= refuses the default model as long as it is not there, in a sentence, and no other."""
    for name in ("trestle.service", "trestle-serve.service", "trestle-coordinator.service"):
        settings = read_unit([units / name])
        words = [word.replace("$$", "$") for word in shlex.split(settings["ExecCondition"][-1])]
        default = dict(pair.split("=", 1) for line in settings["Environment"] for pair in shlex.split(line))["TRESTLE_MODEL"]

        def ask(model):
            return subprocess.run(words, env={"TRESTLE_MODEL": model}, capture_output=True, text=True, check=False)

        if Path(default).exists():
            print(f"skip  {name} without a model: {default} is there")
        else:
            asked = ask(default)
            # 255 would be a failure, which is tried again.
            is_told = default in asked.stderr and "/etc/trestle/trestle.env" in asked.stderr
            check(0 < asked.returncode < 255 and is_told, f"{name}: without a model it is skipped, and says what to do", asked)
        for model in ("/nowhere/model.gguf", "ggml-org/gemma-3-270m-GGUF:Q8_0"):
            asked = ask(model)
            check(asked.returncode == 0 and not asked.stderr, f"{name}: its program judges {model}", asked)


def run_pipeline(units, trestle, model, folder, check):
    settings = {"TRESTLE_MODEL": model, "TRESTLE_OPTIONS": "--devices cpu,cpu --threads 1,1",
                "TRESTLE_SERVE_OPTIONS": "--http 127.0.0.1:0"}

    def pipeline():
        service = Service(units, "trestle.service", trestle, folder, settings)
        # After= and Type=notify: the next is started when this one is ready.
        service.wait_for("READY=1", 1, 60)
        return service

    run_together([pipeline, lambda: Service(units, "trestle-serve.service", trestle, folder, settings)], check)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def make_credentials(keys, folder, names, has_lists):
    """Copies of keys as systemd gives them: with access lists where its file system has them, else the user's own."""
    folder.mkdir()
    for name in names:
        path = folder / name
        shutil.copyfile(keys / name, path)
        path.chmod(0o400)
    for path in [folder, *folder.iterdir()]:
        if has_lists:
            rights = "rx" if path == folder else "r"
            subprocess.run(["setfacl", "-m", f"u:{USER.pw_uid}:{rights}", path], check=True)
        elif os.geteuid() == 0:
            os.chown(path, USER.pw_uid, USER.pw_gid)
    if not has_lists:
        folder.chmod(0o500)
    return folder


def make_keys(trestle, folder):
    """The keys of two machines, each of which lets the other in."""
    public = {}
    for machine in ("coordinator", "worker"):
        command = [trestle, "keys", "--keys", folder / machine]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        public[machine] = shown.split()[-1] if shown else ""
    command = [trestle, "keys", "allow", public["worker"], "--name", "worker", "--keys", folder / "coordinator"]
    subprocess.run(command, check=True, capture_output=True)
    return public


def run_machines(units, trestle, model, folder, check, has_lists):
    keys = folder / "keys"
    public = make_keys(trestle, keys)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    own = make_credentials(keys / "coordinator", folder / "of-coordinator", ["secret", "allowed"], has_lists)
    other = make_credentials(keys / "worker", folder / "of-worker", ["secret"], has_lists)
    settings = {"TRESTLE_MODEL": model, "TRESTLE_ENDPOINT": endpoint, "TRESTLE_COORDINATOR_OPTIONS": "--devices cpu",
                "TRESTLE_COORDINATOR": endpoint, "TRESTLE_LISTEN": "tcp://127.0.0.1:*",
                "TRESTLE_WORKER_OPTIONS": f"--server-key={public['coordinator']} --threads 1"}
    run_together([
        lambda: Service(units, "trestle-coordinator.service", trestle, folder, settings, own),
        lambda: Service(units, "trestle-worker@cpu.service", trestle, folder, settings, other),
    ], check)


def run_units(units, trestle, model, check):
    """Runs all units whose devices every machine has."""
    print("skip  the services under systemd itself: this runs their commands, whatever process 1 is")
    for line in Conditions.missing():
        print(f"skip  {line}")
    for path in (trestle, model):
        if os.geteuid() == 0 and Path(path).resolve().is_relative_to("/tmp"):
            print(f"skip  the services' commands: {path} lies under /tmp, and services have one of their own")
            return

    def in_folder(run, *arguments):
        # Not in /tmp, which a service does not share; and short, because it holds sockets.
        with tempfile.TemporaryDirectory(prefix="units-", dir="/run" if os.geteuid() == 0 else None) as directory:
            folder = Path(directory)
            folder.chmod(0o755)
            run(units, str(Path(trestle).resolve()), str(Path(model).resolve()), folder, check, *arguments)

    try_conditions(units, check)
    in_folder(run_pipeline)
    print("      credentials that are the user's own files, as in systemd 252")
    in_folder(run_machines, False)
    if os.geteuid() == 0 and shutil.which("setfacl"):
        print("      credentials of root with access lists, as in later ones")
        in_folder(run_machines, True)
    else:
        print("skip  credentials with access lists: that needs root and setfacl (package acl)")
