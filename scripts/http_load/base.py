"""What all phases of a load share."""

import asyncio
import os
import statistics
import time

from http_load.client import ask, measure, told_times
from http_load.hostile import HalfOpen
from http_load.processes import begin_peak, descriptors, resident
from http_load.report import MIB, check, note, skip

# How long nothing may go on after the last client has hung up.
LEAVING = 2
# How long a connection may last whose client has gone in the middle of a flood that the server no longer reads.
LINGERING = 35


class Gone(Exception):
    """The server serves no more."""


class Base:
    """A server under test, and what all phases need of it."""

    def __init__(self, options, target, pool):
        self.options, self.target, self.pool = options, target, pool
        self.door = target.door
        self.half_open = HalfOpen(self.door)

    async def status(self):
        exchange = await ask(self.door, "GET", "/api/status", timeout=30)
        if exchange.fault or exchange.status != 200:
            raise Gone(f"the front door tells no status: {exchange.fault or exchange.status}")
        return exchange.document

    async def wait_for(self, seconds, condition):
        """Waits until a condition of the status holds; returns the seconds that it took, None if it did not."""
        began = time.monotonic()
        while True:
            if condition(await self.status()):
                return time.monotonic() - began
            if time.monotonic() - began > seconds:
                return None
            await asyncio.sleep(0.02)

    async def is_idle(self, seconds):
        return await self.wait_for(seconds, lambda status: status["sessions"] == status["queued"] == 0)

    async def measure(self, count=None):
        loop = asyncio.get_running_loop()
        options = self.options
        return await loop.run_in_executor(
            self.pool, measure, self.door, count or options.measured, options.measured_tokens
        )

    async def alternate(self, rounds, run_round, pairs):
        """Runs rounds, each of which returns runs by name, and compares the medians of pairs of names.

        If one pair differs by more than the ratio, all rounds are run once more, and count together.
        """
        runs = {}
        for attempt in range(2):
            for _ in range(rounds):
                for name, run in (await run_round()).items():
                    runs.setdefault(name, []).append(run)
            ratios = [self.ratio(runs, pair) for pair in pairs]
            if all(ratio <= self.options.ratio for ratio in ratios):
                break
            if attempt == 0:
                note(f"p99 between tokens was {max(ratios):.2f} times as long; once more as many rounds")
        for pair, ratio in zip(pairs, ratios):
            without, with_it = pair
            faults = [fault for run in runs[with_it] for fault in run["faults"]]
            check(
                ratio <= self.options.ratio,
                f"p99 between tokens {with_it} is at most {self.options.ratio} times that {without}: {ratio:.2f}, "
                f"{told_times(runs[with_it], 'p99')} and {told_times(runs[without], 'p99')}, medians of "
                f"{len(runs[without])}" + "".join(f"; {fault}" for fault in faults[:2]),
            )
        return runs

    @staticmethod
    def ratio(runs, pair):
        without, with_it = (statistics.median(run["p99"] for run in runs[name]) for name in pair)
        return with_it / without if without < float("inf") else float("inf")

    def begin_peaks(self):
        for pid in self.target.pids.values():
            begin_peak(pid)
        return {name: resident(pid) for name, pid in self.target.pids.items()}

    def check_peaks(self, before, bound, what):
        if not self.target.pids:
            skip(f"memory of {what}", "give --serve-pid and --coordinator-pid")
        for name, pid in self.target.pids.items():
            peak = resident(pid, "VmHWM")
            check(
                peak - before[name] <= bound,
                f"{what} cost the {name} at most {bound / MIB:.0f} MiB: it had {before[name] / MIB:.1f} MiB, "
                f"at most {peak / MIB:.1f}",
            )

    async def descriptors(self):
        await self.is_idle(10)
        # Those of the clients that have just gone are closed by then.
        await asyncio.sleep(0.5)
        return {name: descriptors(pid) for name, pid in self.target.pids.items()}

    async def check_descriptors(self, before, waiting, seconds=5):
        if not before:
            skip("descriptors after hang-ups", "give --serve-pid and --coordinator-pid")
        for name, pid in self.target.pids.items():

            def excess():
                # Half-open connections that the server has closed meanwhile must not hide others.
                closed = waiting - self.half_open.open_count if name == "front door" else 0
                return descriptors(pid) - (before[name] - closed)

            began = time.monotonic()
            while excess() > 0 and time.monotonic() < began + seconds:
                await asyncio.sleep(0.1)
            check(
                excess() <= 0,
                f"the {name} has as many descriptors open as before: {before[name]}, then {excess():+d} after "
                f"{time.monotonic() - began:.1f} s",
            )

    async def memory(self):
        """The resident memory of each process."""
        found = {name: resident(pid) for name, pid in self.target.pids.items()}
        for worker in (await self.status())["workers"]:
            if os.path.exists(f"/proc/{worker['pid']}") and self.target.pids:
                found[f"worker {worker['name']}"] = resident(worker["pid"])
        return found
