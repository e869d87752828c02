"""What scripts/test-pull builds its cases of: a place with a cache of its own, and what must hold of every cache.

    place = Place(bench, "drop"); place.good("org/name:Q8_0", "model-Q8_0.gguf"); place.bad("org/name", "HF_TOKEN")
Each check prints one line, `ok` or `FAIL`, with the case's name; check.failures counts.
"""

import hashlib
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from fake_hub import git_digest

DEMO = Path(__file__).resolve().parent.parent / "demo-model"
PATIENCE = 150
COMMIT, OID = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# The hub's own client keeps listings under trees/ and what it knows to be absent under .no_exist/.
FOLDERS = {"refs", "blobs", "snapshots", "trees", ".no_exist"}
printing = threading.Lock()


def check(condition, what, detail=""):
    """Prints one line. Cases run side by side, so `what` begins with the case's name."""
    with printing:
        shown = f": {str(detail)[:1500]}" if not condition and detail != "" else ""
        print(("ok    " if condition else "FAIL  ") + what + shown, flush=True)
        check.count += 1
        check.failures += not condition
    return bool(condition)


check.failures = check.count = 0


def skipped(what, reason):
    with printing:
        print(f"skipped: {what}: {reason}", flush=True)


@dataclass
class Result:
    code: int
    out: str
    err: str
    seconds: float = 0

    def __str__(self):
        return f"exit {self.code}, stdout {self.out!r}, stderr {self.err[-1200:]!r}"


class Place:
    """A home and a cache of their own, and `trestle` called there."""

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.directory = bench.directory / re.sub(r"[^A-Za-z0-9]+", "-", name)
        self.home, self.hub = self.directory / "home", self.directory / "hf/hub"
        for folder in (self.home, self.directory / "run", self.hub):
            folder.mkdir(parents=True)
        (self.directory / "run").chmod(0o700)
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "HF_HOME": str(self.directory / "hf"), "HF_ENDPOINT": bench.hub.url,
        }

    def folder(self, repository):
        return self.hub / ("models--" + repository.name.replace("/", "--"))

    def path(self, repository, path="", commit=None):
        """Where a pulled file is to be."""
        return self.folder(repository) / "snapshots" / (commit or repository.commit) / path

    def start(self, *arguments, environment=None, **options):
        settings = {**self.environment, **(environment or {})}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        line = [self.bench.trestle, *map(str, arguments)]
        return subprocess.Popen(
            line, cwd=self.directory, env={k: v for k, v in settings.items() if v is not None}, text=True, **options
        )

    def finish(self, process, timeout=PATIENCE):
        started = time.monotonic()
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\nkilled: took more than {timeout} s"
        return Result(process.returncode, out or "", err or "", time.monotonic() - started)

    def trestle(self, *arguments, environment=None, **options):
        return self.finish(self.start(*arguments, environment=environment, **options))

    def client(self, program, environment=None):
        """Runs a Python program with the hub's own client in this place."""
        settings = {**self.environment, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                    **(environment or {})}
        done = subprocess.run([sys.executable, "-c", program], cwd=self.directory, env=settings, text=True,
                              capture_output=True, timeout=PATIENCE)
        return Result(done.returncode, done.stdout, done.stderr)

    def outside(self):
        """All that is in this place, but for the cache and the folders on the way to it."""
        found = set()
        for folder, folders, files in os.walk(self.directory):
            if Path(folder) == self.hub:
                folders.clear()
                continue
            found |= {os.path.join(folder, name) for name in [*folders, *files]}
        return found - {str(folder) for folder in (self.hub, *self.hub.parents)}

    def terminal(self, answer, *arguments):
        """Runs trestle at a terminal with an answer to what it asks; returns what was shown and the exit code."""
        ours, theirs = pty.openpty()
        process = self.start(*arguments, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        shown, deadline, answered = "", time.monotonic() + 60, False
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            shown += data.decode(errors="replace")
            if not answered and re.search(r"\[?y/n\]?|\?\s*$", shown, re.I):
                os.write(ours, answer.encode() + b"\n")
                answered = True
            if not data:
                break
        os.close(ours)
        if process.poll() is None and time.monotonic() > deadline:
            process.kill()
        return shown, process.wait(30), answered

    def good(self, asked, path, *options, environment=None, what="", commit=None, repository=None):
        """A pull that must succeed, with `path` of the repository printed, and a right cache."""
        repository = repository or self.bench.hub.repositories[asked.split(":")[0]]
        before = self.outside()
        result = self.trestle("pull", asked, *options, environment=environment)
        label = f"{self.name}: {what or asked + ' is pulled'}"
        wanted = str(self.path(repository, path, commit)).rstrip("/")
        right = result.code == 0 and result.out.removesuffix("\n").rstrip("/") == wanted
        check(right, label, f"wanted {wanted}; {result}")
        self.holds(before)
        return result

    def bad(self, asked, words, *options, environment=None, what=""):
        """A pull that must fail with an error of these words (a regular expression), and a right cache."""
        before = self.outside()
        result = self.trestle("pull", asked, *options, environment=environment)
        told = re.search(r"^error: .+", result.err, re.M | re.I)
        right = result.code == 1 and result.out == "" and told and re.search(words, result.err, re.I | re.S)
        check(right, f"{self.name}: {what or asked + ' is refused'}", f"wanted /{words}/; {result}")
        self.holds(before)
        return result

    def either(self, asked, path):
        """A pull that may succeed or fail, but ends by itself and leaves a right cache."""
        before = self.outside()
        result = self.trestle("pull", asked)
        told = re.search(r"^error: .+", result.err, re.M | re.I)
        wanted = str(self.path(self.bench.hub.repositories[asked.split(":")[0]], path))
        right = (result.code == 0 and result.out == wanted + "\n") or (result.code == 1 and told and not result.out)
        check(right, f"{self.name}: {'is pulled' if result.code == 0 else 'is refused'}", result)
        self.holds(before)
        return result

    def holds(self, before=None):
        """Checks all that must hold of a cache at any moment."""
        wrong = self.wrongs()
        if before is not None:
            wrong += [f"written outside the cache: {path}" for path in sorted(self.outside() - before)]
        if wrong:
            check(False, f"{self.name}: the cache is right", wrong)

    def wrongs(self):
        wrong = []
        for folder in self.hub.glob("*"):
            if folder.name in (".locks", "CACHEDIR.TAG"):
                continue
            if not folder.name.startswith("models--"):
                wrong.append(f"a stranger in the cache: {folder}")
            elif not folder.is_symlink():
                wrong += self.wrongs_of(folder)
        return wrong

    def wrongs_of(self, folder):
        wrong = [f"a stranger in {folder.name}: {each.name}" for each in folder.iterdir() if each.name not in FOLDERS]
        for blob in (folder / "blobs").glob("*"):
            content = blob.read_bytes() if blob.is_file() else b""
            digest = hashlib.sha256(content).hexdigest() if len(blob.name) == 64 else git_digest(content)
            whole = OID.fullmatch(blob.name)
            unfinished = OID.fullmatch(re.sub(r"\.trestle-(part|done)$", "", blob.name))
            if blob.is_symlink() or not unfinished or (whole and digest != blob.name):
                wrong.append(f"a wrong blob: {blob.name}, whose digest is {digest}")
        for ref in (folder / "refs").rglob("*"):
            commit = ref.read_text() if ref.is_file() else None
            if commit is not None and not (COMMIT.fullmatch(commit) and (folder / "snapshots" / commit).is_dir()):
                wrong.append(f"a wrong ref: {ref.name} is {commit!r}")
        for snapshot in (folder / "snapshots").glob("*"):
            if not COMMIT.fullmatch(snapshot.name):
                wrong.append(f"a snapshot of no commit: {snapshot.name}")
            for place, folders, files in os.walk(snapshot):
                links = [*files, *(f for f in folders if os.path.islink(os.path.join(place, f)))]
                wrong += [w for f in links if (w := self.wrong_link(folder, snapshot, os.path.join(place, f)))]
        return wrong

    def wrong_link(self, folder, snapshot, link):
        """What is wrong with a file of a snapshot, if anything is."""
        target = os.path.realpath(link)
        blobs = os.path.realpath(folder / "blobs")
        if not os.path.islink(link) or os.path.isabs(os.readlink(link)) or os.path.dirname(target) != blobs:
            return f"not a relative link to a blob: {link}"
        if not os.path.isfile(target):
            return f"a link to nothing: {link}"
        name = folder.name.removeprefix("models--").replace("--", "/", 1)
        repository = self.bench.hub.repositories.get(name)
        files = repository.commits.get(snapshot.name, {}) if repository else {}
        file = files.get(os.path.relpath(link, snapshot))
        if file is None or open(target, "rb").read() != file.content:
            return f"another content than the hub's: {link}"
        return None

    def parts(self, repository):
        """The unfinished files of a repository."""
        return sorted(p.name for p in (self.folder(repository) / "blobs").glob("*.trestle-*"))

    def blobs(self, repository):
        return sorted(p.name for p in (self.folder(repository) / "blobs").glob("*") if OID.fullmatch(p.name))


def waits_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def split_model(source, directory, parts=3):
    """Writes a GGUF file again, split as llama.cpp splits it: the first part has metadata alone. Returns the parts."""
    import gguf

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    each = -(-len(reader.tensors) // (parts - 1))
    writer = gguf.GGUFWriter(directory / "split.gguf", architecture, split_max_tensors=each, small_first_shard=True)
    for field in reader.fields.values():
        if field.name == gguf.Keys.General.ARCHITECTURE or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        of = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=of)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(directory.glob("split-*.gguf"))
