"""Tool pauses and errors on the HTML page, and that no table is wider than a phone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.session import ParkEvent
from abatch.reports.renderings.html.opening import Opening, sortable_table
from abatch.reports.renderings.html.over_time import OverTimeCollector
from abatch.reports.renderings.html.page import render_html
from abatch.reports.renderings.html.pause_points import PauseCollector
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from support.html_pages import data_of, made_run
from support.results import make_result


def paused_turns(turns: int = 200) -> list[Result]:
    """Sessions of two turns, every other one with a tool pause of 5 s, after which the server has nothing left."""
    results = []
    for number in range(turns):
        is_paused = number % 2 == 1
        common: dict[str, Any] = {"session_id": f"s-{number}", "traffic_class": "agent"}
        results.append(make_result(due_s=number / 4, prompt_tokens=2000, **common))
        later: dict[str, Any] = {"turn_index": 1, "is_last": True, "prompt_tokens": 2100, **common}
        later |= {"pause": Pause.TOOL, "pause_s": 5.0 * is_paused, "cached_tokens": 0 if is_paused else 2000}
        results.append(make_result(90.0 + is_paused * 400 + number % 7, due_s=6 + number / 4, **later))
    return results


class Tables(HTMLParser):
    """The tables of a page, by whether they stand in a box that scrolls, and texts of those with a class."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.boxed: list[bool] = []
        self._open: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.boxed.append("scroll" in self._open)
        if tag == "div":
            self._open.append(dict(attrs).get("class"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "div":
            self._open.pop()


def test_every_table_scrolls_in_a_box_of_its_own() -> None:
    runs = [made_run(paused_turns(), "one"), made_run([make_result()], "two")]
    opening = Opening("More", [("more", "More", sortable_table("words", ["a", "b"], [["x", "1"]]))])
    found = Tables(render_html(runs, opening))
    assert len(found.boxed) >= 6
    assert all(found.boxed)


def test_the_page_says_what_a_pause_costs() -> None:
    page = render_html([made_run(paused_turns())])
    assert "A 5 s pause costs 40" in page
    for words in ("No pause", "3 to 10 s", "set beside", "recomputed", ">100%<"):
        assert words in page
    (run,) = data_of(page)["runs"]
    assert run["pauses"]["num_turns"] == len(run["pauses"]["points"]) == 200
    contexts = {point[2] for point in run["pauses"]["points"] if point[0] > 0}
    assert contexts == {"recomputed"}
    assert [band[:2] for band in run["pauses"]["bands"]] == [[0, 0.1], [3, 10]]


def test_a_run_without_pauses_has_no_such_section() -> None:
    page = render_html([made_run([make_result()])])
    assert 'id="pauses"' not in page
    assert data_of(page)["runs"][0]["pauses"] is None


@pytest.mark.parametrize("over_http", [True, False])
def test_what_came_back_from_the_host_is_told_from_what_stayed(over_http: bool) -> None:
    results = paused_turns(20)
    for result in results:
        if result.turn_index:
            result.cached_tokens = 2000
    collector = PauseCollector()
    for result in results:
        collector.add(result)
    name = f"run/{hashlib.blake2b(b's-3', digest_size=16).hexdigest()}" if over_http else "s-3"
    at_s = 100.0 + 6 + 3 / 4
    event = ParkEvent(session_id=name, action="restored", num_blocks=3)
    step = StepRecord(0, at_s, at_s, at_s, at_s, at_s, at_s, 0, 0, 0, 0, 0, 0, parking=[event])
    assert list(collector.watch([step], 100.0)) == [step]
    chart = collector.chart(made_run(results).summary.pauses)
    assert chart is not None
    assert [point.session for point in chart.points if point.context == "restored"] == ["s-3"]


def test_points_of_a_long_run_are_a_bounded_sample() -> None:
    collector = PauseCollector()
    for result in paused_turns(4000):
        collector.add(result)
    chart = collector.chart(made_run(paused_turns()).summary.pauses)
    assert chart is not None
    assert (chart.num_turns, len(chart.points)) == (4000, 1000)


def failing(kinds: Sequence[str | None], **fields: Any) -> list[Result]:
    return [make_result(due_s=number / 10, error=kind, **fields) for number, kind in enumerate(kinds)]


def test_errors_are_counted_by_class_and_by_time() -> None:
    results = failing([None] * 40 + ["timeout"] * 5 + ["http_503"] * 20 + [None] * 40)
    results += [make_result(due_s=1.0, retries=2)]
    collector = OverTimeCollector()
    for result in results:
        collector.add(result)
    over = collector.over_time(made_run(results), ["all"])
    assert [(one.kind, sum(one.n)) for one in over.failures] == [("http_503", 20), ("timeout", 5)]
    at_s = [place * over.bin_s for place, count in enumerate(over.failures[0].n) if count]
    assert 4.3 < min(at_s) < max(at_s) < 6.6
    assert sum(over.retried) == 1
    assert len(over.retried) == len(over.failures[0].n) == len(over.in_flight)


def test_of_many_classes_of_errors_the_rest_are_one() -> None:
    results = failing([f"http_{400 + number % 90}" for number in range(900)] + ["timeout"] * 50)
    collector = OverTimeCollector()
    for result in results:
        collector.add(result)
    over = collector.over_time(made_run(results), ["all"])
    assert len(over.failures) == 6
    assert (over.failures[-1].kind, sum(sum(one.n) for one in over.failures)) == ("other_errors", 950)


def test_a_run_without_errors_has_none_to_draw() -> None:
    (run,) = data_of(render_html([made_run([make_result()])]))["runs"]
    assert (run["over_time"]["failures"], run["over_time"]["retried"]) == ([], [])


def test_long_names_lose_their_beginning_not_their_end() -> None:
    name = "runs/nightly/2026-11-28/http-a-long-host.example.com-8000"
    page = render_html([made_run([make_result()], name), made_run([make_result()], "other")])
    assert f'<span class="cut-left" title="{name}"><bdi>{name}</bdi></span>' in page
