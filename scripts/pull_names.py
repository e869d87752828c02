"""Cases of scripts/test-pull about what a model is called, what is at hand without its name, and what is in the cache already."""

import json
import os
import re
import signal
import subprocess
import time

from fake_hub import File, seeded
from pull_checks import check, waits_for

MAIN = "main"


def moved(bench, place):
    """A repository whose branch moves on: two models, each with a name, and `up` means the newer."""
    old = {"m-Q8_0.gguf": bench.q8}
    repository = bench.model("moved/model", old)
    first, second = repository.commit, "b" * 40
    place.good("moved/model:Q8_0", "m-Q8_0.gguf", commit=first)
    repository.tags["v1.0"] = first
    repository.commits[second] = {"m-Q8_0.gguf": bench.q4}
    repository.branches[MAIN] = second
    place.good("moved/model:Q8_0", "m-Q8_0.gguf", commit=second)
    names = [each["name"] for each in json.loads(place.trestle("models", "--json").out)["models"]]
    check(names == ["moved/model:Q8_0", f"moved/model:Q8_0@{first}"], f"{place.name}: each has a name of its own", names)
    for name, commit in zip(names, (second, first)):
        result = place.trestle("pull", name, "--offline")
        check(result.out.strip() == str(place.path(repository, "m-Q8_0.gguf", commit)), f"{place.name}: {name} is found", result)
    asked = len(bench.hub.requests)
    result = place.trestle("run", "--model", names[1], "--max-tokens", "2", "a")
    check(result.code == 0 and len(bench.hub.requests) == asked, f"{place.name}: the old one runs by its name", result)
    place.good("moved/model:Q8_0@v1.0", "m-Q8_0.gguf", commit=first, repository=repository, what="a tag behind an @ is pulled")
    result = place.trestle("doctor", "--json")
    following = json.loads(result.out or "{}").get("next", "")
    check(following.endswith("--model moved/model:Q8_0"), f"{place.name}: `doctor` means the newer", following)
    result = place.trestle("rm", "moved/model@v1.0", "--yes")
    left = [each["name"] for each in json.loads(place.trestle("models", "--json").out)["models"]]
    check(result.code == 0 and left == names[:1], f"{place.name}: the old one is removed alone", (result, left))
    place.holds()
    result = place.trestle("pull", "moved/model@x", "--revision", "y")
    check(result.code == 1 and "one of them" in result.err, f"{place.name}: two revisions are refused", result)


def twins(bench, place):
    bench.model("twin/model", {"alpha-Q8_0.gguf": bench.q8, "beta-Q8_0.gguf": bench.q4})
    place.bad("twin/model:Q8_0", "alpha-Q8_0.gguf, beta-Q8_0.gguf", what="a name of two files is refused, and both are told")
    for name in ("alpha", "beta"):
        place.good(f"twin/model:{name}", f"{name}-Q8_0.gguf")
    result = place.trestle("rm", "twin/model:Q8_0", "--yes")
    check(result.code == 1 and "alpha-Q8_0.gguf, beta-Q8_0.gguf" in result.err, f"{place.name}: nor removed", result)
    result = place.trestle("rm", "twin/model:gguf", "--yes")
    check(result.code == 1, f"{place.name}: what all names have is no name", result)
    result = place.trestle("rm", "twin/model:beta-Q8_0.gguf", "--yes")
    check(result.code == 0 and result.out.startswith("removed beta-Q8_0.gguf: "), f"{place.name}: `rm` says what it has removed", result)


def away(bench, place):
    """A hub that cannot be reached: what is whole is taken, and said to be."""
    repository = bench.model("away/model", {"m-Q8_0.gguf": bench.q8, "m-Q4_0.gguf": bench.q4})
    place.good("away/model:Q8_0", "m-Q8_0.gguf")
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    result = place.trestle("pull", "away/model:Q8_0", environment=nobody)
    right = result.code == 0 and result.out.strip() == str(place.path(repository, "m-Q8_0.gguf"))
    check(right and "what is in the cache is taken" in result.err, f"{place.name}: what is whole is taken", result)
    check("trying again" in result.err, f"{place.name}: attempts are told", result)
    result = place.trestle("pull", "away/model:Q4_0", environment=nobody)
    check(result.code == 1 and not result.out, f"{place.name}: what is not there is not", result)
    result = place.trestle("pull", "away/model:Q8_0", "--verify", environment=nobody)
    check(result.code == 1 and not result.out, f"{place.name}: nor what is to be verified", result)


def verified(bench, place):
    repository = bench.model("verify/model", {"m-Q8_0.gguf": bench.q8})
    place.good("verify/model:Q8_0", "m-Q8_0.gguf")
    blob = place.path(repository, "m-Q8_0.gguf").resolve()
    with open(blob, "r+b") as file:
        file.seek(100_000)
        file.write(b"damage")
    result = place.good("verify/model:Q8_0", "m-Q8_0.gguf", "--verify", what="--verify mends what is damaged")
    check("m-Q8_0.gguf is damaged" in result.err and blob.read_bytes() == bench.q8.content, f"{place.name}: and says so", result)
    fetched = bench.hub.fetched(repository)
    result = place.good("verify/model:Q8_0", "m-Q8_0.gguf", "--verify", what="what is right stays")
    check(bench.hub.fetched(repository) == fetched and "checking" in result.err, f"{place.name}: and is not fetched", result)
    result = place.trestle("pull", "verify/model:Q8_0", "--verify", "--offline")
    check(result.code == 1 and "--verify" in result.err, f"{place.name}: --verify and --offline exclude each other", result)


def question(bench, place):
    """An interrupt ends the question, and nothing is fetched."""
    repository = bench.model("ask/model", {"m-Q8_0.gguf": bench.q8})
    for stop in (signal.SIGINT, signal.SIGTERM):
        ours, theirs = os.openpty()
        process = place.start("run", "--model", "ask/model:Q8_0", "a", stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        shown = b""
        while b"[Y/n]" not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(stop)
        began = time.monotonic()
        ended = waits_for(lambda: process.poll() is not None, 10)
        check(ended and process.returncode != 0, f"{place.name}: {stop.name} ends it", (process.poll(), time.monotonic() - began))
        process.kill()
        process.communicate()
        os.close(ours)
    check(not bench.hub.fetches(repository), f"{place.name}: nothing is fetched")


def resumed(bench, place):
    """After a resume, the rate and the time left are those of what comes."""
    content = File(seeded(3, 24_000_000))
    repository = bench.model("resume/model", {"m-Q8_0.gguf": content}, rate=900_000)
    process = place.start("pull", "resume/model:Q8_0")
    waits_for(lambda: bench.hub.fetched(repository) > 12_000_000)
    process.kill()
    process.communicate()
    shown, code, _ = place.terminal("", "pull", "resume/model:Q8_0")
    rates = [float(rate) * {"K": 1 / 1024, "M": 1}[unit] for rate, unit in re.findall(r"([\d.]+) ([KM])iB/s", shown)]
    # Four connections of 0.9 MB/s.
    check(code == 0 and rates and max(rates) < 8, f"{place.name}: the rate is that of what comes", (max(rates, default=0), shown[-300:]))
    told = re.search(r"pulling resume/model:Q8_0: ([\d.]+) MiB of 22.9 MiB", shown)
    check(told and float(told[1]) < 16, f"{place.name}: what is here is not announced", shown[:200])


def at_hand(bench, place):
    """What `doctor` takes for the models of a directory."""
    def following():
        return json.loads(place.trestle("doctor", "--json").out or "{}").get("next", "")

    (place.directory / "config.json").write_text('{"port": 8080}')
    (place.directory / "mmproj-f16.gguf").write_bytes(b"GGUF")
    (place.directory / "my model;x.GGUF").write_bytes(bench.q8.content)
    check(following().endswith("--model 'my model;x.GGUF'"), f"{place.name}: the only model, as a shell takes it", following())
    os.remove(place.directory / "my model;x.GGUF")
    os.makedirs(place.directory / "here")
    os.rename(place.directory / "mmproj-f16.gguf", place.directory / "here/mmproj-f16.gguf")
    bench.model("here/model", {"m-Q8_0.gguf": bench.q8})
    place.good("here/model:Q8_0", "m-Q8_0.gguf")
    result = place.trestle("run", "--model", "here/model:Q8_0", "--max-tokens", "1", "a")
    check(result.code == 1 and "https://huggingface.co/here/model:Q8_0" in result.err,
          f"{place.name}: a directory that hides a hub's name is told of", result)
    result = place.trestle("run", "--model", "https://huggingface.co/here/model:Q8_0", "--max-tokens", "1", "a")
    check(result.code == 0, f"{place.name}: and the address opens it", result)


CASES = {"moved": moved, "twins": twins, "verify": verified, "question": question, "at hand": at_hand}
# They mostly wait.
WAITING = {"away": away, "resumed": resumed}
