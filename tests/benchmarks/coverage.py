"""How often a 95% interval of a single run holds the truth, on queues whose truth is known.

    python tests/benchmarks/coverage.py [--runs 100] [--requests 1000,3000,10000] [--false-flags]

For each queue and size: how often the intervals of p50, p99 and p99/p50 hold the truth; how often that of p99 has no
upper end; how often a gate on p99 passes although the truth is 10% above its bound, and fails although it is 10% below;
how often p99/p50, p95/p50 or p90/p50 is known to be above 3. The same of the block bootstrap that came first. With
`--false-flags`, how often that is said of queues whose p99 is at most three medians. No timings: it may run beside
other work.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from abatch.reports.statistics.exceedances import Exceedances
from abatch.reports.statistics.interval import Interval
from abatch.reports.statistics.percentile_estimate import percentile_estimate, ratio_interval
from abatch.reports.summary.state import FLAG_RATIO
from benchmarks.block_bootstrap import bootstrap_intervals
from support.known_queues import (
    KnownQueue,
    independent,
    of_ratio,
    queueing,
    remembering,
    slow_at_times,
    stalling,
    switching,
)

QUEUES = (
    independent(),
    *(queueing(load) for load in (0.3, 0.5, 0.8, 0.9, 0.95)),
    queueing(0.9, sigma=1.0),
    remembering(5.0),
    remembering(20.0),
    stalling(10.0, 0.2),
    stalling(60.0, 1.2),
    slow_at_times(40.0, 2.0),
)
FLAGLESS = (
    *(
        of_ratio(queue, ratio)
        for ratio in (3.0, 2.9, 2.7)
        for queue in (independent(), queueing(0.3), queueing(0.5), queueing(0.8), remembering(5.0))
    ),
    stalling(10.0, 0.196),
    switching(0.51, 2.0),
    switching(0.55, 2.0),
)
"""Those whose p99 is at most three medians."""
_COLUMNS = ("p50", "p99", "p99/p50", "no upper end", "false pass", "false fail", "FLAGGED")
_OFF = 1.1


def inverted(blocks: Sequence[Counter[int]]) -> dict[str, Interval]:
    """Test inversion: of each statistic that has an interval, in microseconds and as a ratio."""
    exceedances, found = Exceedances(blocks), {}
    p50 = percentile_estimate(exceedances, 0.5)
    if p50 is not None:
        found["p50"] = Interval(p50.low_us, p50.high_us)
    for name, share in (("p99", 0.99), ("p95", 0.95), ("p90", 0.9)):
        if (tail := percentile_estimate(exceedances, share)) is not None:
            found[name] = Interval(tail.low_us, tail.high_us)
            if p50 is not None:
                found[f"{name}/p50"] = ratio_interval(exceedances, tail, p50)
        if is_flagged(found):
            break
    return found


def is_flagged(found: dict[str, Interval]) -> bool:
    """Whether a percentile is more than three medians for certain."""
    return any(interval.low > FLAG_RATIO for name, interval in found.items() if name.endswith("/p50"))


def outcomes(found: dict[str, Interval], queue: KnownQueue) -> Counter[str]:
    """What the intervals of one run come to, by column. What has no interval holds nothing and decides nothing."""
    p50_us, p99_us = (queue.quantile_s(share) * 1e6 for share in (0.5, 0.99))
    truths = {"p50": p50_us, "p99": p99_us, "p99/p50": p99_us / p50_us}
    come = Counter({name: one.low <= truths[name] <= one.high for name, one in found.items() if name in truths})
    if (p99 := found.get("p99")) is not None:
        come["no upper end"] = p99.is_open
        come["false pass"] = p99.high <= p99_us / _OFF
        come["false fail"] = p99.low > p99_us * _OFF
    come["FLAGGED"] = is_flagged(found)
    return come


def print_false_flags(counts: Sequence[int], num_runs: int) -> None:
    """How often queues are FLAGGED whose true p99 is no more than three medians."""
    print(f"% of {num_runs} runs that are FLAGGED falsely\n| queue | {' | '.join(f'{count:,}' for count in counts)} |")
    print("|---" * (1 + len(counts)) + "|")
    for queue in FLAGLESS:
        found = [sum(is_flagged(inverted(one)) for one in queue.runs(count, num_runs)) for count in counts]
        print(f"| {queue.name} | {' | '.join(f'{100 * num / num_runs:.1f}' for num in found)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--requests", default="1000,3000,10000")
    parser.add_argument("--queue", help="only those whose name has this in it", default="")
    parser.add_argument("--no-bootstrap", action="store_true")
    parser.add_argument("--false-flags", action="store_true", help="only how often FLAGGED is said and not true")
    options = parser.parse_args()
    counts = [int(count) for count in options.requests.split(",")]
    if options.false_flags:
        print_false_flags(counts, options.runs)
        return
    print(f"% of {options.runs} runs{'' if options.no_bootstrap else '; in brackets: of the bootstrap'}")
    print("| queue | requests | " + " | ".join(_COLUMNS) + " |")
    print("|---" * (2 + len(_COLUMNS)) + "|")
    for queue in (one for one in QUEUES if options.queue in one.name):
        for count in counts:
            total: Counter[str] = Counter()
            of_bootstrap: Counter[str] = Counter()
            for blocks in queue.runs(count, options.runs):
                total.update(outcomes(inverted(blocks), queue))
                if not options.no_bootstrap:
                    of_bootstrap.update(outcomes(bootstrap_intervals(blocks), queue))
            cells = [f"{100 * total[column] / options.runs:.0f}" for column in _COLUMNS]
            if not options.no_bootstrap:
                before = [f" ({100 * of_bootstrap[column] / options.runs:.0f})" for column in _COLUMNS]
                cells = [now + then for now, then in zip(cells, before, strict=True)]
            print(f"| {queue.name} | {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
