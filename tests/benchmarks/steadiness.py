"""How often a run is found to grow: at loads below and above a queue's capacity, and of servers that become slower.

    python tests/benchmarks/steadiness.py --runs 100

Each row is the share of runs with a trend (`find_trend`): below the capacity they are false alarms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from abatch.reports.recording.latency_trend import find_trend
from abatch.reports.statistics.time_blocks import TimeBlocks
from support.known_queues import queue_run

_LOADS = (0.3, 0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
_SLOWER = (1.25, 1.5, 2.0, 4.0)
_REQUESTS = (1000, 3000)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="Runs of each row.")
    runs = parser.parse_args().runs
    print(f"| queue | {' | '.join(f'{count:,} requests' for count in _REQUESTS)} |\n|---|{'---|' * len(_REQUESTS)}")
    for load in _LOADS:
        _print_row(f"load {load:g}", runs, load, lambda share: 1.0)
    for factor in _SLOWER:
        _print_row(f"load 0.3, {factor:g} times slower at the end", runs, 0.3, _growing(factor))


def _growing(factor: float) -> Callable[[float], float]:
    return lambda share: 1 + (factor - 1) * share


def _print_row(name: str, runs: int, load: float, slowness: Callable[[float], float]) -> None:
    found = []
    for count in _REQUESTS:
        grew = 0
        for seed in range(runs):
            blocks = TimeBlocks()
            for result in queue_run(load, count, seed, slowness=slowness):
                blocks.add(result.due_s, (result.ttft_us,))
            grew += find_trend("ttft", blocks.blocks()) is not None
        found.append(f"{grew / runs:.0%}")
    print(f"| {name} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
