"""Phases with many clients that behave."""

import asyncio
import contextlib
import time

from http_load.base import Base
from http_load.client import answers, ask, quantile, question, read_answer, told_times
from http_load.hostile import FLOOD_BYTES, Line
from http_load.processes import Pipeline
from http_load.report import MIB, check, skip


class Crowds(Base):
    """Measured streams, many streams at once, bursts of short requests."""

    async def undisturbed(self):
        runs = [await self.measure() for _ in range(self.options.rounds)]
        faults = [fault for run in runs for fault in run["faults"]]
        check(
            not faults,
            f"{self.options.measured} streams alone: first token {told_times(runs, 'first')}, between tokens p50 "
            f"{told_times(runs, 'p50')}, p99 {told_times(runs, 'p99')}, medians of {len(runs)}"
            + "".join(f"; {fault}" for fault in faults[:2]),
        )

    async def streams(self):
        count, tokens = self.options.streams, self.options.stream_tokens
        alone = []
        for index in range(count):
            path, body = question(index, tokens, stream=False)
            alone += await answers(self.door, [(path, body)])
        began = time.perf_counter()
        together = await answers(self.door, [question(index, tokens) for index in range(count)], timeout=240)
        took = time.perf_counter() - began
        faults = [answer.fault for answer in alone + together if answer.fault]
        check(
            not faults,
            f"{count} streams at once are answered, and each request alone: {len(faults)} failed, "
            f"{count * tokens / took:.0f} tokens/s" + "".join(f"; {fault}" for fault in faults[:3]),
        )
        same = sum(a.text == b.text and not a.fault for a, b in zip(alone, together))
        check(same == count, f"their texts are those that each has alone: {same} of {count}")
        started = max((answer.times[0] for answer in together if answer.times), default=0)
        ended = min((answer.times[-1] for answer in together if answer.times), default=0)
        check(
            started < ended,
            f"all were under way at once: the last began {started - began:.2f} s after the first request, the "
            f"first ended after {ended - began:.2f} s",
        )
        await self.check_usage(alone, together, tokens)
        reasons = sum(answer.reasons == ["length"] for answer in together)
        check(reasons == count, f"each ends once, by its length: {reasons} of {count}")

    async def check_usage(self, alone, together, tokens):
        right = 0
        for index, (one, many) in enumerate(zip(alone, together)):
            path, body = question(index, tokens)
            prompt = one.usage.get("prompt_tokens")
            if "prompt" in body:
                prompt = (await ask(self.door, "POST", "/tokenize", {"prompt": body["prompt"]})).document["count"]
            usages = [{key: usage.get(key) for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
                      for usage in (one.usage, many.usage)]
            wanted = {"prompt_tokens": prompt, "completion_tokens": tokens}
            wanted["total_tokens"] = (prompt or 0) + tokens
            right += usages == [wanted, wanted]
        check(right == len(alone), f"their usage counts what was asked: {right} of {len(alone)}")

    async def bursts(self):
        """A pipeline of its own, with fewer places, so that requests are refused."""
        if self.options.url:
            return await self.burst(self.door)
        crowded = Pipeline(self.options, self.options.burst_slots)
        try:
            await self.burst(crowded.door)
            check(not crowded.ended(), "the crowded front door and pipeline live")
        finally:
            crowded.stop()

    async def burst(self, door):
        kinds = [question(2000 + index, 6, stream=False) for index in range(16)]
        expected = [(await answers(door, [kind]))[0].text for kind in kinds]
        refusals, times, wrong = [], [], []

        async def one(index):
            began = time.monotonic()
            path, body = kinds[index % len(kinds)]
            while time.monotonic() < began + 60:
                exchange = await ask(door, "POST", path, body)
                if exchange.status != 429 or exchange.fault:
                    break
                refusals.append(exchange)
                await asyncio.sleep(float(exchange.headers.get("retry-after", 1)))
            times.append(time.monotonic() - began)
            answer = read_answer(exchange)
            if answer.fault or answer.text != expected[index % len(kinds)]:
                wrong.append(answer.fault or f"another text: {answer.text!r}")

        began = time.monotonic()
        total, size = self.options.requests, self.options.burst
        for first in range(0, total, size):
            await asyncio.gather(*[one(index) for index in range(first, min(total, first + size))])
        took = time.monotonic() - began
        check(
            not wrong,
            f"{total} requests, {size} at once, are answered with the right text: {total - len(wrong)}, in "
            f"{took:.1f} s, p50 {quantile(times, 0.5):.2f} s, p99 {quantile(times, 0.99):.2f} s"
            + "".join(f"; {fault}" for fault in wrong[:3]),
        )
        if not refusals:
            return skip("what a refusal looks like", f"{size} requests at once all had room; try a larger --burst")
        honest = sum(self.is_honest(exchange) for exchange in refusals)
        check(honest == len(refusals), f"refusals are 429 and tell when to try again: {honest} of {len(refusals)}")

    @staticmethod
    def is_honest(exchange):
        error = exchange.document.get("error", {})
        is_number = exchange.headers.get("retry-after", "").isdigit()
        return is_number and error.get("type") == "rate_limit_error" and bool(error.get("message"))

    async def pipelined(self):
        """Requests one after another whose answers nobody reads must wait, not pile up."""
        line = await Line(self.door).open(is_small=True)
        block, sent = self.door.request("GET", "/v1/models") * 100, 0
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            while sent < FLOOD_BYTES:
                await asyncio.wait_for(line.send(block), 3)
                sent += len(block)
        line.close()
        check(
            sent < FLOOD_BYTES,
            f"requests whose answers nobody reads are taken no more after a while: {sent / MIB:.1f} MiB were",
        )
