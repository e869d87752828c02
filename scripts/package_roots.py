"""Roots of Debian for scripts/test-package: made by debootstrap, kept, copied, entered, compared."""

import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".build-package"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
# What the checks call inside, beside the package's own dependencies.
TOOLS = ["bash-completion", "curl", "fish", "man-db", "systemd", "zsh"]
# Written by dpkg, apt and what they trigger, whatever is installed, or by systemd-analyze; and backups that the tools for
# users keep.
ANOTHERS = re.compile(
    r"(proc|sys|dev|tmp|run/systemd)(/.*)?$|var/lib/(dpkg|apt)/|var/cache/(apt|man|ldconfig|debconf)/|var/log/|etc/ld\.so\.cache$"
    r"|etc/(passwd|group|shadow|gshadow)-$|etc/\.pwd\.lock$"
)


def check(condition, what, detail=""):
    """Prints one line; what was seen instead follows a failure."""
    if condition:
        check.passed += 1
        print("ok    " + what, flush=True)
        return
    check.failures += 1
    if isinstance(detail, subprocess.CompletedProcess):
        detail = f"status {detail.returncode}\n{detail.stdout[-1500:]}\n{detail.stderr[-1500:]}"
    print(f"FAIL  {what}: {detail}", flush=True)


check.passed = check.failures = 0


def skip(what, reason):
    skip.count += 1
    print(f"SKIP  {what}: {reason}", flush=True)


skip.count = 0


def output(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def need_tools():
    """Ends with status 77 where no root can be made, and says why."""
    if os.geteuid() != 0:
        print("test-package: skipped: making and entering a root needs the user root", file=sys.stderr)
        sys.exit(77)
    tools = {"debootstrap": "debootstrap", "unshare": "util-linux", "dpkg-deb": "dpkg"}
    missing = [package for tool, package in tools.items() if shutil.which(tool) is None]
    if missing and shutil.which("apt-get"):
        print(f"test-package: installing {' '.join(missing)}", flush=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True,
                       env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL)
    elif missing:
        print(f"test-package: skipped: missing {' '.join(missing)}", file=sys.stderr)
        sys.exit(77)
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        print("test-package: skipped: no namespaces may be made here", file=sys.stderr)
        sys.exit(77)
    CACHE.mkdir(exist_ok=True)


class Root:
    """A Debian in a directory."""

    def __init__(self, path):
        self.path = path

    @classmethod
    def copy(cls, base, path):
        subprocess.run(["cp", "-a", "--reflink=auto", base.path, path], check=True)
        return cls(path)

    def delete(self):
        shutil.rmtree(self.path)

    def give(self, file, name):
        (self.path / "given").mkdir(exist_ok=True)
        shutil.copy(file, self.path / "given" / name)

    def run(self, script, user="", timeout=120):
        """Runs a bash script inside, with processes of its own, which end with it."""
        entered = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.path}/proc", "chroot"]
        entered += [f"--userspec={user}:{user if user.isdigit() else ''}"] if user else []
        settings = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
                    "LC_ALL=C.UTF-8", f"HOME={'/tmp' if user else '/root'}", "TERM=dumb"]
        command = [*entered, self.path, "/usr/bin/env", "-i", *settings, "bash", "-c", script]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, errors="replace", timeout=timeout)
        except subprocess.TimeoutExpired as late:
            said = [(part or b"").decode(errors="replace") for part in (late.stdout, late.stderr)]
            return subprocess.CompletedProcess(command, 124, said[0], f"{said[1]}\n(not done after {timeout} s)")

    def files(self):
        """All paths, but for those that installing and removing anything changes."""
        found = set()
        for folder, directories, files in os.walk(self.path):
            relative = os.path.relpath(folder, self.path)
            prefix = "" if relative == "." else relative + "/"
            directories[:] = [name for name in directories if not ANOTHERS.match(f"{prefix}{name}/")]
            found |= {prefix + name for name in [*directories, *files] if not ANOTHERS.match(prefix + name)}
        return found

    def users(self):
        return {f"{file}:{line}" for file in ("passwd", "group", "shadow", "gshadow")
                for line in (self.path / "etc" / file).read_text().splitlines()}


def kept(name, make):
    """A root that is made once, under another name until it is whole."""
    path = CACHE / "roots" / name
    if not path.exists():
        print(f"test-package: making {path.relative_to(ROOT)}", flush=True)
        partial = path.with_name(name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        make(partial)
        partial.rename(path)
    return Root(path)


def clean():
    """A minimal Debian."""
    def make(path):
        subprocess.run(["debootstrap", "--variant=minbase", SUITE, path, MIRROR], check=True, stdout=subprocess.DEVNULL)
        Root(path).run("apt-get clean")
    return kept(SUITE, make)


def tools(packages):
    """The same with what the package depends on and what the checks call, so that only the package itself is new."""
    def make(path):
        root = Root.copy(clean(), path)
        wanted = ", ".join([packages.depends, *TOOLS])
        said = root.run(f"apt-get update -qq && apt-get satisfy -y -qq --no-install-recommends {shlex.quote(wanted)} && "
                        "apt-get clean", timeout=900)
        if said.returncode != 0:
            sys.exit(f"test-package: the dependencies cannot be installed: {said.stderr[-2000:]}")
    # A package that depends on something else is compared with another root.
    digest = hashlib.sha256(f"{packages.depends} {TOOLS}".encode()).hexdigest()
    return kept(f"{SUITE}-{digest[:12]}", make)


class Unit:
    """The parts of a service that say what is started. Specifiers are replaced as systemd does for a system service."""

    SPECIFIERS = {"%t": "/run", "%S": "/var/lib", "%C": "/var/cache", "%d": "/run/credentials"}

    def __init__(self, root, name):
        text = (root.path / "usr/lib/systemd/system" / name).read_text()
        for specifier, path in self.SPECIFIERS.items():
            text = text.replace(specifier, path)
        self.name, self.values, self.variables = name.removesuffix(".service"), {}, {}
        for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE):
            self.values.setdefault(key, []).append(value)
        assignments = [part for line in self.values.get("Environment", []) for part in shlex.split(line)]
        for file in self.values.get("EnvironmentFile", []):
            path = root.path / file.lstrip("-").lstrip("/")
            assignments += re.findall(r"^[A-Z_]+=.*$", path.read_text(), re.MULTILINE) if path.exists() else []
        self.variables.update(assignment.split("=", 1) for assignment in assignments)

    def words(self, key):
        return " ".join(self.values.get(key, [])).split()

    def starting(self):
        """Lines of a shell that make its directories and start it as its user; $! is the process then."""
        user = self.words("User")[0]
        lines = []
        for key, parent in [("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache")]:
            mode = (self.words(f"{key}Mode") or ["0755"])[0]
            lines += [f"install -d -m {mode} -o {user} -g {user} {parent}/{name}" for name in self.words(key)]
        # In ExecStart= of systemd, ${X} is one word, and $X is split; nothing is a pattern.
        command = re.sub(r"(\$\{\w+\})", r'"\1"', self.values["ExecStart"][-1])
        variables = [f"export {name}={shlex.quote(value)}" for name, value in self.variables.items()]
        inside = [f"cd {self.words('WorkingDirectory')[0]}", f"umask {self.words('UMask')[0]}", "set -f", *variables,
                  f"exec setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs {command}"]
        return [*lines, f"({'; '.join(inside)}) >/tmp/{self.name}.out 2>/tmp/{self.name}.log &"]


def started_by_hand(root):
    """A script that starts the pipeline and its front door as their units do, asks both, and ends both."""
    up, door = Unit(root, "trestle.service"), Unit(root, "trestle-serve.service")
    asking = f"setpriv --reuid={up.words('User')[0]} --regid={up.words('User')[0]} --clear-groups env HOME=/var/lib/trestle trestle"
    endpoint = "--endpoint ipc:///run/trestle/front"
    return "\n".join([
        *up.starting(),
        "pipeline=$!",
        f"for _ in $(seq 300); do {asking} health {endpoint} >/dev/null 2>&1 && echo READY && break; sleep 0.2; done",
        f"{asking} run {endpoint} --seed 7 --max-tokens 16 'What news?' | sed 's/^/ANSWER /'",
        "setpriv --reuid=65534 --regid=65534 --clear-groups ls /run/trestle 2>&1 | grep -q 'Permission denied' && echo PRIVATE",
        *door.starting(),
        "door=$!",
        "for _ in $(seq 100); do",
        f"  port=$(sed -n 's#.* at http://127.0.0.1:\\([0-9]*\\)/v1.*#\\1#p' /tmp/{door.name}.log | head -n 1); "
        "[ -n \"$port\" ] && break; sleep 0.1",
        "done",
        "curl -sS --max-time 30 http://127.0.0.1:$port/v1/models",
        "kill -TERM $door; wait $door; echo DOOR $?",
        "kill -TERM $pipeline; wait $pipeline; echo STOPPED $?",
        f"cat /tmp/{up.name}.log /tmp/{door.name}.log >&2",
    ])


def last_stage(path):
    """The instructions of the stage that is shipped, with lines that end in a backslash joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    instructions = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    begin = max(index for index, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[begin + 1:]


def build_container(root, packages, path):
    """Does in a root what the last stage does with its base image; what it copies comes from the package."""
    tree = root.path / "package"
    subprocess.run(["dpkg-deb", "-x", packages.deb, tree], check=True)
    for word, rest in last_stage(path):
        if word == "RUN":
            said = root.run(f"set -e; {rest}", timeout=600)
            if said.returncode != 0:
                return said
        elif word == "COPY":
            source, target = [part for part in rest.split() if not part.startswith("--")]
            # The stage before lays everything out as the package does, below /stage.
            inside = tree / source.removeprefix("/stage").lstrip("/")
            if not inside.exists():
                return f"{source} is not in the package"
            subprocess.run(["cp", "-a", f"{inside}/." if inside.is_dir() else inside, f"{root.path}{target}"], check=True)
    shutil.rmtree(tree)
    return None
