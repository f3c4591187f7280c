"""What is found, and what is said, of tails whose cause is known.

    python tests/benchmarks/attribution.py [--seeds N]

In virtual time. First a confusion matrix of single events, where every run counts the same however many events it has:
the truth of gaps in the simulated engine is its step log, and of the null server what it was told to do. Then what a
report says of scenes that the rules were not made on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from abatch.reports.summary.causes import Cause

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.injections import injections
from support.last_site_scenes import THIRD_SIGHT
from support.more_site_scenes import SECOND_SIGHT
from support.site_scenes import FIRST_SIGHT
from support.tail_scenes import FURTHER, HELD_BACK, OPEN
from support.tails import Scene, play, report, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    print_confusion(seeds)
    sets = {
        "open": OPEN,
        "held back": HELD_BACK,
        "further": FURTHER,
        "first eighteen": FIRST_SIGHT,
        "next twelve": SECOND_SIGHT,
        "last eighteen": THIRD_SIGHT,
    }
    for title, scenes in sets.items():
        print(f"\n{title} scenes, seeds {seeds.start} to {seeds.stop - 1}")
        print_said(scenes, seeds)


def print_confusion(seeds: Sequence[int]) -> None:
    """Rows: true cause, columns: found, % of the row."""
    weights: Counter[tuple[Cause, Cause]] = Counter()
    events: Counter[Cause] = Counter()
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            for _, injection in injections(Path(folder), seed):
                judged = Counter(injection.judged())
                for (true, found), count in judged.items():
                    weights[true, found] += round(10_000 * count / judged.total())
                    events[true] += count
    causes = [cause for cause in Cause if events[cause]]
    print("| true | events | found | taken for another | unknown | precision |")
    print("|---" * 6 + "|")
    for true in causes:
        row = {found: weights[true, found] for found in Cause}
        total, column = sum(row.values()), sum(weights[other, true] for other in causes)
        others = {str(found): count / total for found, count in row.items() if found not in (true, Cause.UNKNOWN)}
        cells = [
            f"{row[true] / total:.1%}",
            ", ".join(f"{found} {share:.1%}" for found, share in others.items() if share),
            f"{row[Cause.UNKNOWN] / total:.1%}",
            f"{row[true] / column:.3f}" if column else "-",
        ]
        print("| " + " | ".join([true, str(events[true]), *cells]) + " |")


def print_said(scenes: Sequence[Scene], seeds: Sequence[int]) -> None:
    """By scene, the causes that were said, in how many of the seeds."""
    print("| scene | right | said | wrong |")
    print("|---" * 4 + "|")
    num_wrong = 0
    for scene in scenes:
        counts: Counter[Cause] = Counter()
        for seed in seeds:
            told = said(report(scene, play(scene, seed)))
            counts.update(told)
            num_wrong += bool(told - scene.right)
        cells = [
            ", ".join(sorted(scene.right)) or "nothing",
            ", ".join(f"{cause} {count}" for cause, count in counts.most_common() if cause in scene.right) or "nothing",
            ", ".join(f"{cause} {count}" for cause, count in counts.most_common() if cause not in scene.right),
        ]
        print("| " + " | ".join([scene.name, *cells]) + " |")
    print(f"a wrong cause was said in {num_wrong} of {len(scenes) * len(seeds)} runs")


if __name__ == "__main__":
    main()
