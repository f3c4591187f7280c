"""How long a command takes before it has done anything: processor time of the whole process, median of several.

Run it with the interpreter that has abatch; for another version, put that on PYTHONPATH and compare.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_BENCH = ("bench", "--device", "simulated:h100", "--duration", "20", "--output", "run")
_COMPLETION = {"_ABATCH_COMPLETE": "complete_bash", "COMP_WORDS": "abatch bench --wo", "COMP_CWORD": "2"}
_COMMANDS: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    ("python -c pass", ("-c", "pass"), {}),
    ("import typer", ("-c", "import typer"), {}),
    ("abatch --help", ("-m", "abatch.cli", "--help"), {}),
    ("abatch bench --help", ("-m", "abatch.cli", "bench", "--help"), {}),
    ("abatch bench --wo<TAB>", ("-c", "import abatch.cli.main as m; m.main()"), _COMPLETION),
    ("abatch report RUN", ("-m", "abatch.cli", "report", "run"), {}),
    ("abatch gate RUN", ("-m", "abatch.cli", "gate", "run", "--require", "errors < 99%"), {}),
)


def _processor_s(words: tuple[str, ...], variables: dict[str, str], folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, **variables}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a row for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "abatch.cli", *_BENCH], cwd=folder, capture_output=True, check=True)
        print("| command | s | min-max |\n|---|---|---|")
        for shown, words, variables in _COMMANDS:
            found = [_processor_s(words, variables, folder) for _ in range(times + 1)][1:]  # the first one compiles
            print(f"| {shown} | {statistics.median(found):.2f} | {min(found):.2f}-{max(found):.2f} |", flush=True)


if __name__ == "__main__":
    main()
