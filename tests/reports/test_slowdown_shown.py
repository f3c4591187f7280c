"""Slowdowns in reports: a line a class, a bar a class."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from abatch.reports.formatting import times
from abatch.reports.recording.idle_model import IdleModel, IdlePoint
from abatch.reports.renderings.console import print_summary
from abatch.reports.renderings.facts import facts
from abatch.reports.renderings.html.time_shares import time_shares
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.renderings.slowdown_rows import HEADER, idle_facts, slowdown_rows
from abatch.reports.summary.summary import Summary
from abatch.workloads.result import Result
from rich.console import Console
from support.measured import write_run
from support.results import make_result
from support.shown import shown_run

_IDLE = IdleModel(
    requests=8, is_probed=True, points=[IdlePoint(20.0, 10.0)], itl_base_ms=5.0, itl_us_per_token=0.0, largest_prompt=20
)


def _results(count: int = 400) -> Iterable[Result]:
    """Chats that wait for twice their work, and agents whose tokens come at half the pace."""
    for number in range(count):
        fields = {"session_id": str(number), "due_s": number * 0.1}
        yield make_result(30.0, gaps_ms=(5.0,) * 10, traffic_class="chat", **fields)  # type: ignore[arg-type]
        yield make_result(10.0, gaps_ms=(10.0,) * 10, traffic_class="agent", **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    return shown_run(write_run(tmp_path_factory.mktemp("slow") / "run", _results(), idle=_IDLE))


def test_a_line_for_each_class_and_one_for_the_slowest_of_the_verdicts(shown: ShownRun) -> None:
    rows = {name: cells for name, *cells in slowdown_rows(shown.summary)}
    assert list(rows) == ["all", "agent", "chat", "slowest 1%"]
    assert rows["chat"][:4] == ["3.00", "3.00", "1.00", "1.00"]
    assert rows["agent"][:4] == ["1.00", "1.00", "2.00", "2.00"]
    assert rows["chat"][-3:] == ["75%", "25%", "0%"]
    assert rows["agent"][-3:] == ["55%", "0%", "45%"]
    assert all(len(cells) == len(HEADER) - 1 for cells in rows.values())


def test_the_terminal_has_them_in_eighty_columns(shown: ShownRun) -> None:
    out = io.StringIO()
    print_summary(Console(width=80, no_color=True, file=out, highlight=False), shown.summary)
    (head,) = (line for line in out.getvalue().splitlines() if line.startswith("x idle"))
    assert head.split() == " ".join(HEADER).split()
    text = " ".join(out.getvalue().split())
    assert "idle probe: ttft 10.00 ms at 20 uncached prompt tokens, then 5.000 ms per output token" in text


def test_a_bar_for_each_class_has_the_three_parts(shown: ShownRun) -> None:
    page = time_shares([shown])
    bars = re.findall(r'<div class="stack" role="img" aria-label="([^"]*)">(.*?)</div>', page)
    assert [words for words, _ in bars][2:4] == ["55% work, 0% waiting, 45% interference"] * 2
    for _, parts in bars:
        widths = [float(width) for width in re.findall(r"width:([\d.]+)%", parts)]
        assert len(widths) == 3
        assert sum(widths) == pytest.approx(100.0, abs=0.1)
    two = time_shares([shown, replace(shown, name="other")])
    assert two.count("<table") == 2
    assert "other" in two


def test_without_sizes_there_is_nothing_to_show(shown: ShownRun) -> None:
    assert "not known" in time_shares([replace(shown, summary=Summary())])
    assert list(slowdown_rows(Summary())) == []


def test_without_a_probe_the_report_says_what_its_slowdowns_rest_on(tmp_path: Path) -> None:
    unprobed = shown_run(write_run(tmp_path / "unprobed", _results()))
    words = next(fact.words for fact in facts(unprobed.summary) if fact.label == "idle probe")
    assert words.startswith("none;")
    assert words.endswith("slowdowns may be too small")


def test_times_have_as_many_digits_as_matter() -> None:
    assert [times(value) for value in (1.0, 2.345, 62.16, 280.4, 12345.0)] == ["1.00", "2.35", "62.2", "280", "12,345"]


def test_an_idle_server_that_varies_is_said_to() -> None:
    even = IdleModel(requests=8, is_probed=True, points=[IdlePoint(20.0, 10.0)], itl_base_ms=10.0, spread=0.1)
    assert idle_facts(even).endswith("(8 requests before the run)")
    uneven = IdleModel(requests=8, is_probed=True, points=[IdlePoint(20.0, 10.0)], itl_base_ms=10.0, spread=2.2)
    assert idle_facts(uneven).endswith("(8 requests before the run; of one size they differed up to 3.2-fold)")
