"""The HTML report: complete without scripts, safe whatever is in it, and true to the summary."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from random import Random

import pytest
from abatch.reports.gates.judge import Judgement, Outcome
from abatch.reports.recording.histograms import new_histogram
from abatch.reports.renderings.html.curves import curve, grid
from abatch.reports.renderings.html.markup import element, embedded_json, inline
from abatch.reports.renderings.html.opening import Opening, sortable_table
from abatch.reports.renderings.html.page import render_html
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.statistics.percentile import value_at
from abatch.reports.summary.finding import Finding, Label, Tone
from abatch.reports.text import clean
from support.fixed_run import FREEZE_AT_S, FREEZE_FOR_S, write_fixed_run
from support.html_pages import data_of, made_run
from support.results import make_result
from support.shown import shown_run

HOSTILE = "</script><img src=x onerror=\"alert('1')\"><!--\u2028&amp;"


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    return shown_run(write_fixed_run(tmp_path_factory.mktemp("fixed") / "run"), "fixed")


@pytest.fixture(scope="module")
def page(fixed: ShownRun) -> str:
    return render_html([fixed])


class Structure(HTMLParser):
    """Elements, attributes and text of a page; fails on elements that are not closed."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text.append(data)

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.elements if "id" in attributes]

    def shown(self) -> str:
        return "".join(self.text)


def test_all_is_there_in_order_and_readable_without_scripts(fixed: ShownRun) -> None:
    judgements = (Judgement("errors < 2%", Outcome.PASS, "it is 1%"), Judgement("x <= 3", Outcome.FAIL, "it is 4"))
    found = Structure(render_html([replace(fixed, judgements=judgements)]))
    sections = [attributes["id"] for tag, attributes in found.elements if tag == "section"]
    assert sections == [
        "verdict",
        "curves",
        "tail-ratios",
        "slowdown",
        "over-time",
        "pauses",
        "sessions",
        "metrics",
        "facts",
    ]
    assert len(found.ids()) == len(set(found.ids()))
    text = found.shown()
    for words in ("BORDERLINE", "batch-wide stall", "made no progress for", "PASS", "errors < 2%", "FAIL", "llama"):
        assert words in text
    for words in (
        "seed 0",
        "offered",
        "start delay p99",
        "http_500: 500: internal error",
        "This chart needs JavaScript",
    ):
        assert words in text


def test_nothing_is_loaded_and_nothing_inline_is_run_by_attribute(page: str) -> None:
    found = Structure(page)
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")], "no inline handlers"
        assert "src" not in attributes
        assert tag not in ("iframe", "object", "embed", "img", "base", "form")
        if "href" in attributes:
            assert (attributes["href"] or "").startswith(("#", "data:,"))
    policy = next(attributes for tag, attributes in found.elements if "http-equiv" in attributes)
    assert policy["content"] == (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    )
    assert "url(" not in page
    assert "@import" not in page
    assert page.startswith('<!doctype html>\n<html lang="en">')


def test_percentiles_that_need_more_samples_are_not_shown(page: str) -> None:
    row = re.search(r'<tr[^>]*><th[^>]*data-value="ttft">ttft</th>.*?</tr>', page)
    assert row is not None
    assert '<td class="number" data-value="">-</td>' in row[0], "496 values have no p99.9"


def test_curves_have_exactly_the_numbers_of_the_summary(fixed: ShownRun, page: str) -> None:
    data = data_of(page)
    for metric, by_class in fixed.summary.metrics.items():
        for traffic_class, value in by_class.items():
            found = data["runs"][0]["curves"][metric][traffic_class]
            points = dict(zip(data["grid"]["percents"], found["us"][:-1], strict=False))
            assert found["us"][-1] / 1e3 == value.max_ms
            for percent, at_ms in ((50, value.p50_ms), (90, value.p90_ms), (99, value.p99_ms), (99.9, value.p999_ms)):
                assert points.get(percent, found["us"][-1]) / 1e3 == at_ms


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 99, 1000, 12345])
def test_a_curve_is_the_histogram_at_each_of_its_points(count: int) -> None:
    random, histogram, points = Random(count), new_histogram(), grid([97.5])
    for _ in range(count):
        histogram.record_value(round(random.lognormvariate(9, 2)) + 1)
    found = curve(histogram, points)
    assert found is not None
    assert found.count == count
    for percent, us in zip(points.percents, found.us[:-1], strict=False):
        assert us == value_at(histogram, percent), percent
    assert found.us[-1] == histogram.get_max_value()
    left_out = points.percents[len(found.us) - 1 :]
    assert all(value_at(histogram, percent) == found.us[-1] for percent in left_out)
    assert found.us == sorted(found.us)


def test_the_grid_has_what_was_asked_for_and_ascends() -> None:
    points = grid([97.5, 99.99, 100.0])
    assert {0.0, 50.0, 90.0, 97.5, 99.0, 99.9, 99.99} <= set(points.percents)
    assert points.nines == sorted(set(points.nines))
    assert points.percents == sorted(set(points.percents))
    assert len(points.nines) < 250


def test_what_comes_from_outside_is_text(fixed: ShownRun) -> None:
    results = [
        make_result(10.0 + number, due_s=number / 10, session_id=f"{HOSTILE}{number}", traffic_class=HOSTILE)
        for number in range(20)
    ]
    results.append(
        make_result(session_id="x", error=HOSTILE, error_message=HOSTILE, traffic_class=HOSTILE, tool=HOSTILE)
    )
    labels = {"workload": HOSTILE, "target": HOSTILE, "model": HOSTILE, "warnings": [HOSTILE], "verdict_class": HOSTILE}
    run = made_run(results, HOSTILE, **labels)
    run.config.options = {HOSTILE: [HOSTILE]}
    run.config.provenance = {HOSTILE: HOSTILE}
    run = replace(run, judgements=(Judgement(HOSTILE, Outcome.FAIL, HOSTILE),))
    table = sortable_table(HOSTILE, [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]])
    html = render_html([run, fixed], Opening(HOSTILE, [("answer", HOSTILE, table)]))
    found = Structure(html)
    assert "img" not in {tag for tag, _ in found.elements}
    assert html.lower().count("<img") == 0
    assert html.count("<!--") == 0
    assert [attributes["id"] for tag, attributes in found.elements if tag == "section"][:3] == [
        *("answer", "curves", "verdict")
    ]
    data = data_of(html)
    assert data["runs"][0]["name"] == clean(HOSTILE)
    assert clean(HOSTILE) in data["runs"][0]["curves"]["ttft"]
    assert clean(HOSTILE) in found.shown()


def test_embedded_json_cannot_end_its_element() -> None:
    text = embedded_json("x", Finding(label=Label.NOTE, tone=Tone.PLAIN, words=f"</script>{HOSTILE}\u2029"))
    inside = text.removeprefix('<script type="application/json" id="x">').removesuffix("</script>\n")
    assert not set("<>&\u2028\u2029") & set(inside)
    assert json.loads(inside)["words"] == clean(f"</script>{HOSTILE}")
    with pytest.raises(ValueError, match="its own end"):
        inline("script", "x = '</SCRIPT >'")
    assert element("p", "a<b", title='"') == '<p title="&quot;">a&lt;b</p>'


def test_a_folders_name_may_be_any_bytes() -> None:
    name = b"run-\xff".decode(errors="surrogateescape")
    html = render_html([made_run([make_result()], name), made_run([make_result()], "run-\ufffd"), made_run([], "")])
    assert [run["name"] for run in data_of(html)["runs"]] == ["run-\ufffd", "run-\ufffd (2)", "run"]
    html.encode()


def test_runs_without_results_and_of_one_request_are_shown() -> None:
    runs = [
        made_run([], "nothing", is_complete=False),
        made_run([make_result(traffic_class="solo")], "one", simulated=True, verdict_class="solo"),
        made_run([make_result(error="connect", first_s=None, sent_s=None)], "failed"),
        made_run([make_result(censored=True, first_s=None, output_tokens=None, gaps_us=[])], "cut off"),
    ]
    html = render_html(runs)
    text = Structure(html).shown()
    assert "INTERRUPTED: nothing did not finish" in text
    assert "SIMULATED: one: no real device ran" in text
    assert "NO VERDICT" in text
    assert text.index("INTERRUPTED") < text.index("Verdict")
    for run in runs:
        render_html([run])
    assert data_of(html)["runs"][0]["over_time"]["in_flight"] == []
    assert data_of(html)["runs"][1]["curves"]["ttft"]["solo"]["count"] == 1
    with pytest.raises(ValueError, match="at least one run"):
        render_html([])


def test_the_same_runs_are_the_same_page(fixed: ShownRun, page: str) -> None:
    assert render_html([fixed]) == page
    assert len(page) < 300_000


def test_a_freeze_is_where_it_was(page: str) -> None:
    over = data_of(page)["runs"][0]["over_time"]
    (stall,) = [stall for stall in over["stalls"] if stall["who"] == "server"]
    assert abs(stall["start_s"] - FREEZE_AT_S) < 0.1
    assert "the server made no progress for 1.5" in stall["text"]
    frozen = int((FREEZE_AT_S + 0.1) / over["bin_s"])
    for metric, least_s in (("ttft", 1.0), ("max_gap", FREEZE_FOR_S * 0.95), ("itl", FREEZE_FOR_S * 0.95)):
        values = over["latency"][metric]["all"]
        around = [value or 0 for value in values["max"][frozen - 1 : frozen + 2]]
        assert max(around) == max(value or 0 for value in values["max"])
        assert max(around) > least_s * 1e6
    assert max(over["in_flight"]) in over["in_flight"][frozen : frozen + 4]
    assert sum(sum(one["n"]) for one in over["failures"]) > 0


def test_the_licence_is_in_the_page(page: str) -> None:
    assert "The MIT License (MIT)" in page
    assert "Copyright (c) 2022 Leon Sorokin" in page
