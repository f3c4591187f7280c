"""Intervals without an upper end: in JSON and back, and in every rendering."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from abatch.reports.formatting import factor, interval_in_words
from abatch.reports.gates.judge import Outcome, judge_all
from abatch.reports.gates.parser import parse_rules
from abatch.reports.renderings.csv_table import render_csv
from abatch.reports.renderings.github import github_annotations
from abatch.reports.renderings.html.page import render_html
from abatch.reports.renderings.json_report import render_json
from abatch.reports.renderings.junit import render_junit
from abatch.reports.renderings.markdown import render_markdown
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.run.folder import RunReader
from abatch.reports.run.measurement import Measurement
from abatch.reports.statistics.interval import Interval
from abatch.reports.summary.metric import MetricSummary
from abatch.reports.summary.summary import Summary
from support.fixed_run import write_fixed_run
from support.shown import shown_run

OPEN = Interval(4.12, math.inf)


@pytest.fixture(scope="module")
def unbounded(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    """A run of which no interval of a tail has an upper end, saved so and read again."""
    folder = tmp_path_factory.mktemp("runs") / "unbounded"
    summary = write_fixed_run(folder).summary()
    ttft = summary.metrics["ttft"]["chat"]
    ttft.tail_ratio_interval, ttft.p99_interval_ms = OPEN, OPEN
    (folder / "summary.json").write_bytes(msgspec.json.encode(summary))
    reader = RunReader(folder)
    rules = parse_rules(["chat.ttft.p99 <= 10 s", "chat.ttft.p99/p50 <= 3"])
    return shown_run(reader, judgements=judge_all(rules, Measurement([reader])))


@pytest.mark.parametrize("high", [math.inf, float("inf"), 2 * math.inf, 39.6])
def test_an_interval_is_the_same_after_json(high: float) -> None:
    interval = Interval(4.12, high)
    saved = msgspec.json.encode(interval)
    assert msgspec.json.decode(saved, type=Interval) == interval
    assert ("high" in json.loads(saved)) == math.isfinite(high)


def test_an_interval_without_an_upper_end_says_from_where_on() -> None:
    assert interval_in_words(Interval(12.21, 39.61), factor) == "95% CI 12.2x to 39.6x"
    assert interval_in_words(OPEN, factor) == "95% CI at least 4.1x"
    assert interval_in_words(Interval(2.691, 37.525), unit=" ms") == "95% CI 2.691 to 37.52 ms"
    assert interval_in_words(OPEN, unit=" ms") == "95% CI at least 4.120 ms"


def test_a_summary_without_an_upper_end_is_read_as_it_was_written(unbounded: ShownRun) -> None:
    assert _ttft(unbounded).tail_ratio_interval == OPEN
    assert msgspec.json.decode(msgspec.json.encode(unbounded.summary), type=Summary) == unbounded.summary


def test_no_rendering_writes_infinity(unbounded: ShownRun, tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    html.write_text(render_html([unbounded]))
    texts = [
        render_csv([unbounded]),
        render_json([unbounded]),
        render_markdown([unbounded]),
        *github_annotations([unbounded]),
        "".join(ElementTree.fromstring(render_junit([unbounded])).itertext()),
        html.read_text().partition("<script")[0],
    ]
    for text in texts:
        assert "inf" not in text.lower().replace("info", "")
    assert "95% CI at least 4.1x" in texts[2]
    assert '"whisker open"' in texts[-1]


def test_tables_leave_the_upper_end_empty(unbounded: ShownRun) -> None:
    rows = csv.DictReader(io.StringIO(render_csv([unbounded]), newline=""))
    (row,) = (row for row in rows if (row["metric"], row["class"]) == ("ttft", "chat"))
    assert (row["tail_ratio_low"], row["tail_ratio_high"]) == ("4.12", "")
    (finding,) = (
        one
        for one in json.loads(render_json([unbounded]))["findings"]
        if one.get("metric") == "ttft" and "tail_ratio_low" in one["numbers"]
    )
    assert "tail_ratio_high" not in finding["numbers"]


def test_a_rule_passes_nothing_that_has_no_upper_end(unbounded: ShownRun) -> None:
    of_p99, of_ratio = unbounded.judgements
    assert of_p99.outcome is Outcome.INCONCLUSIVE
    assert "95% CI at least 4.120 ms" in of_p99.reason
    assert of_ratio.outcome is Outcome.FAIL, "all of the interval is above 3"


def _ttft(run: ShownRun) -> MetricSummary:
    return run.summary.metrics["ttft"]["chat"]
