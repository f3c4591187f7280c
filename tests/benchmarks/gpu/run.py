"""What this engine does on a GPU, measured in one call that needs nobody to watch it.

    python tests/benchmarks/gpu/run.py --output FOLDER [--minutes 8.5] [--only PART,...] [--dry-run]

Parts: machine, steps, idle, peers, kernels, http; docs/benchmarks.md says what each measures. A part runs in processes
of its own, each with a share of the time; one that fails or is too slow is reported as such and leaves the others
alone. FOLDER/figures.json has all figures, and is written anew whenever there are more. The table comes last.

Neither this repository nor a network need be installed or reached: only its packages, torch, transformers and Triton.
`--dry-run`: tiny shapes on a CPU in a minute and a half, to see that everything still runs; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[2]
if __name__ == "__main__":
    # Whatever else is called `benchmarks` on this machine, here it is the folder above this one.
    sys.modules["benchmarks"] = ModuleType("benchmarks")
    sys.modules["benchmarks"].__path__ = [str(_HERE.parent)]

from benchmarks.gpu.jobs import Job, budget_s, chosen_jobs  # noqa: E402  # found by the lines above
from benchmarks.gpu.tables import table  # noqa: E402

_FIGURES = "figures.json"
_SKIPPED = 75
_LOOK_EVERY_S = 0.5
_GRACE_S = 3.0
"""A job that knows its time has this much longer before it is killed."""
_END_S = 4.0
"""Kept for the table."""


@contextlib.contextmanager
def environment(*, is_dry: bool) -> Iterator[dict[str, str]]:
    """That of the jobs: what this process has, and where `abatch` is found.

    The repository root is the package `abatch`; where it is not installed, a link of that name makes it one.
    """
    with tempfile.TemporaryDirectory(prefix="abatch-gpu-") as folder:
        paths = []
        found = importlib.util.find_spec("abatch")
        if found is None or found.origin is None or Path(found.origin).resolve().parent != _ROOT:
            (Path(folder) / "abatch").symlink_to(_ROOT, target_is_directory=True)
            paths.append(folder)
        if inherited := os.environ.get("PYTHONPATH"):
            paths.append(inherited)
        ours = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        ours |= {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}
        # Threads that wait for each other on a busy machine take a hundred times as long for work as small as this.
        ours |= {"OMP_NUM_THREADS": "1"} if is_dry else {}
        yield os.environ | ours


class Report:
    """Figures of all jobs, and what became of each; on disk whenever that changes."""

    def __init__(self, folder: Path, arguments: dict[str, Any]) -> None:
        self._path = folder / _FIGURES
        self.tree: dict[str, Any] = {
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "arguments": arguments,
            "jobs": {},
            "parts": {},
        }

    def update(self, job: Job, outcome: dict[str, Any], figures: Path) -> None:
        """Take in what a job has so far. One that left nothing is only said to have been there."""
        self.tree["jobs"][job.key] = outcome
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(figures.read_bytes())
            part = self.tree["parts"].setdefault(job.part, {"figures": {}})
            if job.name:
                part["figures"][job.name] = found
            else:
                part["figures"] = found
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self.tree, indent=1))
        os.replace(new, self._path)


def run_job(job: Job, seconds: float, folder: Path, report: Report, options: Sequence[str], env: dict[str, str]) -> str:
    """Run one job in a process group of its own, for at most so long. Its status: ok, failed, timed out or skipped."""
    name = job.key.replace("/", "-")
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    figures, log = work / f"{name}.json", work / f"{name}.log"
    figures.unlink(missing_ok=True)
    # -P: this folder's modules must not stand in for packages of the same name.
    command = [sys.executable, "-P", str(_HERE / "job.py"), job.key, "--folder", str(folder)]
    command += ["--figures", str(figures), "--budget", f"{seconds:.1f}", *options]
    began_s = time.monotonic()
    seen = 0.0
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
        )
        try:
            while process.poll() is None and time.monotonic() - began_s < seconds + _GRACE_S:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_EVERY_S)
                if figures.is_file() and (changed := figures.stat().st_mtime) != seen:
                    seen = changed
                    report.update(job, {"status": "running"}, figures)
        finally:
            is_killed = process.poll() is None
            # Whatever it started goes with it; servers of ours end by themselves when their parent is gone.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    statuses = {0: "ok", _SKIPPED: "skipped"}
    status = "timed out" if is_killed else statuses.get(process.returncode, "failed")
    outcome: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - began_s, 1)}
    if status != "ok":
        outcome["error"] = last_words(log)
    report.update(job, outcome, figures)
    return status


def last_words(log: Path) -> str:
    """The last line that a job said, of a traceback the error."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception", "Interrupt"))]
    return (errors or lines or ["it said nothing"])[-1][:300]


def main() -> None:
    """Run the jobs one after the other, and show what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, help="for everything; by default 8.5, for a dry run 2")
    parser.add_argument("--only", default="", metavar="PART,...", help="these parts, or single jobs as peers/C")
    parser.add_argument("--http-batched-tokens", type=int, default=512, help="token budget of a step in the part http")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes on a CPU")
    arguments = parser.parse_args()
    try:
        jobs = chosen_jobs([name for name in arguments.only.split(",") if name], is_dry=arguments.dry_run)
    except ValueError as error:
        parser.error(str(error))
    minutes = arguments.minutes or (2.0 if arguments.dry_run else 8.5)
    end_s = time.monotonic() + minutes * 60 - _END_S
    folder = arguments.output.resolve()
    if (folder / _FIGURES).exists():
        parser.error(f"there are figures in {folder} already; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(folder, {name: value for name, value in vars(arguments).items() if name != "output"})
    options = ["--http-batched-tokens", str(arguments.http_batched_tokens)]
    options += ["--dry-run"] if arguments.dry_run else []
    statuses = []
    with environment(is_dry=arguments.dry_run) as env:
        for number, job in enumerate(jobs):
            left_s = end_s - time.monotonic() - _GRACE_S
            seconds = budget_s(jobs[number:], left_s, is_dry=arguments.dry_run)
            if not seconds:
                why = f"{max(0.0, left_s):.0f} s were left, and it wants {job.least_s:.0f}"
                report.update(job, {"status": "skipped", "error": why}, folder / "nothing")
                continue
            print(f"{job.key}: at most {seconds:.0f} s ...", flush=True)
            statuses.append(run_job(job, seconds, folder, report, options, env))
            print(f"{job.key}: {report.tree['jobs'][job.key]}", flush=True)
    lines = list(table(report.tree))
    (folder / "table.txt").write_text("\n".join(lines) + "\n")
    print("\n" + "\n".join(lines), flush=True)
    sys.exit(0 if "ok" in statuses else 1)


if __name__ == "__main__":
    main()
