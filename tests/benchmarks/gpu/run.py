"""What this engine does on a GPU, measured in two calls that need nobody to watch them.

    python tests/benchmarks/gpu/run.py --output FOLDER --call 1|2 [--dry-run]
    python tests/benchmarks/gpu/run.py --output FOLDER --only JOB,... [--minutes 5] [--dry-run]

docs/benchmarks.md says what each job measures. A job is a process of its own with a share of the time; one that fails
or is too slow is reported as such and leaves the others alone. FOLDER gets three files, which are current whenever the
call is stopped: figures.json, table.txt and details.tar.gz (logs, runs). The table is printed last.

Neither this repository nor a network need be installed or reached: only its packages, torch, transformers and Triton.
`--dry-run`: tiny shapes on a CPU, to see that everything still runs; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[2]
if __name__ == "__main__":
    # Whatever else is called `benchmarks` on this machine, here it is the folder above this one.
    sys.modules["benchmarks"] = ModuleType("benchmarks")
    sys.modules["benchmarks"].__path__ = [str(_HERE.parent)]

from benchmarks.gpu.jobs import CALLS, Job, budget_s, jobs_named, jobs_of_call  # noqa: E402  # found by the lines above
from benchmarks.gpu.report import FIGURES, Report  # noqa: E402

_SKIPPED = 75
_LOOK_EVERY_S = 0.5
_GRACE_S = 3.0
"""A job that knows its time has this much longer before it is killed."""
_END_S = 4.0
"""Kept for the table."""
_DEFAULT_S = 300.0


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


def run_job(job: Job, seconds: float, work: Path, report: Report, options: Sequence[str], env: dict[str, str]) -> str:
    """Run one job in a process group of its own, for at most so long. Its status: ok, failed, timed out, skipped; or
    stopped, if something ends this process meanwhile.
    """
    name = job.key.replace("/", "-")
    figures, log = work / f"{name}.json", work / f"{name}.log"
    # -P: this folder's modules must not stand in for packages of the same name.
    command = [sys.executable, "-P", str(_HERE / "job.py"), job.key, "--work", str(work), "--report", str(report.path)]
    command += ["--figures", str(figures), "--budget", f"{seconds:.1f}", *options]
    began_s = time.monotonic()
    status = "stopped"
    report.update(job.key, {"status": "running"})
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=work,
        )
        try:
            until_s = began_s + seconds + _GRACE_S
            _watch(process, until_s, figures, lambda: report.update(job.key, {"status": "running"}, figures))
            statuses: dict[int | None, str] = {None: "timed out", 0: "ok", _SKIPPED: "skipped"}
            status = statuses.get(process.poll(), "failed")
        finally:
            # Whatever it started goes with it; servers of ours end by themselves when their parent is gone.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            outcome: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - began_s, 1)}
            if status != "ok":
                outcome["error"] = last_words(log)
            report.update(job.key, outcome, figures)
            report.pack()
    return status


def _watch(process: subprocess.Popen[bytes], until_s: float, figures: Path, changed: Callable[[], None]) -> None:
    """Wait for the job's end, or until that moment; call `changed` whenever it has new figures."""
    seen = 0.0
    while process.poll() is None and time.monotonic() < until_s:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_EVERY_S)
        if figures.is_file() and (written := figures.stat().st_mtime) != seen:
            seen = written
            changed()


def last_words(log: Path) -> str:
    """The last line that a job said, of a traceback the error."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception", "Interrupt"))]
    return (errors or lines or ["it said nothing"])[-1][:300]


def run_all(
    jobs: Sequence[Job], end_s: float, report: Report, run: Callable[[Job, float], str], *, is_dry: bool
) -> bool:
    """One job after the other. Whether any of them ended well."""
    statuses = []
    for number, job in enumerate(jobs):
        left_s = end_s - time.monotonic() - _GRACE_S
        seconds = budget_s(jobs[number:], left_s, is_dry=is_dry)
        if not seconds:
            why = f"{max(0.0, left_s):.0f} s were left, and it wants {job.least_s:.0f}"
            report.update(job.key, {"status": "skipped", "error": why})
            continue
        print(f"{job.key}: at most {seconds:.0f} s ...", flush=True)
        statuses.append(run(job, seconds))
        print(f"{job.key}: {report.tree['jobs'][job.key]}", flush=True)
    return "ok" in statuses


def main() -> None:
    """Run the jobs that were asked for, and show what came of them."""
    arguments, jobs, seconds = _asked_for()
    end_s = time.monotonic() + seconds - _END_S
    output: Path = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    options = ["--http-batched-tokens", str(arguments.http_batched_tokens)]
    options += ["--dry-run"] if arguments.dry_run else []
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="abatch-gpu-work-") as folder, environment(is_dry=arguments.dry_run) as env:
        work = Path(folder)
        asked = {name: value for name, value in vars(arguments).items() if name != "output"}
        report = Report(output, work, asked, [job.key for job in jobs])
        try:
            any_ok = run_all(
                jobs,
                end_s,
                report,
                lambda job, seconds: run_job(job, seconds, work, report, options, env),
                is_dry=arguments.dry_run,
            )
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("\n" + report.table(), flush=True)
    sys.exit(0 if any_ok else 1)


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Asked to end: what is running is stopped, and what there is, shown."""
    sys.exit(128 + number)


def _asked_for() -> tuple[argparse.Namespace, list[Job], float]:
    """The arguments, and which jobs they name, for how long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--call", type=int, choices=sorted(CALLS), help="the jobs of this call, in its time")
    what.add_argument("--only", metavar="JOB,...", help="these jobs, as steps or peers/C")
    parser.add_argument("--minutes", type=float, help="for everything; with --only, 5 by default")
    parser.add_argument("--http-batched-tokens", type=int, default=512, help="token budget of a step in the job http")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes on a CPU")
    arguments = parser.parse_args()
    if arguments.call is not None:
        jobs, seconds = jobs_of_call(arguments.call, is_dry=arguments.dry_run), CALLS[arguments.call].seconds
    else:
        try:
            jobs, seconds = jobs_named([key for key in arguments.only.split(",") if key]), _DEFAULT_S
        except ValueError as error:
            parser.error(str(error))
    if (arguments.output / FIGURES).exists():
        parser.error(f"there are figures in {arguments.output} already; name a new folder")
    if arguments.minutes is not None:
        seconds = 60 * arguments.minutes
    return arguments, jobs, seconds


if __name__ == "__main__":
    main()
