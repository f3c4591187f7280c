"""Thousands of damaged and forged run folders, traces and rule files: each is shown, or refused in one line.

    python tests/benchmarks/attack/mutated_folders.py [--mutants 5000] [--seed 0]

One small run is made and its files are mutated: bytes flipped, cut, replaced by zeros; lines doubled, lost, glued;
values replaced by extremes and other types; fields removed; histograms that inflate without end. Each mutant is
reported, judged, compared, or rendered. Then come files that were made to cost time or memory: holes of gigabytes,
devices, pipes and links in place of each file, traces and rules that took the square of their size. The process may use
2 GiB of memory. Exits with 1 if something does not hold.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates.file import read_gate_file
from abatch.workloads.traces.trace import FORMATS, open_trace
from support.fixed_run import write_fixed_run  # found by the line above
from support.folder_use import USES, outcome_of
from support.mutants import mutate
from support.special_files import SPECIAL, make_special

_MEMORY_BYTES = 2 * 2**30
_LONGEST_S = 10.0
"""Of one mutant; they take 0.1 s."""


class Tally:
    """What came of all of it."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failed: list[str] = []
        self.longest_s = 0.0

    def try_out(self, name: str, use: Callable[[], str]) -> None:
        """Do one thing; anything but an outcome in time is a failure."""
        began_s = time.monotonic()
        try:
            self.outcomes[use()] += 1
        except ConfigurationError as error:
            self.outcomes["refused"] += 1
            if "\n" in str(error) or len(str(error)) > 2500:
                self.failed.append(f"{name}: {len(str(error))} characters")
        except Exception as error:
            self.failed.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        took_s = time.monotonic() - began_s
        self.longest_s = max(self.longest_s, took_s)
        if took_s > _LONGEST_S:
            self.failed.append(f"{name}: {took_s:.1f} s")

    def show(self, what: str, began_s: float) -> None:
        """A line of figures."""
        found = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took_s = time.monotonic() - began_s
        print(
            f"{what}: {found}; {took_s:.0f} s, longest {self.longest_s:.2f} s, memory up to {peak:.0f} MiB", flush=True
        )
        self.outcomes.clear()
        self.longest_s = 0.0


def mutants(tally: Tally, whole: Path, seeds: range) -> None:
    """Mutated folders, each used in one way."""
    began_s = time.monotonic()
    folder = whole.parent / "run"
    for seed in seeds:
        shutil.copytree(whole, folder)
        what, use = mutate(folder, seed), USES[seed % len(USES)]
        tally.try_out(f"mutant {seed}, {what}, {use}", partial(outcome_of, folder, whole, use))
        shutil.rmtree(folder)
    tally.show(f"{len(seeds):,} mutants", began_s)


def special_files(tally: Tally, whole: Path) -> None:
    """Pipes, sockets, devices, folders, links and holes of a terabyte in place of each file."""
    began_s = time.monotonic()
    folder = whole.parent / "run"
    for name in sorted(path.name for path in whole.iterdir()):
        for kind in (*SPECIAL, "link", "hole", "zeros at the end"):
            shutil.copytree(whole, folder)
            path = folder / name
            if kind != "zeros at the end":
                path.unlink()
            if kind == "link":
                path.symlink_to("/etc/passwd")
            elif kind in ("hole", "zeros at the end"):
                size = 2**40 if kind == "hole" and not name.endswith(".jsonl") else 2**28
                with path.open("ab") as file:
                    file.truncate(size)
            else:
                make_special(kind, path)
            for use in ("report", "baseline", "class"):
                tally.try_out(f"{name} a {kind}, {use}", partial(outcome_of, folder, whole, use))
            shutil.rmtree(folder)
    tally.show("files that are none", began_s)


def texts_that_cost_time(tally: Tally, folder: Path, size: int) -> None:
    """Traces and rules whose reading took more than their size."""
    began_s = time.monotonic()
    texts = {
        "quotes": '[{"a": "' + '\\"' * (size // 2),
        "backslashes": '{"a": "' + "\\" * size,
        "brackets": "[" * size,
        "braces": '{"a":' * (size // 5),
        "blanks": " " * (size - 1) + "x",
        "columns": "a," * (size // 2) + "\n1",
        "quoted columns": '"a""' * (size // 4),
        "digits": "1" * size,
        "parts": ".".join(["a"] * (size // 2)) + "=1",
        "lines": "\n" * (size - 1) + "{}",
        "keys": "{" + ",".join(f'"k{number}":1' for number in range(size // 12)) + "}",
    }
    trace = folder / "text"
    for name, text in texts.items():
        trace.write_text(text)
        tally.try_out(f"rules of {name}", lambda: str(read_gate_file(trace) and "shown"))
        for trace_format in (None, *FORMATS):

            def read(trace_format: str | None = trace_format) -> str:
                for _ in open_trace(trace, trace_format=trace_format, skip_bad_rows=True).sessions():
                    pass
                return "shown"

            tally.try_out(f"trace of {name} as {trace_format}", read)
    tally.show(f"traces and rules of {size / 2**20:g} MiB", began_s)


def main() -> int:
    """Attack; 1 if something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0, help="of the first mutant")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="abatch-mutants-") as name:
        whole = write_fixed_run(Path(name) / "whole", num_sessions=40).folder
        mutants(tally, whole, range(asked.seed, asked.seed + asked.mutants))
        special_files(tally, whole)
        texts_that_cost_time(tally, Path(name), 2**20)
    for line in tally.failed[:50]:
        print(f"DOES NOT HOLD: {line}")
    print("all held" if not tally.failed else f"{len(tally.failed)} did not hold")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
