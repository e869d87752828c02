"""Phases with clients that do not behave."""

import asyncio
import contextlib
import random
import socket
import time

from http_load.base import LEAVING, Base
from http_load.client import Exchange, answers, ask, question, read_answer
from http_load.hostile import FLOOD, HEAPS, SLOW_READER, Line, flood, floods, hang_up
from http_load.report import MIB, check, note, skip


class Attacks(Base):
    """Half-open connections, floods, hang-ups, slow readers."""

    async def begin_half_open(self):
        count = self.options.half_open
        beside = f"beside {count * len(self.half_open.kinds)} half-open connections"

        async def run_round():
            runs = {"alone": await self.measure()}
            await self.half_open.open(count)
            runs[beside] = await self.measure()
            await self.half_open.close()
            return runs

        await self.alternate(self.options.rounds, run_round, [("alone", beside)])
        await self.half_open.open(count)

    async def end_half_open(self):
        bound = self.options.close_bound
        await self.half_open.wait(bound)
        for kind, lives in self.half_open.lines.items():
            closed = sorted(life for life in lives.values() if life is not None)
            statuses = sorted({str(line.status) for line in lives if line.status}) or ["nothing"]
            found = f"{len(closed)} of {len(lives)} closed, answered with {', '.join(statuses)}"
            found += f", after {closed[0]:.1f} to {closed[-1]:.1f} s" if closed else ""
            if kind in self.half_open.SLOW:
                note(f"who {kind}: {found}")
            else:
                is_good = len(closed) == len(lives) and closed[-1] <= bound
                check(is_good, f"who {kind} is closed within {bound:.0f} s: {found}")
        await self.half_open.close()

    async def floods(self):
        before = self.begin_peaks()
        path, body = question(3000, 8, stream=False)
        expected = (await answers(self.door, [(path, body)]))[0].text
        served, patience = [], 5 if self.options.quick else self.options.close_bound
        for name, (begin, block, count) in floods(self.door).items():
            flooding = asyncio.gather(
                *[flood(self.door, begin, block, count, patience) for _ in range(self.options.floods)]
            )
            await asyncio.sleep(0.05)
            (beside,) = await answers(self.door, [(path, body)], timeout=10)
            found = await flooding
            served.append(beside.text == expected and not beside.fault)
            outcomes = sorted({str(outcome or "not at all") for outcome, _ in found})
            if self.options.quick and outcomes == ["not at all"]:
                skip(f"whether {name} is closed", "takes too long for --quick")
                continue
            check(
                all(outcome in (400, 413, 414, 431, "closed") for outcome, _ in found),
                f"{name} is refused or closed: {', '.join(outcomes)} after at most "
                f"{max(size for _, size in found) / MIB:.1f} MiB",
            )
        check(all(served), f"others are served beside floods: {sum(served)} of {len(served)} with the right text")
        await self.pipelined()
        self.check_peaks(before, FLOOD * self.options.floods + HEAPS, f"{self.options.floods} floods at once")

    async def hang_ups(self):
        choose = random.Random(self.options.seed)
        before = await self.descriptors()
        waiting = self.half_open.open_count
        ended = (await self.status())["counters"]["requests"]
        lines, most, last, faults = [], 0, 0, []
        limit = asyncio.Semaphore(16)

        async def one(index):
            nonlocal last
            async with limit:
                try:
                    await hang_up(self.door, choose, lines, index)
                except OSError as error:
                    faults.append(str(error))
                last = time.monotonic()

        tasks = [asyncio.create_task(one(index)) for index in range(self.options.hang_ups)]
        while not all(task.done() for task in tasks):
            most = max(most, (await self.status())["sessions"])
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)
        is_idle = await self.is_idle(LEAVING) is not None
        took, now = time.monotonic() - last, await self.status()
        after = now["counters"]["requests"]
        left = after["cancelled"] + after["abandoned"] - ended["cancelled"] - ended["abandoned"]
        check(
            is_idle and most > 0 and left > 0 and not faults,
            f"after {self.options.hang_ups} hang-ups nothing runs within {LEAVING} s: {now['sessions']} sessions, "
            f"{now['queued']} queued after {took:.2f} s; {left} requests were given up, at most {most} sessions ran"
            + "".join(f"; {fault}" for fault in faults[:3]),
        )
        for line in lines:
            line.close()
        await self.check_descriptors(before, waiting)

    def slow_question(self, index):
        """Half of the readers ask for log probabilities, which are two hundred times as long as the text."""
        more = {"logprobs": 20} if index % 4 in (1, 2) else {}
        return question(2 * index + 1, self.options.slow_tokens, **more)

    async def open_slow(self):
        lines = []
        for index in range(self.options.slow):
            line = await Line(self.door).open(is_small=True)
            await line.send(self.door.request("POST", *self.slow_question(index)))
            lines.append(line)
        return lines

    async def read_slowly(self, lines):
        """Half of the readers read four bytes twice a second, the others nothing."""
        while True:
            for line in lines[::2]:
                with contextlib.suppress(OSError):
                    line.got += line.socket.recv(4)
            await asyncio.sleep(0.5)

    async def wait_until_settled(self):
        """Waits until nothing more is computed for slow readers: they have all, or are waited for."""
        made = -1
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            status = await self.status()
            if status["counters"]["generated_tokens"] == made:
                return status
            made = status["counters"]["generated_tokens"]
            await asyncio.sleep(0.5)
        return status

    async def slow_round(self, is_last):
        runs = {"alone": await self.measure()}
        count = self.options.slow
        ordinary = [
            asyncio.create_task(ask(self.door, "POST", *self.slow_question(index), keeps=False))
            for index in range(count)
        ]
        await self.wait_for(10, lambda status: status["sessions"] == count)
        runs[f"beside {count} ordinary readers"] = await self.measure()
        for task in ordinary:
            task.cancel()
        await asyncio.gather(*ordinary, return_exceptions=True)
        await self.is_idle(10)
        lines = await self.open_slow()
        reading = asyncio.create_task(self.read_slowly(lines))
        await self.wait_for(10, lambda status: status["sessions"] == count)
        runs[f"beside {count} slow readers"] = await self.measure()
        self.settled = await self.wait_until_settled()
        runs["while slow readers have yet to read"] = await self.measure()
        reading.cancel()
        if is_last:
            await self.catch_up(lines)
        for line in lines:
            line.close()
        await self.is_idle(10)
        return runs

    async def slow(self):
        count, rounds = self.options.slow, self.options.slow_rounds
        before = self.begin_peaks()
        number = 0

        async def run_round():
            nonlocal number
            number += 1
            return await self.slow_round(number == rounds)

        pairs = [
            (f"beside {count} ordinary readers", f"beside {count} slow readers"),
            ("alone", "while slow readers have yet to read"),
        ]
        await self.alternate(rounds, run_round, pairs)
        note(
            f"when nothing more was computed for slow readers, {self.settled['sessions']} of their sessions were "
            "open, the others computed to their end"
        )
        self.check_peaks(before, SLOW_READER * count + HEAPS, f"{count} slow readers")

    async def catch_up(self, lines):
        """A slow reader that reads on gets the whole answer, or sees that it is not whole."""
        chosen = list(range(min(4, len(lines))))
        expected = await answers(self.door, [self.slow_question(index) for index in chosen], timeout=60)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*[self.read_on(lines[index]) for index in chosen]), 30)
        for index, wanted in zip(chosen, expected):
            exchange = Exchange(b"", keeps=True)
            exchange.data_received(bytes(lines[index].got))
            exchange.connection_lost(None)
            found = read_answer(exchange)
            # Of the prompt's tokens more or fewer may have been there already.
            counts = [answer.usage and answer.usage["completion_tokens"] for answer in (found, wanted)]
            is_whole = not found.fault and found.text == wanted.text and counts[0] == counts[1]
            # The last chunk of a body is missing where the server has closed the connection.
            is_cut = bool(exchange.fault) and b"[DONE]" not in exchange.body[-400:]
            check(
                (is_whole or is_cut) and not wanted.fault,
                f"slow reader {index} reads on and has the whole answer, or sees that it is cut off: {len(found.text)} of "
                f"{len(wanted.text)} characters" + (f", {found.fault}" if found.fault else "")
                + (f", an ordinary one has {wanted.fault}" if wanted.fault else ""),
            )

    @staticmethod
    async def read_on(line):
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        while not line.got.endswith(b"\r\n0\r\n\r\n") and await line.receive():
            pass
