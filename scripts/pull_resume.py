"""The cases of scripts/test-pull about pulls that end early: killed, interrupted, out of space, or two at once.

    CASES maps each case's name to a function of a bench and a place, as test-pull's own cases are
"""

import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time

from fake_hub import File, seeded
from pull_checks import DEMO, check, skipped, waits_for

BIG = 56_000_000
LOST = 8 << 20  # The most that a killed pull may have to fetch again.


def kills(bench, place):
    """Some kills come at once, some when more is there than a kill may cost: without resuming, those cost too much."""
    repository = bench.model("kill/model", {"m-Q8_0.gguf": File(seeded(1, BIG))}, rate=1_000_000)
    chance, allowed = random.Random(bench.seed), 0
    for early in (True, False, True, False, True, False, True):
        before = bench.hub.fetched(repository)
        process = place.start("pull", "kill/model:Q8_0")
        wanted = before + (1 if early else chance.randrange(11_000_000, 15_000_000))
        waits_for(lambda: bench.hub.fetched(repository) >= wanted or process.poll() is not None)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        result = place.finish(process)
        if not check(result.code == -signal.SIGKILL, f"{place.name}: a pull is killed before its end", result):
            return
        allowed += min(LOST, bench.hub.fetched(repository) - before)
        place.holds()
    bench.hub.rate[repository.name] = None
    place.good("kill/model:Q8_0", "m-Q8_0.gguf", what="goes on after kills")
    twice, fetched = bench.hub.twice(repository), bench.hub.fetched(repository)
    check(twice <= allowed and fetched <= BIG + allowed, f"{place.name}: {twice / 1e6:.1f} MB are fetched twice",
          (twice, fetched, allowed))
    check(not place.parts(repository), f"{place.name}: no unfinished part is left", place.parts(repository))


def late_kills(bench, place):
    """Kills when all is fetched, but not yet in its place."""
    files = {p.name: File(p.read_bytes(), lfs=p.suffix == ".safetensors") for p in DEMO.iterdir() if p.is_file()}
    repository = bench.model("late/model", files)
    wanted = sum(len(file.content) for path, file in files.items() if path != "README.md")
    chance, killed, longest = random.Random(bench.seed), 0, 0.1
    for _ in range(12):
        shutil.rmtree(place.folder(repository), ignore_errors=True)
        before = bench.hub.fetched(repository)
        process = place.start("pull", "late/model")
        waits_for(lambda: bench.hub.fetched(repository) >= before + wanted or process.poll() is not None)
        time.sleep(chance.uniform(0, longest))
        process.kill()
        if place.finish(process).code == -signal.SIGKILL:
            killed += 1
        else:
            # It had ended before: this machine is faster than the pause.
            longest /= 2
        place.holds()
    place.good("late/model", "", what=f"goes on after {killed} of 12 late kills")
    check(killed > 0, f"{place.name}: some kills came before the end", killed)


def damages(bench, place):
    """What an earlier pull has left may be damaged."""
    repository = bench.model("damage/model", {"m-Q8_0.gguf": File(seeded(6, 24_000_000))}, rate=4_000_000)
    blob = place.folder(repository) / "blobs" / repository.files["m-Q8_0.gguf"].oid
    part, done = (blob.with_name(f"{blob.name}.trestle-{kind}") for kind in ("part", "done"))
    for what, damage in [
        ("wrong bytes", lambda: part.write_bytes(bytes(part.stat().st_size))),
        ("a part cut off", lambda: os.truncate(part, 1_000_000)), ("no part", part.unlink),
        ("a part too long", lambda: os.truncate(part, 30_000_000)),
        ("a list of blocks that says all is there", lambda: done.write_bytes(b"\xff" * 64)),
        ("a list that is too long", lambda: done.write_bytes(b"\x01" * 100_000)), ("an empty list", lambda: os.truncate(done, 0)),
        ("no list", done.unlink),
    ]:
        shutil.rmtree(place.folder(repository), ignore_errors=True)
        process = place.start("pull", "damage/model:Q8_0")
        before = bench.hub.fetched(repository)
        waits_for(lambda: bench.hub.fetched(repository) > before + 9_000_000 or process.poll() is not None)
        process.kill()
        place.finish(process)
        if not check(part.exists() and done.exists(), f"{place.name}: a killed pull leaves its part", place.parts(repository)):
            return
        damage()
        bench.hub.rate[repository.name] = None
        place.good("damage/model:Q8_0", "m-Q8_0.gguf", what=what)
        check(not place.parts(repository), f"{place.name}: {what}: nothing is left of it", place.parts(repository))
        bench.hub.rate[repository.name] = 4_000_000


def ranges(bench, place):
    repository = bench.model("range/model", {"m-Q8_0.gguf": File(seeded(1, BIG))}, rate=8_000_000)
    place.good("range/model:Q8_0", "m-Q8_0.gguf")
    most = bench.hub.at_once(repository)
    check(most == 4, f"{place.name}: four at once", most)
    check(bench.hub.twice(repository) == 0, f"{place.name}: nothing is fetched twice", bench.hub.twice(repository))


def interrupts(bench, place):
    # So slow that a crowded machine does not miss the moment.
    repository = bench.model("interrupt/model", {"m-Q8_0.gguf": File(seeded(1, BIG))}, rate=800_000)
    for stop in (signal.SIGINT, signal.SIGTERM):
        process = place.start("pull", "interrupt/model:Q8_0")
        before = bench.hub.fetched(repository)
        waits_for(lambda: bench.hub.fetched(repository) > before + 6_000_000 or process.poll() is not None)
        process.send_signal(stop)
        result = place.finish(process, 10)
        if stop == signal.SIGINT:
            check(result.code == 1 and "the same command goes on" in result.err.lower() and not result.out,
                  f"{place.name}: Ctrl-C ends with exit 1 and says how to go on", result)
        else:
            check(result.code != 0 and not result.out and bench.hub.fetched(repository) > before, f"{place.name}: SIGTERM ends it", result)
        place.holds()
        check(place.parts(repository), f"{place.name}: what was fetched is kept")
    listed = place.trestle("models", "--json")
    unfinished = json.loads(listed.out or "{}").get("unfinished", [])
    check([each["repository"] for each in unfinished] == ["interrupt/model"],
          f"{place.name}: `models` shows it as unfinished", listed)
    bench.hub.rate[repository.name] = None
    place.good("interrupt/model:Q8_0", "m-Q8_0.gguf", what="the same command goes on")
    fetched = bench.hub.fetched(repository)
    check(fetched <= BIG + 2 * LOST, f"{place.name}: with what was there", fetched)


def both(bench, place):
    repository = bench.model("both/model", {"m-Q8_0.gguf": File(seeded(1, BIG))}, rate=4_000_000)
    processes = [place.start("pull", "both/model:Q8_0") for _ in range(2)]
    results = [place.finish(process) for process in processes]
    path = str(place.path(repository, "m-Q8_0.gguf"))
    check([(r.code, r.out) for r in results] == [(0, path + "\n")] * 2, f"{place.name}: two at once succeed",
          list(map(str, results)))
    fetched = bench.hub.fetched(repository)
    check(fetched <= BIG + (1 << 20), f"{place.name}: and fetch it once", fetched)
    place.holds()


def full_disk(bench, place):
    bench.model("full/promised", {"m-Q8_0.gguf": File(b"GGUF", listed={"size": 10**15})})
    result = place.bad("full/promised:Q8_0", r"(PB|PiB|TB|TiB|\d{6}).* free", what="free space is looked at first")
    check(not bench.hub.fetches(bench.hub.repositories["full/promised"]), f"{place.name}: nothing is fetched", result)
    bench.model("full/limited", {"m-Q8_0.gguf": File(seeded(1, BIG))})
    before = place.outside()

    def limit():
        # With the signal ignored, writes beyond the limit fail as they do on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))

    result = place.trestle("pull", "full/limited:Q8_0", preexec_fn=limit)
    check(result.code == 1 and re.search(r"error: .*(too large|limit|EFBIG)", result.err, re.I | re.S),
          f"{place.name}: a limit on files' sizes is an error", result)
    place.holds(before)
    place.good("full/limited:Q8_0", "m-Q8_0.gguf", what="without the limit it goes on")
    tmpfs(bench, place)


def tmpfs(bench, place):
    if os.geteuid() != 0:
        return skipped(f"{place.name}: a disk that fills up", "needs root, to mount a small file system")
    place.hub = place.directory / "small"
    place.hub.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place.hub], capture_output=True, text=True)
    if mounted.returncode != 0:
        return skipped(f"{place.name}: a disk that fills up", mounted.stderr.strip())
    try:
        settings = {"HF_HUB_CACHE": str(place.hub)}
        repository = bench.model("full/filling", {"m-Q8_0.gguf": File(seeded(1, BIG))}, rate=4_000_000)
        process = place.start("pull", "full/filling:Q8_0", environment=settings)
        waits_for(lambda: bench.hub.fetched(repository) > 16_000_000 or process.poll() is not None)
        filler = place.hub / "models--fill--er/blobs"
        filler.mkdir(parents=True)
        with open(filler / ("0" * 40 + ".trestle-part"), "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        result = place.finish(process)
        # A pull that had reserved its room goes on to its end.
        told = re.search(r"error: .*(space|disk full|ENOSPC)", result.err, re.I | re.S)
        check(result.code == 0 or (result.code == 1 and told), f"{place.name}: a disk that fills up is an error", result)
        shutil.rmtree(filler.parent)
        place.holds()
        place.good("full/filling:Q8_0", "m-Q8_0.gguf", environment=settings, what="with space again it goes on")
        fetched = bench.hub.fetched(repository)
        check(fetched <= BIG + LOST, f"{place.name}: with what was there", fetched)
        bench.model("full/more", {"m-Q8_0.gguf": File(b"GGUF", listed={"size": 120_000_000})})
        place.bad("full/more:Q8_0", r"\d.* free", environment=settings, what="a second one has no room")
    finally:
        subprocess.run(["umount", "-l", place.hub], check=True)


CASES = {
    "ranges": ranges, "kill": kills, "late kill": late_kills, "damage": damages, "interrupt": interrupts,
    "two at once": both, "full disk": full_disk,
}
