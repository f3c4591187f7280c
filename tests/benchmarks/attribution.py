"""How often a cause is found by what a client can see: a confusion matrix over runs whose tail has a known cause.

    python tests/benchmarks/attribution.py [--seeds N]

In virtual time. The truth of gaps in the simulated engine is its step log; of the null server, what it was told to do.
Every run counts the same, however many events it has.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from abatch.reports.summary.causes import Cause

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.injections import injections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    weights: Counter[tuple[Cause, Cause]] = Counter()
    events: Counter[Cause] = Counter()
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            for _, injection in injections(Path(folder), seed):
                judged = Counter(injection.judged())
                for (true, found), count in judged.items():
                    weights[true, found] += round(10_000 * count / judged.total())
                    events[true] += count
    print(f"seeds {seeds.start} to {seeds.stop - 1}; rows: true cause, columns: found, % of the row")
    causes = [cause for cause in Cause if events[cause]]
    print("| true | events | " + " | ".join([*causes, Cause.UNKNOWN, "recall", "precision"]) + " |")
    print("|---" * (len(causes) + 5) + "|")
    for true in causes:
        row = {found: weights[true, found] for found in [*causes, Cause.UNKNOWN]}
        total, column = sum(row.values()), sum(weights[other, true] for other in causes)
        cells = [f"{count / total:.1%}" if count else "" for count in row.values()]
        scores = [f"{row[true] / total:.3f}", f"{row[true] / column:.3f}" if column else "-"]
        print("| " + " | ".join([true, str(events[true]), *cells, *scores]) + " |")


if __name__ == "__main__":
    main()
