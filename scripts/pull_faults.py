"""The cases of scripts/test-pull in which the hub or its CDN does wrong: what must be got over, and what must be refused.

    cases() maps each case's name to a function of a bench and a place, as test-pull's own cases are
MENDED must end with the right bytes, REFUSED with an error that has the given words; of EITHER only the cache counts.
"""

import itertools
import json
import re

from fake_hub import File, seeded
from pull_checks import check

SIZE = 10_000_000
FILE = "m-Q8_0.gguf"
DIGEST = r"[0-9a-f]{64}"
ALWAYS = float("inf")


def content(what, value=None, count=ALWAYS):
    return [("content", what, value, count)]


def once(where, status, headers=None, count=1):
    return [(where, "status", (status, headers or {}), count)]


MENDED = {
    "stall": content("stall", 200_000, 1),
    "stall at once": content("stall", 0, 1),
    "slow drip": content("rate", 100, 1),
    "drop": content("drop", 300_000, 12),
    "drop always": content("drop", 300_000),
    "drop at once": content("drop", 0, 3),
    "reset": content("reset", 300_000, 12),
    "range ignored": content("ignore-range"),
    "range ignored once": content("ignore-range", count=1),
    "range ignored and dropped": [*content("ignore-range"), *content("drop", 7_000_000, 2)],
    "no Content-Range": content("no-content-range", count=2),
    "wrong start": content("range-start", 1 << 20, 2),
    "wrong total": content("range-total", -1, 2),
    "short body": content("short", 1000, 3),
    "fewer bytes": content("fewer", 1000, 3),
    "more bytes": content("more", 5000, 2),
    "endless body": content("endless", 64 << 20, 1),
    "changed once": content("other", count=1),
    "416 twice": once("content", 416, {"Content-Range": "bytes */0"}, 2),
    "500 of the CDN": once("content", 500, count=3),
    "503 of the CDN": once("content", 503, {"Retry-After": "1"}, 2),
    "429 of the CDN": once("content", 429, {"Retry-After": "1"}, 2),
    "429 with nonsense": once("content", 429, {"Retry-After": "-5"}) + once("resolve", 429, {"Retry-After": "soon"}),
    "500 of the refs": once("refs", 500),
    "502 of the tree": once("tree", 502, count=2),
    "503 of the files": once("resolve", 503, count=3),
}
REFUSED = {
    "always dropped": (content("drop", 0), FILE),
    "always 500": (once("content", 500, count=ALWAYS), "500"),
    "always 429": (once("resolve", 429, {"Retry-After": "0"}, ALWAYS), "429"),
    "refs always 503": (once("refs", 503, count=ALWAYS), "503"),
    "always a wrong start": (content("range-start", 1 << 20), f"{FILE}.*(range|bytes)"),
    "always a wrong total": (content("range-total", 1), f"{FILE}.*(range|size|bytes)|(range|size|bytes).*{FILE}"),
    "always changed": (content("other"), f"{FILE}.*{DIGEST}.*{DIGEST}"),
    "redirect loop": ([("content", "redirect", "loop", ALWAYS)], "redirect"),
    "redirect loop of the hub": ([("resolve", "redirect", "loop", ALWAYS)], "redirect"),
    "redirect to a file": ([("resolve", "redirect", "file:///etc/passwd", ALWAYS)], "file:|scheme|redirect"),
    "redirect without host": ([("resolve", "redirect", "http://", ALWAYS)], "redirect|address|URL|host"),
    "endless pages": ([("tree", "next", "same", ALWAYS)], "page"),
    "401 of the refs": (once("refs", 401, count=ALWAYS), "HF_TOKEN"),
    "403 of the tree": (once("tree", 403, count=ALWAYS), "HF_TOKEN"),
    "404 of the tree": (once("tree", 404, count=ALWAYS), "404|not found|missing|no such"),
    "404 of the file": (once("resolve", 404, count=ALWAYS), FILE),
}
EITHER = {
    "always more bytes": content("more", 5000),
    "always fewer bytes": content("fewer", 1000),
    "always endless": content("endless", 32 << 20),
    "no Content-Range ever": content("no-content-range"),
    "403 of the CDN once": once("content", 403),
    "pages of a stranger": [("tree", "next", "http://127.0.0.1:1/pages", ALWAYS)],
}
# Bodies of refs and of the tree that are no good; an error must name where it came from, the rest is its own affair.
BODIES = {
    "broken": b'{"branches": [', "empty": b"", "html": b"<!DOCTYPE html><p>Please log in.", "no utf-8": b'["\xff\xfe"]',
    "null": b"null", "number": b"17", "list of numbers": b"[1, 2]", "huge": b"[" + b" " * (40 << 20) + b"]",
    "deep": b"[" * 1_000_000, "deep objects": b'{"branches":' * 200_000, "nul": b"\x00" * 10,
}
BAD_REFS = {
    "branches of another type": {"branches": {"main": "0" * 40}}, "branch of another type": {"branches": ["main"]},
    "no branch": {"branches": [], "tags": []}, "another branch": {"branches": [{"name": "dev", "targetCommit": "0" * 40}]},
    **{f"commit {commit!r}": {"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit}]}
       for commit in ("../../../etc", "", "main", "a" * 39, "a" * 64, "g" * 40, "a" * 40 + "\n", 7, None)},
}
BAD_PATHS = [
    f"../{FILE}", f"../../../../{FILE}", f"/tmp/{FILE}", f"a/../../{FILE}", f"a//{FILE}", f"./{FILE}", f"a/./{FILE}",
    f"..\\{FILE}", f"a\n{FILE}", f"a\x00{FILE}", f"a\x1b[31m{FILE}", f"{FILE}/",
]
BAD_OIDS = ["../../../x", "", "a" * 63, "g" * 64, "a" * 64 + "/", "/etc/passwd", 5, None]
BAD_SIZES = [-1, -(2**63), 2**63, 1e30, "12", None, 1.5, [1]]


def met(place, repository):
    check(not repository.unmet(), f"{place.name}: the fault is met", repository.unmet())


def mended(faults):
    def case(bench, place):
        name = f"mended/{place.directory.name}"
        repository = bench.model(name, {FILE: File(seeded(2, SIZE))})
        for fault in faults:
            repository.fault(*fault)
        place.good(f"{name}:Q8_0", FILE, what="is got over")
        met(place, repository)
        left = place.parts(repository)
        check(not left, f"{place.name}: no unfinished part is left", left)
        # Nobody may fill a disk by sending more than a file has.
        sent = bench.hub.fetched(repository)
        check(sent < 5 * SIZE, f"{place.name}: not too much is fetched", sent)

    return case


def refused(faults, words):
    def case(bench, place):
        name = f"refused/{place.directory.name}"
        repository = bench.model(name, {FILE: File(seeded(3, SIZE))})
        for fault in faults:
            repository.fault(*fault)
        place.bad(f"{name}:Q8_0", words, what="is an error")
        met(place, repository)
        asked = len(bench.hub.asked(repository))
        check(asked < 400, f"{place.name}: with {asked} requests", asked)

    return case


def either(faults):
    def case(bench, place):
        name = f"either/{place.directory.name}"
        repository = bench.model(name, {FILE: File(seeded(4, SIZE))})
        for fault in faults:
            repository.fault(*fault)
        place.either(f"{name}:Q8_0", FILE)
        met(place, repository)
        sent = bench.hub.fetched(repository)
        check(sent < 8 * SIZE, f"{place.name}: {sent / SIZE:.1f} times its size is fetched")

    return case


def retry_after(bench, place):
    repository = bench.model("fault/later", {FILE: File(b"GGUF" * 1000)})
    repository.fault("resolve", "status", (429, {"Retry-After": "4"}), 1)
    place.good("fault/later:Q8_0", FILE)
    asked = [r.time for r in bench.hub.asked(repository, "resolve")]
    check(len(asked) > 1 and asked[1] - asked[0] >= 3.9, f"{place.name}: is respected",
          [time - asked[0] for time in asked])


def pages(bench, place):
    files = {f"filler/{n}.txt": File(b"%d" % n, lfs=False) for n in range(20)}
    bench.model("fault/pages", {**files, FILE: bench.q8}, page_size=8)
    place.good("fault/pages:Q8_0", FILE, what="a tree of three pages")


def wrong_listing(bench, place):
    """Digests and sizes of the tree that are not the content's."""
    data = seeded(5, 3_000_000)
    for what, listed, words in [
        ("another digest", {"oid": "ab" * 32}, f"{FILE}.*{'ab' * 32}"), ("a smaller size", {"size": 2_999_000}, FILE),
        ("a larger size", {"size": 3_001_000}, FILE), ("no size", {"size": 0}, FILE),
    ]:
        name = f"listed/{what.replace(' ', '-')}"
        repository = bench.model(name, {FILE: File(data, listed=listed)})
        place.bad(f"{name}:Q8_0", words, what=f"{what} is an error")
        fetched = bench.hub.fetched(repository)
        check(fetched < 8 * len(data), f"{place.name}: with {fetched / len(data):.1f} times its size")
    small = {"config.json": File(b"{}", lfs=False, listed={"oid": "cd" * 20}), "model.safetensors": bench.q8}
    bench.model("listed/small", small)
    place.bad("listed/small", f"config.json.*{'cd' * 20}", what="another digest of a small file is an error")


def strange_names(bench, place):
    """Names that are others' folders, and files listed twice."""
    bench.model("fault/folder", {"m": File(b"x"), f"m/{FILE}": bench.q8})
    place.either("fault/folder:Q8_0", f"m/{FILE}")
    tree = [File(b"GGUF 1").entry(FILE), File(b"GGUF 2").entry(FILE)]
    repository = bench.model("fault/twice", {FILE: File(b"GGUF 1")})
    repository.fault("tree", "body", json.dumps(tree).encode())
    place.either("fault/twice:Q8_0", FILE)
    long = "x" * 300 + FILE
    bench.model("fault/long", {long: bench.q8})
    place.either("fault/long:Q8_0", long)
    for name in ("blobs", "refs", ".trestle-part", "x.trestle-done"):
        tried = bench.model(f"fault/{name.strip('.')}", {f"{name}/{FILE}": bench.q8})
        place.good(f"{tried.name}:Q8_0", f"{name}/{FILE}", what=f"a folder called {name}")


def bodies(where):
    def case(bench, place):
        for what, body in BODIES.items():
            repository = bench.model(f"body/{where}-{what.replace(' ', '-')}")
            repository.fault(where, "body", body)
            place.bad(repository.name, "JSON|answer|hub|refs|tree|branch|revision|model", what=what)
            met(place, repository)
            if what == "huge":
                sent = max(r.sent for r in bench.hub.asked(repository))
                check(sent < 32 << 20, f"{place.name}: not read to its end", sent)

    return case


def bad_refs(bench, place):
    for number, (what, document) in enumerate(BAD_REFS.items()):
        repository = bench.model(f"refs/{number}")
        repository.fault("refs", "body", json.dumps(document).encode())
        place.bad(repository.name, "main|branch|commit|refs|revision|answer", what=what)
        met(place, repository)


def bad_entries(bench, place):
    """Trees that are right but for one member of the one file that is asked for."""
    numbers = itertools.count()

    def tried(what, path, words, **members):
        repository = bench.model(f"entry/{next(numbers)}", {path: bench.q8})
        entry = bench.q8.entry(path)
        entry |= {name: value for name, value in members.items() if name != "oid"}
        entry["lfs"] |= members
        repository.fault("tree", "body", json.dumps([entry]).encode())
        result = place.bad(f"{repository.name}:Q8_0", words, what=what)
        met(place, repository)
        check(not bench.hub.fetches(repository), f"{place.name}: {what}: nothing is fetched")
        # A terminal that shows the error shall not obey the hub.
        check(not re.search(r"[\x00-\x09\x0b-\x1f]", result.err), f"{place.name}: {what}: is shown harmlessly", result)

    for path in BAD_PATHS:
        tried(f"path {path[:20]!r}", path, "path|name|tree|Q8_0|GGUF")
    for oid in BAD_OIDS:
        tried(f"oid {oid!r}", FILE, "oid|digest|sha|tree|answer", oid=oid)
    for size in BAD_SIZES:
        tried(f"size {size!r}", FILE, "size|bytes|tree|answer|free", size=size)
    for what, entry in [("no path", {"type": "file", "size": 1, "oid": "0" * 40}), ("no type", {"path": FILE}),
                        ("path of another type", {"type": "file", "path": 7, "size": 1, "oid": "0" * 40})]:
        repository = bench.model(f"entry/{what.replace(' ', '-')}")
        repository.fault("tree", "body", json.dumps([entry]).encode())
        place.bad(repository.name, "path|tree|answer|type|model", what=what)


def cases():
    plain = {
        "retry-after": retry_after, "pages": pages, "wrong listing": wrong_listing, "strange names": strange_names,
        "refs bodies": bodies("refs"), "tree bodies": bodies("tree"), "bad refs": bad_refs, "bad entries": bad_entries,
    }
    # Those that wait longest come first.
    made = {f"refused: {name}": refused(*given) for name, given in REFUSED.items()}
    made |= {f"fault: {name}": mended(faults) for name, faults in MENDED.items()}
    made |= {f"either: {name}": either(faults) for name, faults in EITHER.items()}
    return {**made, **{f"fault: {name}": case for name, case in plain.items()}}
