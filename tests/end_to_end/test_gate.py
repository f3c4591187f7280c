"""`abatch gate`, and rules of `abatch bench`: exit codes, baselines, files of rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli import abatch
from support.fixed_run import write_fixed_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_fixed_run(folder / "base", num_sessions=900)
    write_fixed_run(folder / "again", seed=1, num_sessions=900)
    write_fixed_run(folder / "slower", seed=2, slower=1.4, num_sessions=900)
    return folder


@pytest.mark.parametrize(
    ("run", "arguments", "code", "words"),
    [
        ("base", ["--require", "chat.itl.p99 < 100ms"], 0, "PASS"),
        ("base", ["--require", "chat.itl.p99 < 100ms", "--rare", "15"], 0, "PASS"),
        ("base", ["--require", "chat.itl.p99 < 100ms", "--rare", "20"], 4, "measure for 60 s (--rare)"),
        ("base", ["--rare", "20"], 4, "measure for 60 s (--rare)"),
        ("base", ["--require", "chat.itl.p99 < 10ms"], 3, "FAIL"),
        ("base", ["--require", "chat.itl.p99.9 < 1us", "--require", "chat.ttft.p99.9 < 1s"], 3, "FAIL"),
        ("base", ["--require", "chat.ttft.p99.9 < 1s"], 4, "samples; this rule needs 3,000"),
        ("base", [], 4, "chat.ttft.p99/p50 <= 3"),
        ("again", ["--baseline", "base", "--require", "chat.ttft.p50 <= baseline + 20%"], 0, "95% CI"),
        ("slower", ["--baseline", "base", "--require", "chat.ttft.p50 <= baseline + 10%"], 3, "95% CI"),
        ("slower", ["--baseline", "base"], 3, "chat.e2e.p99 <= baseline + 10%"),
        ("again", ["--rules", "gates.toml"], 0, "chat.itl.p50 <= baseline + 10%"),
        ("slower", ["--rules", "gates.toml"], 3, "chat.itl.p50 <= baseline + 10%"),
    ],
)
def test_exit_codes(runs: Path, run: str, arguments: list[str], code: int, words: str) -> None:
    (runs / "gates.toml").write_text(
        "baseline = 'base'\nrequire = ['chat.itl.p50 <= baseline + 10%']\n"
        "[workload.other]\nrequire = ['errors < 0.1%']\n"
    )
    result = abatch("gate", run, *arguments, cwd=runs)
    assert result.returncode == code, result.stdout + result.stderr
    assert words in " ".join(result.stdout.split())


def test_a_baseline_of_other_traffic_is_no_baseline(runs: Path) -> None:
    write_fixed_run(runs / "other")
    for name in ("config.json", "summary.json"):
        path = runs / "other" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"workload": "chat-short"}))
    result = abatch("gate", "again", "--baseline", "other", "--require", "ttft.p50 <= baseline", cwd=runs)
    assert result.returncode == 2
    assert "only runs of the same workload can be compared" in result.stderr


def test_a_gate_without_rules_says_how_to_give_some(runs: Path, tmp_path: Path) -> None:
    write_fixed_run(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"options": {}}))
    result = abatch("gate", tmp_path / "run")
    assert result.returncode == 2
    assert "--require" in result.stderr


def test_an_interrupted_run_is_no_pass(tmp_path: Path) -> None:
    write_fixed_run(tmp_path / "run", num_sessions=900)
    (tmp_path / "run" / "summary.json").unlink()
    result = abatch("gate", tmp_path / "run", "--require", "chat.itl.p50 < 1s")
    assert result.returncode == 4
    assert result.stdout.startswith("INTERRUPTED")
    assert "INCONCLUSIVE" in result.stdout


def test_what_ci_servers_read(runs: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    result = abatch(
        *("gate", "slower", "--baseline", "base", "--require", "chat.itl.p50 <= baseline + 10%", "--junit", "-"),
        cwd=runs,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert result.returncode == 3
    assert result.stdout.startswith("<?xml")
    assert "<failure" in result.stdout
    assert "::error title=" in result.stderr
    assert "**FAIL**" in summary.read_text()


def test_bench_against_a_baseline_in_virtual_time_is_the_same_again(tmp_path: Path) -> None:
    chats = ("bench", "--device", "simulated:h100", "--workload", "chat-short", "--session-rate", "8", "--osl", "8")
    simulated = (*chats, "-d", "90")
    rule = ("--require", "ttft.p99 <= baseline + 2%", "--require", "output_tokens_per_s >= baseline - 20%")
    assert abatch(*simulated, "-o", "base", cwd=tmp_path).returncode == 0
    same = abatch(*simulated, "-o", "same", "--baseline", "base", *rule, cwd=tmp_path)
    assert same.returncode == 0, same.stdout
    slower = abatch(*simulated, "-o", "slow", "--host-overhead", "20ms", "--baseline", "base", *rule, cwd=tmp_path)
    assert slower.returncode == 3, slower.stdout
    again = abatch("report", "slow", cwd=tmp_path)
    assert "ttft.p99 <= baseline + 2%" in again.stdout
    assert "FAIL" in again.stdout
    page = abatch(*chats, "-d", "5", "-o", "page", "--html", "page/report.html", "--hgrm", "page/hgrm", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert (tmp_path / "page" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "page" / "hgrm" / "ttft.all.hgrm").exists()
