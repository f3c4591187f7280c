"""Runs with a probe of the idle server before them, from the first request to the summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from abatch.cli.measuring.measure import run
from abatch.cli.measuring.plan import Plan
from abatch.cli.measuring.run import Run
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.gates.judge import Outcome
from support.behaving_source import BehavingSource, WholeTarget
from support.cli import abatch
from support.servers import null_server

_KNOWN = Behaviour(ttft_s=0.05, prefill_tokens_per_s=20_000.0, itl_s=0.01)


def _run(folder: Path, target: WholeTarget, **traffic: Any) -> Run:
    options = TrafficOptions(workload="chat-short", session_rate=5.0, duration_s=60.0, **traffic)
    return run(Plan(traffic=make_traffic(options), source=BehavingSource(target), folder=folder, idle_probe=8))  # type: ignore[arg-type]


def test_the_probe_comes_first_and_is_in_no_result(tmp_path: Path) -> None:
    target = WholeTarget(_KNOWN, fails=lambda _: False)
    measured = _run(tmp_path / "run", target)
    probes = [name for name in target.names if name.startswith("idle-probe/")]
    assert target.names[: len(probes)] == probes
    assert 3 <= len(probes) <= 8
    assert len(list(measured.results())) == len(target.names) - len(probes)
    assert min(result.sent_s or 0.0 for result in measured.results()) >= 0.0
    for metric in ("ttft", "tpot", "e2e"):
        assert measured.summary.slowdown[metric]["all"].p50 == pytest.approx(1.0, rel=0.05)
    assert measured.config.idle == measured.summary.idle
    assert measured.judge("ttft.slowdown.p50 <= 1.2")[0].outcome is Outcome.PASS


def test_a_probe_that_fails_is_no_failure_of_the_run(tmp_path: Path) -> None:
    measured = _run(tmp_path / "run", WholeTarget(_KNOWN, fails=lambda number: number < 8), turns=1)
    summary = measured.summary
    assert summary.is_complete
    assert not summary.errors
    assert summary.succeeded == summary.requests > 100
    assert [text for text in summary.warnings if "the idle probe failed" in text and "http_503" in text]
    assert measured.config.idle is None
    assert summary.idle is not None
    assert not summary.idle.is_probed
    assert summary.slowdown["ttft"]["all"].p50 == pytest.approx(1.0, rel=0.1)
    assert measured.judge("ttft.slowdown.p50 <= 100")[0].outcome is Outcome.INCONCLUSIVE


def test_nothing_is_sent_where_no_probe_is_wanted(tmp_path: Path) -> None:
    target = WholeTarget(_KNOWN, fails=lambda _: False)
    traffic = make_traffic(TrafficOptions(workload="chat-short", session_rate=5.0, duration_s=5.0))
    run(Plan(traffic=traffic, source=BehavingSource(target), folder=tmp_path / "run"))  # type: ignore[arg-type]
    assert not [name for name in target.names if name.startswith("idle-probe/")]


@pytest.mark.xdist_group("wall_clock")
def test_several_workers_record_slowdowns_over_what_the_main_process_found(tmp_path: Path) -> None:
    with null_server("--ttft", "100", "--itl", "10", log=tmp_path / "log") as server:
        done = abatch(
            *("bench", "--url", server.url, "--workload", "chat-short", "--turns", "1", "--osl", "5", "-r", "25"),
            *("-d", "4", "--workers", "2", "-o", tmp_path / "run", "--require", "ttft.slowdown.p50 < 3"),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    measured = Run(tmp_path / "run")
    idle = measured.config.idle
    assert idle is not None
    assert idle.requests >= 3
    assert 100 <= idle.points[0].ttft_ms < 200
    assert 5 < idle.itl_base_ms < 20
    slowdown = measured.summary.slowdown["ttft"]["all"]
    assert slowdown.count == measured.summary.succeeded
    assert "idle probe: ttft" in done.stdout
