"""Traces and run folders with a thousand traffic classes, and names that try to be something else.

    python tests/benchmarks/attack/many_classes.py [--classes 1,64,1000]

For each number of classes a trace of abatch's own format is replayed on a simulated device in virtual time, in a
process of its own; then the run is reported in every format from a folder whose results have as many classes. Names of
classes, tools and sessions carry escape sequences, markup, workflow commands and bidirectional overrides. Prints the
peak memory of each process. Exits with 1 if memory grows with the number of classes beyond 64, if a command fails, or
if an escape sequence or a workflow command reaches the output.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_NASTY = ("\x1b[31m", "\u202e", "<img/src=x>", "::error::x", "##[error]x", "|`@team", "[red]", "\u2066")
_RULE = "other-classes.ttft.p99 < 1000s"
_MOST_MB_A_CLASS = 5.0
_COMMAND = re.compile(r"^\s*::(?!error title=|warning title=|notice title=)|##\w*\[", re.MULTILINE)
_MEASURED = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:])\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
    "sys.exit(done.returncode)\n"
)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    stdout: str
    peak_mb: float


def abatch(*arguments: str | Path) -> Done:
    """Run a command as if in a job of GitHub's."""
    command = [sys.executable, "-c", _MEASURED, sys.executable, "-m", "abatch.cli", *map(str, arguments)]
    environment = {**os.environ, "GITHUB_ACTIONS": "true"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=600, check=False)
    *said, peak = done.stderr.decode(errors="replace").strip().rsplit("\n", 1)
    if done.returncode not in (0, 4):
        print("\n".join(said)[-2000:])
    return Done(done.returncode, done.stdout.decode(), int(peak) / 1024)


def class_name(number: int) -> str:
    """Without white space and commas, which a trace's classes may not have."""
    return f"{_NASTY[number % len(_NASTY)]}{number}"


def write_trace(path: Path, num_classes: int) -> None:
    """6,000 sessions of one turn, of the classes in turn."""
    with path.open("w") as file:
        for number in range(6000):
            first = {"new_tokens": 50, "output_tokens": 8}
            tool = {"pause": "tool", "pause_s": 0.5, "tool": f"tool\n{class_name(number)}"}
            turns = [first, {"new_tokens": 20, "output_tokens": 8, **tool}]
            session = {
                "session_id": f"{class_name(number)}-{number}",
                "traffic_class": class_name(number % num_classes),
            }
            file.write(json.dumps({**session, "turns": turns, "start_s": number / 100}) + "\n")


def relabel(folder: Path, num_classes: int) -> None:
    """Give the results of a saved run as many classes, as only somebody else would, and take its summary away."""
    lines = (folder / "results.jsonl").read_text().strip().split("\n")
    with (folder / "results.jsonl").open("w") as file:
        for number, line in enumerate(lines):
            file.write(json.dumps(json.loads(line) | {"traffic_class": class_name(number % num_classes)}) + "\n")
    for name in ("summary.json", "histograms.hlog"):
        (folder / name).unlink()


def attack(num_classes: int, folder: Path) -> tuple[float, list[str]]:
    """A run and its report. The larger peak of the two in MB, and what did not hold."""
    trace, run = folder / "trace.jsonl", folder / "run"
    write_trace(trace, num_classes)
    options: list[str | Path] = [
        "--device",
        "simulated:h100",
        "--trace",
        trace,
        "--trace-format",
        "native",
        "--duration",
        "60",
    ]
    bench = abatch("bench", *options, "--require", _RULE, "-o", run)
    relabel(run, num_classes)
    formats: list[str | Path] = [
        "--html",
        folder / "report.html",
        "--junit",
        folder / "junit.xml",
        "--csv",
        folder / "table.csv",
    ]
    report = abatch("report", run, *formats, "--markdown", folder / "report.md")
    print(f"{num_classes:>5} classes: bench {bench.peak_mb:.0f} MB, report {report.peak_mb:.0f} MB", flush=True)
    failed = [f"{what} exits with {done.code}" for what, done in (("bench", bench), ("report", report)) if done.code]
    for what, done in (("bench", bench), ("report", report)):
        if not all(char.isprintable() or char == "\n" for char in done.stdout):
            failed.append(f"{what} prints what is not seen")
        if found := _COMMAND.search(done.stdout):
            failed.append(f"{what} prints a workflow command: {found[0]!r}")
    if num_classes <= 64:
        failed = [line for line in failed if line != "bench exits with 4"]  # there are no others then
    return max(bench.peak_mb, report.peak_mb), [f"{num_classes} classes: {line}" for line in failed]


def main() -> int:
    """Run all of it; the exit code."""
    parser = argparse.ArgumentParser(description="A thousand traffic classes.")
    parser.add_argument("--classes", default="1,64,1000")
    counts = [int(count) for count in parser.parse_args().classes.split(",")]
    peaks, failed = {}, []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            peaks[count], problems = attack(count, Path(folder))
        failed += problems
    least = min(peaks.values())
    failed += [
        f"{count} classes: {peak - least:.0f} MB more than the fewest"
        for count, peak in peaks.items()
        if peak - least > _MOST_MB_A_CLASS * min(count, 65)
    ]
    for line in failed:
        print(f"FAILED: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
