"""How often two equal servers are called different: stretches of time against a bootstrap of the pooled run.

    python tests/benchmarks/comparison.py [--comparisons 200]

Simulated queues with four servers and log-normal service; the two runs have different traffic. No timings: it may run
beside other work.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "reports"))

from abatch.reports.comparison.change import changes
from abatch.reports.comparison.difference import compared_statistics
from benchmarks.block_bootstrap import RESAMPLES, STATISTICS, Blocks, drawn_weights
from test_change import queue  # type: ignore[import-not-found]

_CONFIDENCE = 0.95
_SETTINGS = [
    (0.5, 1000, 1),
    (0.5, 4000, 1),
    (0.8, 1000, 1),
    (0.8, 4000, 1),
    (0.8, 1000, 4),
    (0.9, 4000, 1),
    (0.95, 4000, 1),
]
"""(load, requests a round, rounds)."""


def bootstrap_misses(first: list[list[Counter[int]]], other: list[list[Counter[int]]]) -> list[bool]:
    """Whether the percentile interval of the pooled runs' log quotient leaves out 0, for each statistic."""
    random = Random("benchmark")
    drawn: list[list[float]] = [[] for _ in STATISTICS]
    pooled = [Blocks([block for blocks in rounds for block in blocks]) for rounds in (first, other)]
    while len(drawn[0]) < RESAMPLES:
        weights = [
            [weight for blocks in rounds for weight in drawn_weights(len(blocks), random)] for rounds in (first, other)
        ]
        for values, statistic in zip(drawn, STATISTICS.values(), strict=True):
            values.append(math.log(statistic(pooled[1], weights[1]) / statistic(pooled[0], weights[0])))
    cut = int(RESAMPLES * (1 - _CONFIDENCE) / 2)
    return [not sorted(values)[cut] <= 0 <= sorted(values)[-1 - cut] for values in drawn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--comparisons", type=int, default=200)
    count = parser.parse_args().comparisons
    print(f"{count} comparisons of a server with itself: called different at 95%; noise of the stretches' p99")
    print(f"{'load':>5} {'requests':>10}  {'bootstrap: ' + ' / '.join(STATISTICS):28}  {'stretches':22} said, true")
    for load, requests, rounds in _SETTINGS:
        misses: dict[str, list[list[bool]]] = {"bootstrap": [], "stretches": []}
        said, true = [], []
        for number in range(count):
            first, other = (
                [queue(f"{name}{number}/{part}", requests, load=load) for part in range(rounds)] for name in "ab"
            )
            misses["bootstrap"].append(bootstrap_misses(*([one.blocks() for one in side] for side in (first, other))))
            found = changes(
                first, other, [compared.of_distribution for compared in compared_statistics()], is_paired=False
            )
            intervals = [change.interval(_CONFIDENCE) for change in found if change is not None]
            misses["stretches"].append([not interval.low <= 1 <= interval.high for interval in intervals])
            if (change := found[1]) is not None:
                said.append(change.error)
                true.append(change.log_ratio)
        shown = {
            method: " / ".join(f"{sum(column) / count:.1%}" for column in zip(*of_method, strict=True))
            for method, of_method in misses.items()
        }
        noise = f"{statistics.fmean(said):.3f}, {statistics.stdev(true):.3f}"
        print(
            f"{load:5} {f'{rounds} x {requests}':>10}  {shown['bootstrap']:28}  {shown['stretches']:22} {noise}",
            flush=True,
        )


if __name__ == "__main__":
    main()
