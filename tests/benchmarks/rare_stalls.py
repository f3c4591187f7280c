"""How often stalls that only one of two servers has are told, and how often two equal servers are told apart by them.

    python tests/benchmarks/rare_stalls.py [--pairs 100]

Servers whose truth is known, 20 requests per second. *Moments* is the test of which side the slowest 1% of requests are
on (`reports/comparison/slow_moments.py`), *interval* that of the p99 (`reports/comparison/change.py`), at 95% for
itself, and at what a whole comparison has for each of its numbers. No timings: it may run beside other work.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from abatch.reports.comparison.change import changes
from abatch.reports.comparison.slow_moments import slow_moments
from abatch.reports.statistics.interval import CONFIDENCE
from abatch.reports.summary.statistic import P99
from support.known_queues import RATE, KnownQueue, independent, queueing, stalled

_EQUAL = [(load, count) for load in (0.5, 0.8, 0.95) for count in (1000, 4000, 12_000)]
_STALLS = (4, 6, 8, 10)
_STALLED_REQUESTS = 12_000
_NUMBERS = 18
"""Of a comparison."""
_COLUMNS = ("moments", "interval", "interval of a comparison")


def told(first: KnownQueue, other: KnownQueue, count: int, pairs: int) -> list[str]:
    """Percent of pairs that each method tells apart."""
    found: Counter[str] = Counter()
    for number in range(pairs):
        one, two = [first.time_blocks(f"a{number}", count)], [other.time_blocks(f"b{number}", count)]
        moments = slow_moments("ttft", one, two)
        found["moments"] += moments is not None and moments.is_real
        (change,) = changes(one, two, (P99.of_distribution,), is_paired=False)
        if change is not None:
            for name, confidence in zip(_COLUMNS[1:], (CONFIDENCE, 1 - (1 - CONFIDENCE) / _NUMBERS), strict=True):
                interval = change.interval(confidence)
                found[name] += not interval.low <= 1 <= interval.high
    return [f"{100 * found[column] / pairs:.1f}%" for column in _COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=100)
    pairs = parser.parse_args().pairs
    head = f"| {' | '.join(_COLUMNS)} |"
    print(f"{pairs} pairs of equal servers: told apart\n| load | requests {head}\n{'|---' * 5}|")
    for load, count in _EQUAL:
        cells = told(queueing(load), queueing(load), count, pairs)
        print(f"| {load} | {count:,} | {' | '.join(cells)} |", flush=True)
    length_s = _STALLED_REQUESTS / RATE
    print(f"\n{pairs} pairs of which one stalls for 2 s so many times in {length_s:.0f} s: told")
    print(f"| server | stalls {head}\n{'|---' * 5}|")
    for queue in (independent(), *(queueing(load) for load in (0.3, 0.5, 0.8))):
        for num in _STALLS:
            other = stalled(queue, every_s=length_s / num, num=num)
            print(f"| {queue.name} | {num} | {' | '.join(told(queue, other, _STALLED_REQUESTS, pairs))} |", flush=True)


if __name__ == "__main__":
    main()
