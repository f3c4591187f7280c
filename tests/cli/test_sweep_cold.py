"""A sweep finds what a server does with new prompts, and once sessions have lasted as long as they do.

All in virtual time.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from abatch.cli.commands.sweep import sweep_rates
from abatch.cli.measuring.measure import run
from abatch.cli.measuring.observer import SILENT
from abatch.cli.measuring.plan import Plan
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.sweep import SweepOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.run.folder import RunReader
from abatch.reports.summary.doubts import doubts
from rich.console import Console
from support.behaving_server import BehavingServer
from support.cli import abatch

_ONE_AT_A_TIME = Behaviour(ttft_s=0.02, prefill_tokens_per_s=2000.0, itl_s=0.001, prefix_cache=True, prefill_at_once=1)
"""A new prompt of 300 tokens takes 170 ms: six a second at most. A known one takes 26 ms."""
_TRAFFIC = TrafficOptions(
    workload="chat-short", turns=1, input_len=300, output_len=2, duration_s=40.0, request_rate=1.0
)


_MAX_RATE = 16.0
_GOODPUT = "ttft:1010"


def sweep(
    folder: Path,
    source: BehavingServer,
    cache: str = "cold",
    traffic: TrafficOptions = _TRAFFIC,
    max_rate: float = _MAX_RATE,
) -> tuple[dict[str, Any], str]:
    """What a sweep saved, and what it printed."""
    options = replace(traffic, cache=cache)
    plan = Plan(traffic=make_traffic(options), source=source, folder=folder, goodput=_GOODPUT)  # type: ignore[arg-type]
    console = Console(file=io.StringIO(), width=160)
    sweep_rates(plan, options, SweepOptions(sweep=True, max_rate=max_rate), SILENT, console)
    assert isinstance(console.file, io.StringIO)
    return json.loads((folder / "sweep.json").read_text()), console.file.getvalue()


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A sweep of a server that remembers what the rates before were tried with."""
    return sweep(tmp_path_factory.mktemp("cold") / "out", BehavingServer(_ONE_AT_A_TIME))[0]


def test_what_earlier_rates_left_in_a_cache_does_not_count(cold: dict[str, Any], tmp_path: Path) -> None:
    fresh, _ = sweep(tmp_path / "fresh", BehavingServer(_ONE_AT_A_TIME, is_new=True))
    assert cold["highest_rate"] == fresh["highest_rate"]
    assert 3.5 < cold["highest_rate"] < 5.9
    for ours, theirs in zip(cold["points"], fresh["points"], strict=True):
        assert ours["ttft_p99_ms"] == theirs["ttft_p99_ms"], "the texts differ, and nothing else"
    assert cold["cache"] == "cold"


def test_each_try_has_texts_of_its_own_and_a_report(cold: dict[str, Any]) -> None:
    folders = [Path(point["folder"]) for point in cold["points"]]
    assert len({RunReader(folder).config.text_salt for folder in folders}) == len(folders)
    assert all((folder / "report.html").read_text().startswith("<!doctype html>") for folder in folders)
    shown = abatch("report", folders[0]).stdout
    assert "cache: cold: new texts; its prefix cache had 0.0% of sessions' first prompts" in shown


def test_a_rate_is_tried_once_where_nothing_is_left_to_chance(cold: dict[str, Any]) -> None:
    rates = [point["request_rate"] for point in cold["points"]]
    assert len(set(rates)) == len(rates)
    assert any(point["why_not"] for point in cold["points"])


def test_as_is_finds_what_the_cache_can_do_and_says_so(tmp_path: Path, cold: dict[str, Any]) -> None:
    server = BehavingServer(_ONE_AT_A_TIME)
    before = replace(_TRAFFIC, cache="as-is", request_rate=_MAX_RATE)
    run(Plan(traffic=make_traffic(before), source=server, folder=tmp_path / "before"))  # type: ignore[arg-type]
    report, printed = sweep(tmp_path / "as-is", server, cache="as-is")
    assert report["highest_rate"] == _MAX_RATE > 3 * cold["highest_rate"]
    assert "note: --cache as-is: each try sent texts that the tries before it had sent" in printed
    assert all(Path(point["folder"]).name in printed for point in report["points"])


def test_a_rate_that_the_cache_answered_does_not_hold(tmp_path: Path) -> None:
    """Texts that were asked for twice are not new, whatever --cache says: the numbers say so."""
    server = BehavingServer(_ONE_AT_A_TIME)
    plans = [
        Plan(traffic=make_traffic(replace(_TRAFFIC, text_salt="x")), source=server, folder=tmp_path / name)  # type: ignore[arg-type]
        for name in ("first", "second")
    ]
    first, second = (run(plan).summary for plan in plans)
    assert not doubts(first)
    (doubt,) = doubts(second)
    assert doubt.words.startswith("a prefix cache knew the texts of 100% of the sessions before they began")
    assert second.metrics["ttft"]["all"].p50_ms < first.metrics["ttft"]["all"].p50_ms / 3


_SESSIONS = TrafficOptions(workload="chat-short", turns=5, session_rate=4.0, duration_s=60.0)
"""For more than a minute every second adds turns to the load."""


@pytest.mark.parametrize("warmup_s", [None, 6.0])
def test_sessions_that_have_just_begun_are_no_overload(warmup_s: float | None, tmp_path: Path) -> None:
    """Each answer takes a second at any rate: a rate fails only if the growth of a beginning is taken for overload."""
    source = BehavingServer(Behaviour(ttft_s=1.0, tokens_per_chunk=100))
    report, printed = sweep(tmp_path / "out", source, traffic=replace(_SESSIONS, warmup_s=warmup_s), max_rate=20.0)
    assert (report["highest_rate"], report["limit"]) == (20.0, "--max-rate")
    assert (report["points"][0]["session_rate"], report["requests_per_session"]) == (4.0, 5.0)
    assert "HIGHEST RATE: 20 requests/s (4.000 sessions/s) hold" in printed
    config = RunReader(Path(report["points"][0]["folder"])).config
    assert config.duration_s is not None
    if warmup_s is None:
        assert config.warmup_s == report["warmup_s"] >= report["ramp_s"] > 60
        assert config.duration_s - config.warmup_s == 55.0
    else:
        assert (config.warmup_s, config.duration_s) == (warmup_s, 60.0), "as asked for"
        assert f"rises for {report['ramp_s']:.0f} s, until as many sessions end as begin" in " ".join(printed.split())
        steady = RunReader(Path(report["points"][0]["folder"])).summary().steady_state
        assert steady is not None
        assert not steady.is_steady, "a run by itself cannot tell"
