"""A download site for Swift toolchains, as scripts/test-setup needs it: small archives that are signed with keys of its own.

Site serves one archive, its signature and a file of keys below each Case's name, and does the harm that the Case asks for.
Keys makes throw-away keys, and signs with them. make_archive makes a toolchain whose `swift` is a script.
"""

import dataclasses
import http.server
import io
import os
import re
import subprocess
import tarfile
import threading
import time

PADDING = os.urandom(1 << 20)

SWIFT = """#!/usr/bin/env bash
# Stands for the compiler in scripts/test-setup.
if [[ "${{1:-}}" == --version ]]; then
  echo "Swift version {version} (swift-{version}-RELEASE)"
else
  echo "swift of the test: $*"
fi
"""


def make_archive(version, padding=PADDING):
    """Returns a toolchain's archive: one folder above usr, as swift.org has it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        files = {"usr/bin/swift": SWIFT.format(version=version).encode(), "usr/lib/padding": padding}
        for path, content in files.items():
            entry = tarfile.TarInfo(f"swift-{version}-RELEASE-test/{path}")
            entry.mode, entry.size = 0o755, len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Keys:
    """Throw-away keys in a folder; their agent ends with `close`."""

    def __init__(self, folder):
        folder.mkdir(mode=0o700)
        self.folder = folder

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.folder, "--kill", "all"], check=False)

    def gpg(self, *arguments, standard_input=b"", at=None):
        # A time in the past is where a key's life is over by now.
        time_option = ["--faked-system-time", at] if at else []
        line = ["gpg", "--homedir", self.folder, "--batch", "--quiet", "--passphrase", "", *time_option, *arguments]
        return subprocess.run(line, input=standard_input, check=True, capture_output=True).stdout

    def make(self, name, at=None, life="never"):
        """Makes a key for signatures, and returns its fingerprint."""
        self.gpg("--quick-gen-key", name, "ed25519", "sign", life, at=at)
        listing = self.gpg("--with-colons", "--list-keys", f"={name}").decode()
        return re.search(r"^fpr:+([0-9A-F]{40}):", listing, re.MULTILINE).group(1)

    def export(self, *fingerprints):
        return self.gpg("--armor", "--export", *fingerprints)

    def sign(self, fingerprint, data, at=None):
        return self.gpg("--local-user", fingerprint, "--detach-sign", "--output", "-", standard_input=data, at=at)

    def revoke(self, fingerprint):
        """Makes a key public as revoked, by the certificate that gpg wrote when it made the key."""
        text = (self.folder / f"openpgp-revocs.d/{fingerprint}.rev").read_text()
        # A colon before the first dash keeps people from importing it by mistake.
        self.gpg("--import", standard_input=text.replace("\n:-----BEGIN", "\n-----BEGIN").encode())


@dataclasses.dataclass
class Case:
    """What the site serves below one name."""

    archive: bytes = b""
    signature: bytes = b""
    keys: bytes = b""
    ranges: bool = True
    drops: int = 0  # so many downloads of the archive end in the middle of what was asked for
    pause: float = 0  # seconds between pieces of 32 KiB
    claimed_size: int = 0  # what it says when it is asked for the archive's size
    gets: list = dataclasses.field(default_factory=list)  # each download of the archive: the byte at which it begins
    paths: list = dataclasses.field(default_factory=list)  # everything that was asked for

    def content(self, path):
        if path.endswith("/keys.asc"):
            return self.keys
        return self.signature if path.endswith(".sig") else self.archive


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        case = self.server.cases[self.path.split("/")[1]]
        case.paths.append(self.path)
        content, begin = case.content(self.path), 0
        if not content:
            self.send_error(404)
            return
        is_archive = self.path.endswith(".tar.gz")
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and case.ranges:
            begin = int(wanted.group(1))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        size = case.claimed_size if head and case.claimed_size else len(content) - begin
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if head:
            return
        if is_archive:
            case.gets.append(begin)
        self.send_body(case, content[begin:], is_archive)

    def send_body(self, case, body, is_archive):
        drop = is_archive and case.drops > 0
        if drop:
            case.drops -= 1
            body = body[: len(body) // 2]
        try:
            for begin in range(0, len(body), 1 << 15):
                self.wfile.write(body[begin : begin + (1 << 15)])
                if is_archive and case.pause:
                    time.sleep(case.pause)
        except OSError:
            drop = True
        self.close_connection = self.close_connection or drop


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that was killed


class Site:
    """Serves cases at 127.0.0.1 until it is closed."""

    def __init__(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.cases = {}
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name, case):
        self.server.cases[name] = case
        return case

    def close(self):
        self.server.shutdown()
        self.server.server_close()
