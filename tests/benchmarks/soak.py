"""Hours: whether memory, descriptors, tasks and logs stay flat under steady traffic with clients that leave.

    python tests/benchmarks/soak.py [--minutes 30] [--only null|engine|day] [--output FILE.json]

A null server and our own engine, half of the time each, at 60% of what they can do: a third of the requests come from
clients that hang up in the middle of an answer, the rest from `abatch bench`. Then a day of virtual time. Server and
client run as their commands do, with a thread beside them that writes down what their process holds once a second.

For each series the first quarter is left out. The rest is cut into ten parts, and a line is fitted to their means; its
slope has an interval at 95% (Student's t, eight degrees of freedom). A series grows if the whole interval is above zero
and the line gains more than 2% of the level in the time that is left. When all clients are gone, descriptors and tasks
must be back to what they were before the first. Exits with 1 if anything grows or stays.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from abatch.reports.statistics.students_t import two_sided_quantile

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.process_memory import resident_mib  # found by the line above
from support.servers import interrupted_at_end, wait_for_url

_SHARE_OF_CAPACITY = 0.6
_SHARE_OF_LEAVERS = 1 / 3
_REQUEST = ("--turns", "1", "--isl", "100", "--osl", "32", "-w", "chat-short")
_NUM_PARTS = 10
_LEAST_GROWTH = 0.02
_SETTLED_S = 15.0
"""After the last client: idle connections are closed by then."""

Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Slope:
    """How a series of one process goes over time, per minute, with its interval at 95%."""

    process: str
    series: str
    level: float
    per_minute: float
    low: float
    high: float
    minutes: float

    @property
    def grows(self) -> bool:
        """Whether that is no accident, and matters."""
        return self.low > 0 and self.per_minute * self.minutes > _LEAST_GROWTH * self.level

    def row(self) -> str:
        """Of the table."""
        verdict = "GROWS" if self.grows else "flat"
        return (
            f"| {self.process} | {self.series} | {self.level:,.1f} | {self.per_minute:+.4f} "
            f"({self.low:+.4f} to {self.high:+.4f}) | {verdict} |"
        )


def slope(process: str, series: str, samples: list[Sample]) -> Slope:
    """Fit a line to the means of ten parts of what follows the first quarter."""
    kept = samples[len(samples) // 4 :]
    size = len(kept) // _NUM_PARTS
    parts = [kept[start : start + size] for start in range(0, size * _NUM_PARTS, size)]
    minutes = [statistics.fmean(sample["at_s"] for sample in part) / 60 for part in parts]
    values = [statistics.fmean(sample[series] for sample in part) for part in parts]
    per_minute, intercept = statistics.linear_regression(minutes, values)
    left = [value - intercept - per_minute * minute for minute, value in zip(minutes, values, strict=True)]
    spread = sum((minute - statistics.fmean(minutes)) ** 2 for minute in minutes)
    error = (sum(rest * rest for rest in left) / (_NUM_PARTS - 2) / spread) ** 0.5
    reach = two_sided_quantile(0.95, _NUM_PARTS - 2) * error
    low, high = per_minute - reach, per_minute + reach
    return Slope(process, series, statistics.fmean(values), per_minute, low, high, minutes[-1] - minutes[0])


# In the watched process.


def watch_this_process(path: Path) -> None:
    """From now on, write down once a second what this process and its children hold."""
    loops: list[asyncio.BaseEventLoop] = []
    run_forever = asyncio.BaseEventLoop.run_forever

    def remembered(loop: asyncio.BaseEventLoop) -> None:
        loops.append(loop)
        run_forever(loop)

    any_loop: Any = asyncio.BaseEventLoop
    any_loop.run_forever = remembered

    def sample() -> None:
        started_s = time.monotonic()
        with path.open("w", buffering=1) as lines:
            while True:
                processes = [os.getpid(), *_children(os.getpid())]
                taken = {
                    "at_s": time.monotonic() - started_s,
                    "memory_mib": resident_mib(processes[0]),
                    "descriptors": float(len(os.listdir("/proc/self/fd"))),
                    "tasks": float(len(asyncio.all_tasks(loops[-1])) if loops and not loops[-1].is_closed() else 0),
                    "threads": float(threading.active_count()),
                    "children_mib": sum(map(resident_mib, processes[1:])),
                }
                lines.write(json.dumps(taken) + "\n")
                time.sleep(1.0)

    threading.Thread(target=sample, daemon=True).start()


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in _read(path).split()]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


# In the soak's own.


@dataclass(slots=True)
class Watched:
    """A command of ours that runs with its holdings written down."""

    name: str
    process: subprocess.Popen[bytes]
    samples_path: Path
    log: Path

    def samples(self) -> list[Sample]:
        """So far, whole lines only."""
        return [
            json.loads(line) for line in self.samples_path.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]


@contextmanager
def watched(name: str, folder: Path, *arguments: str) -> Iterator[Watched]:
    """Run a command until the context is left."""
    samples, log = folder / f"{name}.jsonl", folder / f"{name}.log"
    command = [sys.executable, "-P", __file__, "--watched", str(samples), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    with interrupted_at_end(process):
        yield Watched(name, process, samples, log)


def capacity(url: str, folder: Path) -> float:
    """Requests per second that a closed loop of 64 gets through."""
    arguments = ["bench", "--url", url, *_REQUEST, "-c", "64", "-d", "20", "--idle-probe", "0", "-o", f"{folder}/peak"]
    subprocess.run(
        [sys.executable, "-P", "-m", "abatch.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return float(json.loads((folder / "peak" / "summary.json").read_text())["achieved_rate"])


async def leave_early(url: str, rate: float, duration_s: float) -> dict[str, int]:
    """Ask for answers, and hang up somewhere before their end; how many times, and how many had ended before."""
    counts = {"left": 0, "answered": 0, "failed": 0}
    draw = random.Random(0)
    body = {"messages": [{"role": "user", "content": "word " * 80}], "max_tokens": 32, "stream": True}

    async def one(http: aiohttp.ClientSession) -> None:
        try:
            async with asyncio.timeout(draw.uniform(0.0, 0.3)):
                async with http.post(f"{url}/v1/chat/completions", json=body) as response:
                    await response.read()
                    counts["answered" if response.status == 200 else "failed"] += 1
        except TimeoutError:
            counts["left"] += 1
        except aiohttp.ClientError:
            counts["failed"] += 1

    end_s = time.monotonic() + duration_s
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as tasks:
        while time.monotonic() < end_s:
            tasks.create_task(one(http))
            await asyncio.sleep(draw.expovariate(rate))
    return counts


def soak(name: str, arguments: list[str], minutes: float) -> tuple[list[Slope], list[str]]:
    """Slopes of a server and its client under traffic, and what was still there when all clients had gone."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with watched(name, folder, *arguments, "--port", "0") as server:
            url = wait_for_url(server.process, server.log)
            most = capacity(url, folder)
            rate = _SHARE_OF_CAPACITY * most
            time.sleep(_SETTLED_S)
            before = server.samples()[-1]
            first, log_bytes = len(server.samples()), server.log.stat().st_size
            stayed_rate, left_rate = (1 - _SHARE_OF_LEAVERS) * rate, _SHARE_OF_LEAVERS * rate
            bench = ("bench", "--url", url, *_REQUEST, "-r", f"{stayed_rate:.2f}", "-d", f"{minutes * 60:g}")
            with watched(f"{name}-client", folder, *bench, "-o", f"{folder}/run") as client:
                counts = asyncio.run(leave_early(url, left_rate, minutes * 60))
                last = len(server.samples())
                client.process.wait(600)
                client_samples = client.samples()
            time.sleep(_SETTLED_S)
            after = server.samples()[-1]
            summary = json.loads((folder / "run" / "summary.json").read_text())
            print(
                f"{name}: {most:.0f} requests/s at most; {summary['requests']} requests stayed, "
                f"{sum(summary['errors'].values())} of them failed; {counts['left']} left, "
                f"{counts['answered']} had been answered, {counts['failed']} failed; "
                f"{server.log.stat().st_size - log_bytes} bytes of log"
            )
            stays = [
                f"{series}: {before[series]:g} before, {after[series]:g} after"
                for series in ("descriptors", "tasks")
                if after[series] > before[series]
            ]
            if server.log.stat().st_size > log_bytes:
                stays.append(f"log: {_read(server.log)[log_bytes:][:500]}")
            slopes = [slope(name, series, server.samples()[first:last]) for series in _series(server)]
            slopes += [slope(f"{name}'s client", series, client_samples) for series in _series(client)]
            return slopes, stays


def _series(process: Watched) -> list[str]:
    with_children = any(sample["children_mib"] for sample in process.samples())
    return ["memory_mib", *["children_mib"] * with_children, "descriptors", "tasks", "threads"]


def day(hours: float) -> tuple[list[Slope], list[str]]:
    """A day of chats and always-on agents in virtual time, on a device that takes 100 ms per step."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = ["bench", "--device", "simulated:100ms", "-w", "chat-short,always-on", "--session-rate", "0.5"]
        run += ["-d", f"{hours * 3600:g}", "-o", f"{folder}/run"]
        with watched("day", folder, *run) as process:
            process.process.wait()
            samples = process.samples()
            summary = json.loads((folder / "run" / "summary.json").read_text())
            failed = sum(summary["errors"].values())
            peak_mib = max(sample["memory_mib"] for sample in samples)
            print(
                f"day: {hours:g} virtual hours in {samples[-1]['at_s'] / 60:.1f} minutes, "
                f"{summary['requests']} requests, {failed} failed, "
                f"{summary['engine']['num_steps']} steps, at most {peak_mib:.0f} MiB"
            )
        return [slope("day", series, samples[:-5]) for series in ("memory_mib", "descriptors", "threads")], []


def main() -> int:
    if len(sys.argv) > 2 and sys.argv[1] == "--watched":
        path, sys.argv = Path(sys.argv[2]), ["abatch", *sys.argv[3:]]
        watch_this_process(path)
        from abatch.cli.main import main as command

        command()
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of both servers together")
    parser.add_argument("--hours", type=float, default=24.0, help="of virtual time")
    parser.add_argument("--only", choices=("null", "engine", "day"))
    parser.add_argument("--output", type=Path, help="save all figures as JSON")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], tuple[list[Slope], list[str]]]] = {
        "null": lambda: soak("null", ["null-server", "--ttft", "20", "--itl", "5"], arguments.minutes / 2),
        "engine": lambda: soak("engine", ["serve", "--num-threads", "1"], arguments.minutes / 2),
        "day": lambda: day(arguments.hours),
    }
    slopes: list[Slope] = []
    stays: list[str] = []
    for name, part in parts.items():
        if arguments.only in (None, name):
            more, stay = part()
            slopes += more
            stays += [f"{name}: {line}" for line in stay]
    print("\n| process | series | level | per minute (95%) | |\n|---|---|---|---|---|")
    print("\n".join(one.row() for one in slopes))
    print("\n".join(stays) or "nothing stayed when all clients had gone")
    if arguments.output:
        figures: dict[str, Any] = {"slopes": [asdict(one) for one in slopes], "stays": stays}
        arguments.output.write_text(json.dumps(figures, indent=1))
    return int(any(one.grows for one in slopes) or bool(stays))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
