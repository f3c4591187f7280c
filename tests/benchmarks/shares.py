"""How often a 95% interval of a share of failures holds the truth, where failures come in clusters.

    python tests/benchmarks/shares.py [--runs 200] [--requests 1000,3000,12000]

Wilson's interval of all requests, and of as many independent ones as they are worth (`ShareBlocks`). A false pass: the
interval lies below two thirds of the true share, so a rule passes that the server does not meet. Runs without a failure
know nothing of outages: the last column is of those that had one. No timings: it may run beside other work.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from abatch.reports.statistics.proportion import share_interval
from abatch.reports.statistics.share_blocks import ShareBlocks
from support.failures import FailingServer

_SERVERS = (
    *(FailingServer(scattered=share) for share in (0.001, 0.01, 0.05)),
    FailingServer(every_s=20.0, length_s=0.5),
    FailingServer(every_s=60.0, length_s=2.0),
    FailingServer(every_s=60.0, length_s=2.0, scattered=0.001),
    FailingServer(every_s=300.0, length_s=5.0, scattered=0.001),
)
_MISSED_BY = 1.5


def row(server: FailingServer, count: int, runs: int) -> list[str]:
    """Percent of runs: coverage and false passes, before and after, and coverage of runs that saw a failure."""
    found: Counter[str] = Counter()
    for seed in range(runs):
        blocks, failed = ShareBlocks(), 0
        for at_s, fails in server.draw(seed, count):
            blocks.add(at_s, is_of_kind=fails)
            failed += fails
        for name, independent in (("all", float(count)), ("clusters", blocks.independent())):
            interval = share_interval(failed / count, independent)
            holds = interval.low <= server.share <= interval.high
            found[name] += holds
            found[f"{name}, false pass"] += interval.high <= server.share / _MISSED_BY
            found[f"{name}, seen"] += holds and failed > 0
        found["seen"] += failed > 0
    cells = [f"{100 * found[key] / runs:.0f}%" for name in ("all", "clusters") for key in (name, f"{name}, false pass")]
    return [*cells, f"{100 * found['clusters, seen'] / max(found['seen'], 1):.0f}%"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--requests", default="1000,3000,12000")
    options = parser.parse_args()
    print(f"% of {options.runs} runs")
    print("| failures | share | requests | each counts: covers | false pass | clusters: covers | false pass | if any |")
    print("|---" * 8 + "|")
    for server in _SERVERS:
        for count in map(int, options.requests.split(",")):
            cells = " | ".join(row(server, count, options.runs))
            print(f"| {server.name} | {server.share:.2%} | {count:,} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
