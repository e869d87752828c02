"""What HTTP costs beside the client over ZeroMQ."""

import asyncio
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

from http_load.base import Base
from http_load.client import PROMPTS, answers, ask, read_answer
from http_load.processes import cpu_seconds
from http_load.report import check, skip


class Overhead(Base):
    """Times of the same answers both ways, as a table."""

    async def overhead(self):
        if not self.target.endpoint or not self.options.trestle:
            return skip("HTTP beside the client over ZeroMQ", "give --endpoint and --trestle")
        tokens, rows = self.options.overhead_tokens, []
        seeds = await self.long_seeds(tokens, 8)
        await self.zeromq(seeds[:1], tokens)
        for count in (1, 8):
            chosen = seeds[:count]
            zeromq, http, cpu, differ = [], [], [], 0
            for _ in range(self.options.rounds * (4 if count == 1 else 1)):
                texts, times = await self.zeromq(chosen, tokens)
                zeromq += times
                own = self.cpu()
                exchanges = await asyncio.gather(
                    *[ask(self.door, "POST", "/v1/completions", self.plain(seed, tokens)) for seed in chosen]
                )
                cpu.append((self.cpu() - own) / (count * tokens))
                streams = [read_answer(exchange) for exchange in exchanges]
                http += [(stream.times[-1] - stream.times[0]) / (tokens - 1) for stream in streams]
                differ += texts != [stream.text for stream in streams]
            check(differ == 0, f"`trestle run` and HTTP tell the same text, {count} at once: {differ} runs differ")
            rows.append((count, statistics.median(zeromq), statistics.median(http), statistics.mean(cpu)))
        self.print_table(rows, tokens)

    def cpu(self):
        pid = self.target.pids.get("front door")
        return cpu_seconds(pid) if pid else float("nan")

    def plain(self, seed, tokens):
        return {
            "prompt": PROMPTS[0], "max_tokens": tokens, "temperature": 0.8, "top_k": 64, "top_p": 0.95,
            "seed": seed, "stream": True, "stream_options": {"include_usage": True},
        }

    async def long_seeds(self, tokens, count):
        """Seeds whose answers do not end by themselves, as `trestle run` cannot be told to go on."""
        seeds, seed = [], 0
        while len(seeds) < count and seed < 100:
            seed += 1
            (answer,) = await answers(self.door, [("/v1/completions", self.plain(seed, tokens))])
            seeds += [seed] if answer.reasons == ["length"] else []
        return seeds

    async def zeromq(self, seeds, tokens):
        """The text of each seed by `trestle run`, and its seconds a token from the first to the last."""

        async def one(seed):
            process = await asyncio.create_subprocess_exec(
                self.options.trestle, "run", "--raw", "--temperature", "0.8", "--top-k", "64", "--top-p", "0.95",
                "--seed", str(seed), "--max-tokens", str(tokens), "--endpoint", self.target.endpoint, PROMPTS[0],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            parts = []
            while data := await process.stdout.read(1 << 16):
                parts.append((time.perf_counter(), data))
            await process.wait()
            # After the answer the program ends its line.
            text = b"".join(data for _, data in parts).decode().removesuffix("\n")
            if parts[-1][1] == b"\n":
                parts.pop()
            return text, (parts[-1][0] - parts[0][0]) / (tokens - 1)

        found = await asyncio.gather(*[one(seed) for seed in seeds])
        return [text for text, _ in found], [seconds for _, seconds in found]

    def print_table(self, rows, tokens):
        name = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        print(
            "\n| streams | `trestle run`, µs a token | HTTP, µs a token | difference, µs "
            "| CPU of `serve`, µs a token |"
            "\n| ---: | ---: | ---: | ---: | ---: |"
        )
        for count, zeromq, http, cpu in rows:
            cells = [f"{count}", f"{zeromq * 1e6:.0f}", f"{http * 1e6:.0f}", f"{(http - zeromq) * 1e6:+.0f}"]
            print(f"| {' | '.join(cells)} | {cpu * 1e6:.1f} |")
        machine = f"{os.cpu_count()} CPUs, {name.group(1) if name else platform.machine()}"
        print(
            f"\nMeasured on {time.strftime('%Y-%m-%d')} by `scripts/load-http --only overhead`: {machine}; answers of "
            f"{tokens} tokens of the same prompt and seeds, in turn over ZeroMQ and HTTP; from the first text to the "
            "last, medians over all answers; the clients run on the same CPUs.\n",
            flush=True,
        )
