"""Disks that fill up at every byte of what a command writes: nothing is lost that was saved, and each ends in one line.

    python tests/benchmarks/attack/full_disk.py [--sizes 30]

A bench, a comparison and a sweep on a simulated device, and reports of a saved run, with files that may grow to a size
and no further: sizes from nothing to more than all of them need. Whatever the size, there must be no traceback, no
unfinished file, one line on stderr if something is missing, exit code 1 or 2 then; the figures on the screen if
anything was measured; and a folder that can be reported, interrupted but without a torn line. As root the same on a
file system of a few kilobytes, where writes are cut short (ENOSPC). Exits with 1 if something does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.cli import abatch  # found by the line above
from support.disks import largest_file
from support.fixed_run import write_fixed_run

_SIMULATED = ("--device", "simulated:h100", "--workload", "chat-short", "--turns", "1", "--idle-probe", "0")
_SHORT = (*_SIMULATED, "--duration", "10", "-r", "4")
_COMMANDS: dict[str, tuple[str, ...]] = {
    "bench": ("bench", *_SHORT, "--step-log"),
    "compare": ("compare", *_SHORT, "--batching", "window,async", "--rounds", "2"),
    "sweep": ("bench", *_SHORT, "--sweep", "--goodput", "ttft:300", "--max-rate", "8"),
}
_UNFINISHED = ("INTERRUPTED", "NO VERDICT")
"""What is said of a run without a summary; NO VERDICT where not even the first result found room."""
_USUAL_SCREEN = 12_000
"""Bytes: the harness's own output is a file too. Below this size the screen itself is full, as with `> /dev/full`."""


class Tally:
    """What came of all of it."""

    def __init__(self) -> None:
        self.exits: Counter[int] = Counter()
        self.failed: list[str] = []

    def check(self, name: str, done: subprocess.CompletedProcess[str], folder: Path, *, has_screen: bool) -> None:
        """What must hold of a command, and of what it left."""
        self.exits[done.returncode] += 1
        if "Traceback" in done.stderr or done.returncode not in (0, 1, 2):
            self.failed.append(f"{name}: exit {done.returncode}: {done.stderr[-300:]}")
        if done.returncode and has_screen and "abatch: " not in done.stderr:
            self.failed.append(f"{name}: exit {done.returncode} without a word")
        if unfinished := [path.name for path in folder.rglob("*.part")]:
            self.failed.append(f"{name}: {unfinished} left")
        for config in sorted(folder.rglob("config.json")):
            self._check_folder(name, config.parent, done)

    def _check_folder(self, name: str, run: Path, done: subprocess.CompletedProcess[str]) -> None:
        results = run / "results.jsonl"
        if results.exists() and not results.read_bytes().endswith((b"}\n", b"")):
            self.failed.append(f"{name}: {results} ends in the middle of a line")
        again = abatch("report", run)
        if again.returncode != 0 or "torn" in again.stdout:
            self.failed.append(f"{name}: {run.name} is not reported: {again.stderr[-300:]}")
        elif not (run / "summary.json").exists() and not any(word in again.stdout for word in _UNFINISHED):
            self.failed.append(f"{name}: {run.name} has no summary and is not said to be interrupted")
        elif not (run / "summary.json").exists() and done.returncode == 0:
            self.failed.append(f"{name}: exit 0, and {run.name} has no summary")


def small_files(tally: Tally, sizes: list[int]) -> None:
    """Files that grow to a size and no further: a write that reaches it is cut short, the next is EFBIG."""
    for command, words in _COMMANDS.items():
        began_s = time.monotonic()
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="abatch-full-") as name:
                out = Path(name) / "out"
                with largest_file(size):
                    done = abatch(*words, "-o", out, XDG_CACHE_HOME=name)
                has_screen = size > _USUAL_SCREEN
                tally.check(f"{command}, {size} bytes", done, Path(name), has_screen=has_screen)
                has_measured = (
                    any(path.stat().st_size for path in out.rglob("results.jsonl")) if out.exists() else False
                )
                if has_screen and has_measured and "ttft" not in done.stdout:
                    tally.failed.append(f"{command}, {size} bytes: what was measured is not shown")
        _show(tally, f"{command}, files of {len(sizes)} sizes", began_s)


def reports(tally: Tally, sizes: list[int]) -> None:
    """Reports of a saved run: each is there whole, or not at all."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="abatch-full-") as name:
        saved = write_fixed_run(Path(name) / "run", num_sessions=60).folder
        for number, size in enumerate(sizes):
            into = Path(name) / f"reports-{number}"
            into.mkdir()
            places = [
                (f"--{kind}", into / kind) for kind in ("html", "markdown", "junit", "csv", "json", "timeline", "hgrm")
            ]
            with largest_file(size):
                done = abatch("report", saved, *(word for pair in places for word in pair))
            tally.check(f"report, {size} bytes", done, into, has_screen=size > _USUAL_SCREEN)
            too_large = [path for path in into.rglob("*") if path.is_file() and path.stat().st_size > size]
            if too_large or (done.returncode == 0) is not all(path.exists() for _, path in places):
                tally.failed.append(f"report, {size} bytes: exit {done.returncode} with {sorted(into.iterdir())}")
    _show(tally, f"reports, {len(sizes)} sizes", began_s)


def small_disks(tally: Tally, sizes: list[int]) -> None:
    """A whole file system of a few kilobytes."""
    if os.geteuid() != 0:
        print("small disks: left out, as only root can mount one")
        return
    for command, words in _COMMANDS.items():
        began_s = time.monotonic()
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="abatch-full-") as name, _mounted(Path(name), size) as has_disk:
                if not has_disk:
                    print("small disks: left out, as none can be mounted here")
                    return
                done = abatch(*words, "-o", Path(name) / "out", XDG_CACHE_HOME="/nonexistent")
                tally.check(f"{command}, disk of {size} bytes", done, Path(name), has_screen=True)
        _show(tally, f"{command}, disks of {len(sizes)} sizes", began_s)


@contextlib.contextmanager
def _mounted(folder: Path, size: int) -> Iterator[bool]:
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _show(tally: Tally, what: str, began_s: float) -> None:
    exits = ", ".join(f"exit {code}: {count}" for code, count in sorted(tally.exits.items()))
    print(f"{what}: {exits}; {time.monotonic() - began_s:.0f} s", flush=True)
    tally.exits.clear()


def main() -> int:
    """Attack; 1 if something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=int, default=30, help="sizes to try, of each command")
    count = parser.parse_args().sizes
    sizes = [round(300 * (400_000 / 300) ** (number / max(count - 1, 1))) for number in range(count)]
    tally = Tally()
    small_files(tally, sizes)
    reports(tally, sizes)
    small_disks(tally, [4096 * (1 + 2 * number) for number in range(count)])
    for line in tally.failed[:50]:
        print(f"DOES NOT HOLD: {line}")
    print("all held" if not tally.failed else f"{len(tally.failed)} did not hold")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
