"""Runs the containers of rendered pods on this machine, as far as that needs no container engine, for scripts/test-cluster.

A pod has a network namespace; a container has namespaces of its own for mounts and processes, a read-only root that shows
this machine's libraries and the program, the pod's volumes where its manifest mounts them, and its manifest's user
without capabilities. It needs root. There are no limits of resources and no filter of system calls.
"""

import base64
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from manifest_checks import expand

PROGRAM = "/opt/trestle"


class Unavailable(Exception):
    """Why pods cannot be run here."""


def call(*words):
    """Runs a command that only sets something up."""
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode:
        raise Unavailable(f"{' '.join(map(str, words))}: {result.stderr.strip()}")


class Network:
    """Network namespaces at one switch, which is in the namespace of the client; nothing of it is outside of them."""

    def __init__(self, names):
        self.prefix = f"trestle-{os.getpid()}"
        self.addresses = {name: f"10.232.{os.getpid() % 256}.{2 + index}" for index, name in enumerate(names)}
        self.made = []
        try:
            self.make(names)
        except BaseException:
            self.remove()
            raise

    def namespace(self, name):
        return f"{self.prefix}-{name}"

    def make(self, names):
        switch = names[0]
        for name in names:
            call("ip", "netns", "add", self.namespace(name))
            self.made.append(name)
            call("ip", "-n", self.namespace(name), "link", "set", "lo", "up")
        call("ip", "-n", self.namespace(switch), "link", "add", "switch", "type", "bridge")
        call("ip", "-n", self.namespace(switch), "link", "set", "switch", "up")
        call("ip", "-n", self.namespace(switch), "address", "add", f"{self.addresses[switch]}/24", "dev", "switch")
        for index, name in enumerate(names[1:]):
            port, own = f"port{index}", self.namespace(name)
            call("ip", "-n", own, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.namespace(switch))
            call("ip", "-n", self.namespace(switch), "link", "set", port, "master", "switch", "up")
            call("ip", "-n", own, "address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
            call("ip", "-n", own, "link", "set", "eth0", "up")

    def remove(self):
        for name in self.made:
            subprocess.run(["ip", "netns", "delete", self.namespace(name)], capture_output=True)
        self.made = []


class LocalPod:
    """A pod with its volumes in a directory, and its containers' logs."""

    def __init__(self, name, pod, manifests, network, directory, injected, trestle):
        self.name, self.pod, self.manifests, self.network = name, pod, manifests, network
        self.injected, self.trestle, self.started = injected, Path(trestle).resolve(), []
        self.directory = Path(directory) / name
        self.directory.mkdir()
        self.group = pod.spec["securityContext"]["fsGroup"]
        self.volumes = {claim: self.volume(claim, {}) for claim in pod.claims}
        self.volumes |= {v["name"]: self.volume(v["name"], v) for v in pod.spec.get("volumes", [])}
        leader = injected["LWS_LEADER_ADDRESS"]
        self.hosts = self.directory / "hosts"
        lines = ["127.0.0.1 localhost", f"{network.addresses[name]} {name}", f"{network.addresses['leader']} {leader}"]
        self.hosts.write_text("".join(line + "\n" for line in lines))

    def volume(self, name, volume):
        """The directory of a volume, with the owners, modes and links that kubelet gives it."""
        path = self.directory / f"volume-{name}"
        path.mkdir()
        path.chmod(0o2777)
        os.chown(path, 0, self.group)
        if not (secret := volume.get("secret")):
            return path
        data = self.manifests.named("Secret", secret["secretName"])["data"]
        (path / "..1").mkdir()
        os.symlink("..1", path / "..data")
        for key, value in data.items():
            file = path / "..1" / key
            file.write_bytes(base64.b64decode(value))
            os.chown(file, 0, self.group)
            # A volume that a group owns can always be read by the group.
            file.chmod(secret.get("defaultMode", 0o644) | 0o440)
            os.symlink(f"..data/{key}", path / key)
        return path

    def start(self, container, command=None):
        """Starts a container, with another command for a probe."""
        started = Container(self, container, command)
        self.started.append(started)
        return started

    def run(self, container, command=None, seconds=120):
        """Runs a container to its end; returns its exit status, or None if it had to be killed."""
        started = self.start(container, command)
        try:
            return started.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            started.kill()

    def close(self):
        for container in self.started:
            container.kill()


class Container:
    """A running container of a pod."""

    def __init__(self, pod, spec, command=None):
        address = pod.network.addresses[pod.name]
        variables = pod.manifests.environment(spec, [], pod.injected, address)
        words = command or spec["command"] + spec.get("args", [])
        words = [expand(word, variables)[0] for word in words]
        variables = {"PATH": f"{PROGRAM}:/usr/bin:/bin", **variables}
        self.spec, self.log = spec, pod.directory / f"{spec['name']}.log"
        script = self.script(pod, spec, variables, words)
        namespace = pod.network.namespace(pod.name)
        line = ["ip", "netns", "exec", namespace, "unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-euc", script]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    @staticmethod
    def script(pod, spec, variables, words):
        """What makes the root and becomes the container's first process."""
        user = pod.pod.spec["securityContext"]
        root = shlex.quote(str(pod.directory / "root"))
        lines = [f"mkdir -p {root}", f"mount -t tmpfs -o mode=755 none {root}", f"cd {root}"]
        for name in ("bin", "lib", "lib64", "sbin"):
            if os.path.islink(f"/{name}"):
                lines.append(f"ln -s {os.readlink(f'/{name}')} {name}")
        places = [("/usr", "/usr", True), ("/sys", "/sys", True), (str(pod.trestle.parent), PROGRAM, True)]
        places += [(path, path, True) for path in library_directories(pod.trestle)]
        for mount in spec.get("volumeMounts", []):
            places.append((str(pod.volumes[mount["name"]]), mount["mountPath"], mount.get("readOnly", False)))
        lines.append("mkdir -p etc proc dev tmp")
        for source, target, is_fixed in places:
            lines.append(f"mkdir -p .{target} && mount --bind {shlex.quote(source)} .{target}")
            if is_fixed:
                lines.append(f"mount -o remount,bind,ro .{target}")
        for file in (str(pod.hosts), "/etc/ld.so.cache", "/etc/nsswitch.conf"):
            lines.append(f"cp {shlex.quote(file)} etc/")
        for device in ("null", "zero", "random", "urandom"):
            lines.append(f"touch dev/{device} && mount --bind /dev/{device} dev/{device}")
        lines += ["mount -t proc none proc", f"mount -o remount,ro {root}"]
        ids = f"--reuid={user['runAsUser']} --regid={user['runAsGroup']} --groups={user['fsGroup']}"
        pairs = " ".join(shlex.quote(f"{name}={value}") for name, value in variables.items())
        confine = "--no-new-privs --bounding-set=-all --inh-caps=-all"
        lines.append(f"exec chroot . setpriv {ids} {confine} env -i {pairs} {shlex.join(words)}")
        return "\n".join(lines)

    @property
    def pid(self):
        """The container's first process: the only child of the one that made its namespaces; None before and after."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            is_program = children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "trestle"
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(children[0]) if is_program else None

    def signal(self, number):
        """Sends a signal to the program, as soon as its root is made. Raises `ProcessLookupError` if it has ended."""
        deadline = time.monotonic() + 10
        while self.is_running and time.monotonic() < deadline:
            if pid := self.pid:
                os.kill(pid, number)
                return
            time.sleep(0.01)
        raise ProcessLookupError(f"{self.spec['name']} does not run")

    def wait(self, seconds):
        return self.process.wait(seconds)

    @property
    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        if self.is_running:
            self.process.kill()
            self.process.wait(10)


class Kept:
    """A container that is started again when it ends, at once as kubelet does the first time."""

    def __init__(self, pod, spec):
        self.pod, self.spec = pod, spec
        self.starts, self.is_wanted, self.last_status = 0, True, None
        self.container = None
        self.begun = threading.Event()
        self.thread = threading.Thread(target=self.keep, daemon=True)
        self.thread.start()
        self.begun.wait(10)

    def keep(self):
        while self.is_wanted:
            self.container = self.pod.start(self.spec)
            self.starts += 1
            self.begun.set()
            self.last_status = self.container.process.wait()
            time.sleep(0.2)

    def stop(self, seconds):
        """Asks it to end, if it has not ended by itself; returns its exit status, or None if it had to be killed."""
        self.is_wanted = False
        try:
            with contextlib.suppress(ProcessLookupError):
                self.container.signal(signal.SIGTERM)
            return self.container.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.container.kill()


def library_directories(program):
    """Where the program's libraries are, apart from the system's directories."""
    text = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    paths = [Path(line.split("=> ")[1].split()[0]) for line in text.splitlines() if "=> /" in line]
    folders = {str(path.parent) for path in paths}
    return sorted(f for f in folders if not f.startswith(("/usr/", "/lib")))


def check_available():
    """Raises `Unavailable` where pods cannot be run."""
    if os.geteuid() != 0:
        raise Unavailable("network namespaces and mounts need root")
    for program in ("ip", "unshare", "setpriv", "chroot", "kubectl"):
        if not shutil.which(program):
            raise Unavailable(f"there is no {program}")
    call("unshare", "--mount", "--pid", "--fork", "true")
