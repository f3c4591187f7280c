"""Memory of the load generator while it holds many streams in which nothing happens.

    python tests/benchmarks/idle_streams.py [--streams 10000]

A null server in a process of its own takes all requests and says nothing for as long as the measurement lasts. Memory
is that of the client's process alone: resident before the first stream, and with all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from abatch.reports.run.config import RunConfig
from abatch.reports.run.writer import RunWriter
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.presets.agents import single_turn
from abatch.workloads.presets.scales import Scales
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.workload import ClosedLoop, Stream, Workload, drawn

_SILENCE_S = 60.0
_RUN_S = 30.0


def resident_bytes() -> int:
    """Of this process, now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def measure(url: str, streams: int, folder: Path) -> tuple[int, int, int]:
    """Resident bytes before the first stream and with all of them, and how many there were."""
    target = await HttpTarget.connect(url, model="null", api_key=None, headers={}, timeout_s=600.0)
    writer = RunWriter(folder / "run", RunConfig())
    writer.start()
    sessions = drawn("idle", single_turn("idle", Scales(), input_tokens=50, output_tokens=20))
    workload = Workload("idle", "", (Stream("idle", sessions, ClosedLoop(streams)),))
    generator = LoadGenerator(
        workload,
        target,
        RunLimits(duration_s=_RUN_S, drain_s=0.1),
        seed=0,
        sizer=PromptSizer(is_measured=True),
        on_result=writer.add,
    )
    before = resident_bytes()
    running = asyncio.create_task(generator.run())
    deadline = time.monotonic() + _RUN_S - 5
    while generator.counts.in_flight < streams and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    await asyncio.sleep(3)
    held, in_flight = resident_bytes(), generator.counts.in_flight
    generator.stop()
    await running
    await target.close()
    writer.close()
    return before, held, in_flight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    streams = parser.parse_args().streams
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * streams + 1000), hard))
    command = ["-P", "-m", "abatch.cli", "null-server", "--port", "0", "--ttft", str(_SILENCE_S * 1e3)]
    server = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        url = next(word for word in server.stderr.readline().split() if word.startswith("http"))
        with tempfile.TemporaryDirectory() as folder:
            before, held, in_flight = asyncio.run(measure(url, streams, Path(folder)))
    finally:
        server.kill()
    per_stream = (held - before) / max(in_flight, 1) / 1024
    print(
        f"{in_flight} streams: {held / 2**20:.0f} MiB resident, {before / 2**20:.0f} before, {per_stream:.1f} KiB each"
    )


if __name__ == "__main__":
    main()
