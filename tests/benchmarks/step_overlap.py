"""Device idle and host time per step on an emulated device of known step time: synchronous against asynchronous.

    python tests/benchmarks/step_overlap.py [--step-ms 5] [--seconds 10] [--output FILE.json]

The engine's own process with its real scheduler, real step loop and real clock; only the device is emulated. Nothing
else should run meanwhile. Every running request streams its tokens to a client that only counts them, so what the
host needs to encode and send is in its time. Rounds are interleaved; medians and spread over them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
from dataclasses import asdict
from pathlib import Path

from abatch.engine.config import EngineConfig
from abatch.engine.hosting.engine_client import EngineClient
from abatch.engine.loop.step_account import EngineTotals
from abatch.engine.request import SamplingParams
from abatch.engine.scheduling.limits import Batching

RUNNING = (8, 16, 64, 256, 1024)
MODES: tuple[Batching, ...] = ("continuous", "async")
ROUNDS = 3
_SETTLE_S = 1.5


async def measure(batching: Batching, num_running: int, step_ms: float, seconds: float) -> dict[str, float]:
    """Idle share, and per step the host's time and the loop's period, with so many requests decoding."""
    config = EngineConfig(
        model="smollm2-135m",  # whose KV is small: memory for a thousand long sequences
        device=f"simulated:{step_ms:g}ms",
        batching=batching,
        max_num_seqs=max(RUNNING),
        num_blocks=200_000,
        max_model_len=8_192,
    )
    engine = await EngineClient.start(config)
    try:
        readers = [asyncio.create_task(_read(engine, index)) for index in range(num_running)]
        await asyncio.sleep(_SETTLE_S)
        first = asdict(engine.stats.totals)
        await asyncio.sleep(seconds)
        last = asdict(engine.stats.totals)
        assert engine.stats.num_running == num_running
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    finally:
        await engine.close()
    grown = EngineTotals(**{name: last[name] - first[name] for name in last if name != "parking"})
    return {
        "idle": grown.device_idle_s / (grown.device_idle_s + grown.device_busy_s),
        "host_ms": grown.host_s / grown.num_steps * 1e3,
        "period_ms": (grown.device_idle_s + grown.device_busy_s) / grown.num_steps * 1e3,
        "tokens_per_s": grown.num_decode_tokens / (grown.device_idle_s + grown.device_busy_s),
    }


async def _read(engine: EngineClient, index: int) -> None:
    async for _ in engine.generate([index % 1000] * 32, SamplingParams(max_tokens=8_000, temperature=0.0)):
        pass


def main() -> None:
    """Run all rounds, print a table, save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-ms", type=float, default=5.0, help="what every step takes on the device")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured time of each cell")
    parser.add_argument("--output", type=Path, help="save all figures as JSON")
    arguments = parser.parse_args()
    figures: dict[str, list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for num_running in RUNNING:
            for mode in MODES:
                cell = asyncio.run(measure(mode, num_running, arguments.step_ms, arguments.seconds))
                figures.setdefault(f"{mode} {num_running}", []).append(cell)
    print("| running | mode | device idle (min-max) | host ms a step (min-max) | loop period ms | tokens/s |")
    print("|---|---|---|---|---|---|")
    for name, cells in figures.items():
        shown_mode, shown_running = name.split()

        def middle(key: str, cells: list[dict[str, float]] = cells) -> tuple[float, float, float]:
            values = [cell[key] for cell in cells]
            return statistics.median(values), min(values), max(values)

        idle, host = middle("idle"), middle("host_ms")
        print(
            f"| {shown_running} | {shown_mode} | {idle[0]:.2%} ({idle[1]:.2%}-{idle[2]:.2%}) "
            f"| {host[0]:.3f} ({host[1]:.3f}-{host[2]:.3f}) | {middle('period_ms')[0]:.3f} "
            f"| {middle('tokens_per_s')[0]:,.0f} |"
        )
    if arguments.output:
        arguments.output.write_text(
            json.dumps(
                {"python": platform.python_version(), "step_ms": arguments.step_ms, "figures": figures}, indent=2
            )
        )


if __name__ == "__main__":
    main()
