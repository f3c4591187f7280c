"""The benchmark for GPUs, as far as it runs without one: what it counts, and that no part takes another down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from abatch.engine.model_shape import SHAPES
from abatch.engine.step_log import StepRecord
from benchmarks.gpu import run as benchmark
from benchmarks.gpu.driving import Served, decode_steps, idle_of, random_prompts
from benchmarks.gpu.floor import step_floor_s
from benchmarks.gpu.jobs import JOBS, Job, budget_s, chosen_jobs
from benchmarks.gpu.peers import decode_period_s
from benchmarks.gpu.setting import spread
from benchmarks.gpu.tables import table

SCRIPT = Path(benchmark.__file__)
JOB = {job.key: job for job in JOBS}


@pytest.mark.parametrize(
    ("num_seqs", "context", "tokens_per_s"),
    [(32, 512, 8_953), (32, 1024, 7_957), (32, 4096, 4_772), (128, 1024, 19_087), (256, 2048, 14_676)],
)
def test_the_floor_of_a_decode_step(num_seqs: int, context: int, tokens_per_s: int) -> None:
    """Llama-3.1-8B in bfloat16 at 4.8 TB/s: 15.0 GB of weights, 131,072 bytes of KV a token."""
    floor_s = step_floor_s(SHAPES["llama-3.1-8b"], num_seqs, context, 4.8e12)
    assert num_seqs / floor_s == pytest.approx(tokens_per_s, abs=0.6)


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """All figures, and what was printed, of a run whose first part fails."""
    folder = tmp_path_factory.mktemp("gpu")
    only = "broken,machine,peers/C,peers/D,kernels"
    command = [sys.executable, str(SCRIPT), "--output", str(folder), "--dry-run", "--only", only]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True)
    tree: dict[str, Any] = json.loads((folder / "figures.json").read_bytes())
    assert (folder / "table.txt").read_text().strip() in ended.stdout
    return tree, ended.stdout


def test_a_part_that_fails_is_reported_and_leaves_the_others(dry_run: tuple[dict[str, Any], str]) -> None:
    tree, printed = dry_run
    statuses = {key: outcome["status"] for key, outcome in tree["jobs"].items()}
    expected = {"broken": "failed", "machine": "ok", "peers/C": "ok", "peers/D": "ok", "kernels": "skipped"}
    assert statuses == expected
    assert tree["jobs"]["broken"]["error"] == "RuntimeError: this job always fails"
    assert tree["parts"]["broken"]["figures"] == {"before": 1}, "what it had before that is kept"
    assert printed.rstrip().endswith(
        "broken: failed: RuntimeError: this job always fails\nkernels: skipped: needs CUDA"
    )


def test_the_machine_s_figures(dry_run: tuple[dict[str, Any], str]) -> None:
    figures = dry_run[0]["parts"]["machine"]["figures"]
    assert figures["versions"]["torch"]
    for name in ("copy_bytes_per_s", "read_bytes_per_s", "matmul_flops_per_s"):
        rate = figures[name]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert rate["n"] >= 20


def test_peers_compute_the_same_tokens_under_the_same_loads(dry_run: tuple[dict[str, Any], str]) -> None:
    """Greedy, in float32: through transformers' pages with its attention exchanged, and through ours."""
    tree, printed = dry_run
    contenders = tree["parts"]["peers"]["figures"]
    loads = [{load for load, found in contenders[name].items() if "tokens_per_s" in str(found)} for name in "CD"]
    assert loads[0] == loads[1]
    assert len(loads[0]) == 3
    for load in loads[0]:
        theirs, ours = (contenders[name][load] for name in "CD")
        assert theirs["first_tokens"] == ours["first_tokens"]
        assert ours["tokens_per_s"]["n"] >= 3
        assert 0 <= ours["idle"]["median"] < 1
        assert f"D / C, {load}: " in printed


def test_a_job_that_does_not_end_is_killed(tmp_path: Path) -> None:
    report = benchmark.Report(tmp_path, {"dry_run": True})
    options = ["--http-batched-tokens", "64", "--dry-run"]
    with benchmark.environment(is_dry=True) as environment:
        status = benchmark.run_job(JOB["stuck"], 0.5, tmp_path, report, options, environment)
    assert status == "timed out"
    assert json.loads((tmp_path / "figures.json").read_bytes())["jobs"]["stuck"]["seconds"] < 20
    assert list(table(report.tree))[-1].startswith("stuck: timed out")


def test_the_repository_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with benchmark.environment(is_dry=True) as environment:
        link = environment["PYTHONPATH"].split(os.pathsep)[0]
        assert Path(link, "abatch", "engine", "build.py").is_file()
        assert environment["OMP_NUM_THREADS"] == "1"
    assert not Path(link).exists()


def test_time_that_a_job_does_not_take_is_for_those_behind_it() -> None:
    jobs = chosen_jobs(["machine", "steps", "http"], is_dry=False)
    assert [job.key for job in jobs] == ["machine", "steps", "http"]
    shares = [job.share for job in jobs]
    assert budget_s(jobs, 500, is_dry=False) == pytest.approx(500 * shares[0] / sum(shares))
    assert budget_s(jobs[2:], 460, is_dry=False) == 460
    assert budget_s(jobs, 20, is_dry=False) == JOB["machine"].least_s, "a share too small to begin with is raised ..."
    assert budget_s(jobs[2:], JOB["http"].least_s - 1, is_dry=False) == 0.0, "... if there is that much"


def test_all_of_it_fits_into_its_time() -> None:
    """With every job taking all it is given: those that matter most get what they need."""
    jobs, left_s, given = chosen_jobs([], is_dry=False), 8.5 * 60 - 7, {}
    for number, job in enumerate(jobs):
        given[job.key] = budget_s(jobs[number:], left_s, is_dry=False)
        left_s -= given[job.key]
    assert left_s >= 0
    assert all(given[job.key] >= job.least_s for job in jobs if job.share >= 1)


def test_parts_and_single_jobs_are_chosen_by_name() -> None:
    assert not {"broken", "stuck"} & {job.key for job in chosen_jobs([], is_dry=False)}
    assert [job.key for job in chosen_jobs(["peers"], is_dry=False)][:2] == ["peers/C", "peers/D"]
    assert [job.key for job in chosen_jobs(["peers/D-compile"], is_dry=True)] == ["peers/D-compile"]
    with pytest.raises(ValueError, match="there is no part 'step'; there are machine, steps"):
        chosen_jobs(["step"], is_dry=False)


def record(step: int, start_s: float, end_s: float, *, decodes: int, prefill: int = 0) -> StepRecord:
    return StepRecord(step, start_s, start_s, start_s, end_s, end_s, end_s, decodes, prefill, decodes, 0, 0, 0)


def test_steps_that_only_decode_are_timed_between_their_ends() -> None:
    steps = [record(0, 0.0, 1.0, decodes=1, prefill=5)]
    steps += [record(number, 10.0 * number, 10.0 * number + 4, decodes=2) for number in range(1, 6)]
    found = decode_steps([*steps, record(6, 60, 61, decodes=1)], 2)
    assert found is not None
    assert (found.num_steps, found.device_s, found.period_s) == (4, 4.0, 10.0)
    assert found.idle == pytest.approx(0.6)
    assert decode_steps(steps[:4], 2) is None, "two differences are too few to say anything"
    assert idle_of(steps) == pytest.approx(1 - 21 / 54)


def test_a_decode_step_is_timed_from_the_outside_while_all_decode() -> None:
    """From the last one's first token (5) to the first one's last (9)."""
    times_s = [[float(second) for second in range(1, 10)], [float(second) for second in range(5, 14)]]
    assert decode_period_s(Served([[0] * 9] * 2, times_s, 13.0, None)) == 1.0
    apart = [[1.0, 2.0, 3.0, 4.0], [8.0, 9.0, 10.0, 11.0]]
    assert decode_period_s(Served([[0] * 4] * 2, apart, 11.0, None)) is None


def test_prompts_are_the_same_for_everybody() -> None:
    few, many = (random_prompts("load", [5] * count, 100) for count in (2, 4))
    assert many[:2] == few
    assert few[0] != few[1]
    assert random_prompts("other", [5], 100) != few[:1]


def test_a_spread_has_the_middle_of_an_even_number_of_values() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0]) == {"median": 2.5, "min": 1.0, "max": 4.0, "n": 4}


def test_every_job_has_something_to_run() -> None:
    source = (SCRIPT.parent / "job.py").read_text()
    assert all(f'case "{job.part}"' in source for job in JOBS if not job.is_hidden)
    assert isinstance(JOB["machine"], Job)
