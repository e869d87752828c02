"""What checks print."""

MIB = 1 << 20


def check(condition, what):
    print(("ok    " if condition else "FAIL  ") + what, flush=True)
    check.failures += not condition


check.failures = 0


def note(what):
    print("note  " + what, flush=True)


def skip(what, why):
    print(f"skipped: {what}: {why}", flush=True)
