"""The benchmark for GPUs, as far as it runs without one: what it leaves behind, and that no part takes another down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from benchmarks.gpu import run as benchmark
from benchmarks.gpu.jobs import CALLS, JOBS, Job, budget_s, jobs_named, jobs_of_call
from benchmarks.gpu.report import Report
from benchmarks.gpu.tables import MOST_CHARACTERS, table
from support.run_profile import IS_NIGHTLY

SCRIPT = Path(benchmark.__file__)
FIRST_CONTACT = SCRIPT.parents[2] / "gpu/first_contact.py"
pytestmark = pytest.mark.xdist_group("gpu_benchmark")  # what is made once for them all is made in one worker

FILES = ["details.tar.gz", "figures.json", "table.txt"]


class Left(NamedTuple):
    """What a call left behind, and what it printed."""

    tree: dict[str, Any]
    folder: Path
    printed: str

    @property
    def statuses(self) -> dict[str, str]:
        return {key: outcome["status"] for key, outcome in self.tree["jobs"].items()}


def left_in(folder: Path, printed: str = "") -> Left:
    return Left(json.loads((folder / "figures.json").read_bytes()), folder, printed)


def left_by(folder: Path, *command: str | Path) -> Left:
    ended = subprocess.run(
        [sys.executable, *map(str, command), "--dry-run"],
        capture_output=True,
        text=True,
        timeout=170,
        check=True,
        cwd=folder.parent,
    )
    return left_in(folder, ended.stdout)


@pytest.fixture(scope="module")
def first_call(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """By day without the tests that need a GPU and would be skipped, in processes of their own."""
    folder = tmp_path_factory.mktemp("first") / "out"
    if IS_NIGHTLY:
        return left_by(folder, FIRST_CONTACT, folder)
    return left_by(folder, SCRIPT, "--output", folder, "--only", "smoke,steps,kernels")


@pytest.fixture(scope="module")
def second_call(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("second") / "out"
    return left_by(folder, SCRIPT, "--output", folder, "--call", "2")


@pytest.mark.slow
def test_the_first_call_runs_as_far_as_it_does_without_a_gpu(first_call: Left) -> None:
    """Each of its jobs is a process that imports torch and transformers."""
    ok = dict.fromkeys(["smoke", *["tests", "tests/memory"] * IS_NIGHTLY, "steps"], "ok")
    assert first_call.statuses == ok | {"kernels": "skipped"}
    assert first_call.printed.rstrip().endswith("kernels: skipped: needs CUDA, or Triton's interpreter")


@pytest.mark.nightly
def test_the_second_call_runs_without_a_gpu(second_call: Left) -> None:
    """Each of its jobs is a process that imports torch and transformers, and so is each server it starts."""
    assert second_call.statuses == dict.fromkeys(["ours", "peers/C", "http"], "ok")
    assert set(second_call.tree["parts"]) == {"machine", "peers", "idle", "http"}


@pytest.mark.slow
@pytest.mark.parametrize("call", ["first_call", pytest.param("second_call", marks=pytest.mark.nightly)])
def test_three_files_are_left_and_the_table_is_printed_last(call: str, request: pytest.FixtureRequest) -> None:
    left = request.getfixturevalue(call)
    assert sorted(path.name for path in left.folder.iterdir()) == FILES
    text = (left.folder / "table.txt").read_text()
    assert left.printed.endswith("\n\n" + text)
    assert len(text) < MOST_CHARACTERS


@pytest.mark.nightly
def test_the_details_have_what_each_job_left(second_call: Left) -> None:
    with tarfile.open(second_call.folder / "details.tar.gz") as archive:
        assert {"ours.log", "ours.json", "compare.log", "http/async/round-1/summary.json"} <= set(archive.getnames())


@pytest.mark.slow
def test_steps_compute_what_transformers_does(first_call: Left) -> None:
    steps = [found for found in first_call.tree["parts"]["smoke"].values() if isinstance(found, dict)]
    assert len(steps) == 2
    for found in steps:
        assert found["launched / eager"]["error"] < 1e-5
        assert found["launched / eager"]["same_argmax"] == 1.0
        assert found["recorded"] == {"skipped": "such a step is not recorded here"}


@pytest.mark.slow
def test_each_step_has_a_profile(first_call: Left) -> None:
    steps = first_call.tree["parts"]["profile"]
    assert len(steps) == 3
    for found in steps.values():
        assert found["step_ms"]["median"] > 0
        assert 0 < found["kernels_ms"] <= found["span_ms"]
        kernels = found["kernels"]
        assert len(kernels) == 15
        assert [kernel["us"] for kernel in kernels] == sorted((kernel["us"] for kernel in kernels), reverse=True)
        assert 0.5 < sum(kernel["share"] for kernel in kernels) <= 1.0
        assert found["num_kernels"] > sum(kernel["count"] for kernel in kernels)


@pytest.mark.nightly
def test_outcomes_of_tests_are_counted(first_call: Left) -> None:
    found = first_call.tree["parts"]["tests"]
    assert found["device"] == {"num_found": 1, "outcomes": {"passed": 1, "failed": 0, "skipped": 0}}
    assert found["memory"] == {"num_found": 3, "outcomes": {"passed": 0, "failed": 0, "skipped": 3}}


@pytest.mark.slow
def test_the_machine_s_figures(first_call: Left) -> None:
    figures = first_call.tree["parts"]["machine"]
    assert figures["versions"]["torch"]
    for name in ("copy_bytes_per_s", "read_bytes_per_s", "matmul_flops_per_s"):
        rate = figures[name]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert rate["n"] >= 20


@pytest.mark.nightly
def test_peers_compute_the_same_tokens_under_the_same_loads(second_call: Left) -> None:
    """Greedy, in float32: through transformers' pages with its attention exchanged, and through ours."""
    contenders = second_call.tree["parts"]["peers"]
    loads = [{load for load, found in contenders[name].items() if "tokens_per_s" in str(found)} for name in "CD"]
    assert loads[0] == loads[1]
    assert len(loads[0]) == 3
    for load in loads[0]:
        theirs, ours = (contenders[name][load] for name in "CD")
        assert theirs["first_tokens"] == ours["first_tokens"]
        assert ours["tokens_per_s"]["n"] >= 3
        assert 0 <= ours["idle"]["median"] < 1
        assert f"D / C, {load}: " in second_call.printed


@pytest.mark.nightly
def test_every_mode_is_idle_for_a_part_of_the_time(second_call: Left) -> None:
    modes = second_call.tree["parts"]["idle"]
    assert set(modes) == {"window", "continuous", "async"}
    assert all(0 < found["idle_by_gaps"] < 1 for loads in modes.values() for found in loads.values())


def test_a_job_that_fails_is_reported_and_leaves_the_others(tmp_path: Path) -> None:
    left = left_by(tmp_path / "out", SCRIPT, "--output", tmp_path / "out", "--only", "broken,machine")
    assert left.statuses == {"broken": "failed", "machine": "ok"}
    assert left.tree["jobs"]["broken"]["error"] == "RuntimeError: this job always fails"
    assert left.tree["parts"]["broken"] == {"before": 1}, "what it had before that is kept"
    assert left.printed.rstrip().endswith("broken: failed: RuntimeError: this job always fails")


def begin_and_wait_for_the_stuck_job(folder: Path) -> subprocess.Popen[str]:
    """A call of which the first job has ended, and the second, which has left a figure, never will."""
    command = [sys.executable, str(SCRIPT), "--output", str(folder), "--only", "broken,stuck,machine", "--dry-run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(300):
        time.sleep(0.1)
        if (folder / "figures.json").is_file() and left_in(folder).tree["parts"].get("stuck") == {"before": 1}:
            return process
    process.kill()
    raise AssertionError("the stuck job never got stuck")


def test_what_is_killed_leaves_what_it_had(tmp_path: Path) -> None:
    process = begin_and_wait_for_the_stuck_job(tmp_path)
    process.kill()
    process.communicate()
    left = left_in(tmp_path)
    assert left.statuses == {"broken": "failed", "stuck": "running", "machine": "not begun"}
    assert left.tree["parts"] == {"broken": {"before": 1}, "stuck": {"before": 1}}
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert (tmp_path / "table.txt").read_text() == "\n".join(table(left.tree)) + "\n"
    with tarfile.open(tmp_path / "details.tar.gz") as archive:
        assert "broken.log" in archive.getnames()


def test_what_is_asked_to_end_shows_what_it_had(tmp_path: Path) -> None:
    process = begin_and_wait_for_the_stuck_job(tmp_path)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    left = left_in(tmp_path)
    assert left.statuses == {"broken": "failed", "stuck": "stopped", "machine": "not begun"}
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert printed.endswith("\n\n" + (tmp_path / "table.txt").read_text())
    with tarfile.open(tmp_path / "details.tar.gz") as archive:
        assert {"broken.log", "stuck.json"} <= set(archive.getnames())


def test_a_job_that_does_not_end_is_killed(tmp_path: Path) -> None:
    report = Report(tmp_path, tmp_path, {"dry_run": True}, ["stuck"])
    options = ["--http-batched-tokens", "64", "--dry-run"]
    with benchmark.environment(is_dry=True) as environment:
        status = benchmark.run_job(JOBS["stuck"], 0.5, tmp_path, report, options, environment)
    assert status == "timed out"
    assert left_in(tmp_path).tree["jobs"]["stuck"]["seconds"] < 20
    assert list(table(report.tree))[-1].startswith("stuck: timed out")


def test_the_repository_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with benchmark.environment(is_dry=True) as environment:
        link = environment["PYTHONPATH"].split(os.pathsep)[0]
        assert Path(link, "abatch", "engine", "assembly", "build.py").is_file()
        assert environment["OMP_NUM_THREADS"] == "1"
    assert not Path(link).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([SCRIPT, "--output", "x", "--only", "step"], "there is no job 'step'; there are smoke, tests, tests/memory"),
        ([SCRIPT, "--output", "x"], "one of the arguments --call --only is required"),
        ([SCRIPT, "--output", "full", "--call", "1"], "there are figures in full already; name a new folder"),
        ([FIRST_CONTACT], "usage: first_contact.py FOLDER [--dry-run]"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str | Path], says: str, tmp_path: Path) -> None:
    """Without a single package: whoever starts the jobs needs none."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/figures.json").write_text("{}")
    command = [sys.executable, "-S", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode != 0
    assert says in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("number", CALLS)
def test_a_call_fits_into_its_time(number: int) -> None:
    """With every job taking all it is given, and being killed only then: each gets what it needs."""
    jobs, given = jobs_of_call(number, is_dry=False), {}
    seconds = CALLS[number].seconds
    left_s = seconds - benchmark._END_S
    for index, job in enumerate(jobs):
        given[job.key] = budget_s(jobs[index:], left_s - benchmark._GRACE_S, is_dry=False)
        left_s -= given[job.key] + benchmark._GRACE_S
    assert left_s >= 0
    assert all(given[job.key] >= job.least_s for job in jobs)
    assert sum(call.seconds for call in CALLS.values()) <= 15 * 60 - 2 * 90, "with a minute and a half to start each"


def test_time_that_a_job_does_not_take_is_for_those_behind_it() -> None:
    jobs = jobs_named(["machine", "steps", "http"])
    shares = [job.share for job in jobs]
    assert budget_s(jobs, 500, is_dry=False) == pytest.approx(500 * shares[0] / sum(shares))
    assert budget_s(jobs[2:], 460, is_dry=False) == 460
    assert budget_s(jobs, 20, is_dry=False) == JOBS["machine"].least_s, "a share too small to begin with is raised ..."
    assert budget_s(jobs[2:], JOBS["http"].least_s - 1, is_dry=False) == 0.0, "... if there is that much"


def test_every_job_has_something_to_run() -> None:
    source = (SCRIPT.parent / "job.py").read_text()
    assert all(f'case "{job.key.partition("/")[0]}"' in source for job in JOBS.values() if job.key != "broken")
    assert isinstance(JOBS["machine"], Job)
    assert not {job.key for job in JOBS.values() if job.is_hidden} & {
        key for call in CALLS.values() for key in call.keys
    }
