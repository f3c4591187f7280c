"""The HTML report in a browser: it draws what the summary says, asks nobody for anything, and is quick."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.html.opening import Opening, sortable_table
from abatch.reports.renderings.html.over_time import ServerSeries
from abatch.reports.renderings.html.page import render_html
from abatch.reports.renderings.html.report_data import ReportData, report_data
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.run.config import RunConfig
from abatch.reports.summary.summary import fill_summary
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from support.browser import CHROMIUM, Page, open_browser
from support.fixed_run import FREEZE_AT_S, LENGTH_S
from support.html_pages import SHOWN, fixed_runs, saved
from support.results import make_result

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; CI installs one")

CURVES, LATENCY = "#curves-chart .u-over", "#over-time-chart .u-over"
SESSIONS = "#sessions-chart .u-over"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with open_browser(tmp_path / "profile") as page:
        yield page
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


async def test_curves_are_the_summarys_and_can_be_read_and_toggled(page: Page, tmp_path: Path) -> None:
    runs = fixed_runs(tmp_path)
    await page.open(saved(tmp_path, render_html(runs)))
    for index, run in enumerate(runs):
        for metric in ("ttft", "itl", "max_gap", "e2e"):
            for traffic_class, value in run.summary.metrics[metric].items():
                asked = [50, 90, 99, 99.9, 100]
                expression = f"{asked}.map((p) => abatchReport.percentile({index}, '{metric}', '{traffic_class}', p))"
                of_summary = [value.p50_ms, value.p90_ms, value.p99_ms, value.p999_ms, value.max_ms]
                assert await page.evaluate(expression) == of_summary
    drawn = await page.evaluate(
        "abatchReport.charts.curves.data.slice(1).map((ms) => ms[abatchReport.charts.curves.data[0].indexOf(2)])"
    )
    assert drawn == [run.summary.metrics["ttft"]["chat"].p99_ms for run in runs]

    await page.hover(CURVES, 0.6)
    (readout,) = await page.evaluate(SHOWN)
    assert 95 < float(readout.partition("%")[0]) < 99
    assert all(word in readout for word in ("fast", "slow", "ms"))

    await page.click(".legend-item:nth-child(2)")
    assert await page.evaluate("abatchReport.charts.curves.series.map((series) => series.show)") == [True, True, False]
    assert await page.evaluate("document.querySelector('.legend-item:nth-child(2)').ariaPressed") == "false"
    await page.hover(CURVES, 0.6)
    (readout,) = await page.evaluate(SHOWN)
    assert "slow" not in readout
    await page.evaluate("abatchReport.select({metric: 'itl', class: 'all', isLog: true})")
    assert await page.evaluate("abatchReport.charts.curves.series.map((series) => series.show)") == [True, True, False]
    assert await page.evaluate("abatchReport.charts.curves.scales.y.distr") == 3


async def test_a_freeze_is_seen_over_time_and_in_sessions(page: Page, tmp_path: Path) -> None:
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path))))
    at = FREEZE_AT_S + 0.5
    xs, maxima = await page.evaluate("[abatchReport.charts.latency.data[0], abatchReport.charts.latency.data[3]]")
    worst = max((ms, x) for x, ms in zip(xs, maxima, strict=True) if ms is not None)
    assert abs(worst[1] - FREEZE_AT_S) < 1
    assert worst[0] > 1000
    end_s = await page.evaluate("abatchReport.charts.latency.scales.x.max")
    assert end_s >= LENGTH_S
    await page.hover(LATENCY, at / end_s)
    (readout,) = await page.evaluate(SHOWN)
    assert "the server made no progress for 1.5" in readout
    assert "p99" in readout
    assert await page.evaluate("abatchReport.charts.load.cursor.left > 0"), "the charts share a cursor"
    assert await page.evaluate("abatchReport.charts.latency.bbox.width === abatchReport.charts.load.bbox.width")

    for wait in ("itl", "max_gap"):
        await page.evaluate(f"abatchReport.select({{wait: '{wait}', waitClass: 'all'}})")
        await page.hover(LATENCY, at / end_s)
        (readout,) = await page.evaluate(SHOWN)
        assert "max" in readout

    rows = await page.evaluate("abatchReport.charts.sessions.scales.y.max")
    names = await page.evaluate("abatchReport.data.runs[0].sessions.lines.map((line) => line.name)")
    row = names.index("agent-112") + 1.5  # below the heading of its class
    end_s = await page.evaluate("abatchReport.charts.sessions.scales.x.max")
    await page.hover(SESSIONS, 20.5 / end_s, row / rows)
    (readout,) = await page.evaluate(SHOWN)
    assert "agent-112, turn" in readout
    assert "ttft" in readout
    assert "tokens" in readout
    await page.hover(SESSIONS, 22.9 / end_s, row / rows)
    (readout,) = await page.evaluate(SHOWN)
    assert "kept: returned" in readout
    assert "5 blocks" in readout


async def test_a_stretch_of_time_is_drawn_larger_in_all_charts_of_a_run(page: Page, tmp_path: Path) -> None:
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path)[:1])))
    spans = (
        "['latency', 'errors', 'load', 'sessions'].map((name) => abatchReport.charts[name].scales.x)"
        ".map((x) => [x.min, x.max])"
    )
    whole = await page.evaluate(spans)
    end_s = whole[0][1]
    await page.drag(LATENCY, 15 / end_s, 30 / end_s)
    for low, high in await page.evaluate(spans):
        assert abs(low - 15) < 0.5
        assert abs(high - 30) < 0.5
    await page.click(LATENCY, times=2)
    assert await page.evaluate(spans) == whole


async def test_another_run_is_chosen_with_its_selector(page: Page, tmp_path: Path) -> None:
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path))))
    before = await page.evaluate("abatchReport.charts.latency.data[1]")
    await page.evaluate(
        "(() => { const box = document.querySelector('#over-time-chart select'); box.selectedIndex = 1;"
        "box.dispatchEvent(new Event('change')) })()"
    )
    assert await page.evaluate("abatchReport.charts.latency.data[1]") != before
    assert await page.evaluate("document.querySelector('#sessions-chart select').selectedIndex") == 1
    assert await page.evaluate("document.querySelectorAll('.uplot').length") == 6, "old charts are gone"


async def column(page: Page, table: str, index: int) -> list[Any]:
    rows = f"[...document.querySelectorAll('{table} tbody tr')]"
    found: list[Any] = await page.evaluate(f"{rows}.map((row) => row.cells[{index}].dataset.value)")
    return found


async def test_tables_are_sorted_by_mouse_and_by_keyboard(page: Page, tmp_path: Path) -> None:
    extra = sortable_table("Comparison", ["metric", "change"], [["a", "1.5"], ["b", "-3"], ["c", "-"]])
    opening = Opening("Two servers", [("answer", "Answer", extra)])
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path)[:1], opening)))
    original = await column(page, ".metrics", 0)
    await page.click(".metrics thead th:nth-child(4) button")
    found = [float(value) for value in await column(page, ".metrics", 3) if value]
    assert found == sorted(found, reverse=True)
    assert len(found) > 5
    assert await page.evaluate("document.querySelector('.metrics th:nth-child(4)').ariaSort") == "descending"
    await page.evaluate("document.querySelector('.metrics thead th:nth-child(7) button').focus()")
    await page.press("Enter")
    await page.press("Enter")
    values = await column(page, ".metrics", 6)
    found = [float(value) for value in values if value]
    assert found == sorted(found)
    assert values[len(found) :] == [""] * (len(values) - len(found)), "what has no value comes last"
    assert await page.evaluate("document.querySelectorAll('.metrics [aria-sort]').length") == 1
    await page.press("Enter")
    assert await column(page, ".metrics", 0) == original
    await page.click(".extra thead th:nth-child(2) button")
    assert await page.evaluate("[...document.querySelectorAll('.extra tbody td')].map((cell) => cell.innerText)") == [
        "1.5",
        "-3",
        "-",
    ]


async def test_light_and_dark_by_preference_and_by_button(page: Page, tmp_path: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    await page.prefer("light")
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path))))
    light = await page.evaluate(background)
    await page.prefer("dark")
    dark = await page.evaluate(background)
    assert light != dark
    await page.until("document.querySelector('#theme').innerText === 'Light'")
    await page.click("#theme")
    assert await page.evaluate(background) == light
    await page.click("#theme")
    assert await page.evaluate(background) == dark
    curve = await page.evaluate("abatchReport.charts.curves.series[1].stroke()")
    assert curve == await page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--run-0').trim()")


HOSTILE = "</script><img src=x onerror=\"document.title='taken'\">"


async def test_hostile_names_are_only_names(page: Page, tmp_path: Path) -> None:
    results = [
        make_result(10.0 + number, due_s=number / 10, session_id=f"{HOSTILE}{number}", traffic_class=HOSTILE)
        for number in range(400)
    ]
    labels = {"workload": HOSTILE, "target": HOSTILE, "model": HOSTILE, "verdict_class": HOSTILE}
    runs = [_made_run(results, HOSTILE, labels), _made_run(results, HOSTILE, labels)]
    opening = Opening(HOSTILE, [("answer", HOSTILE, sortable_table(HOSTILE, [HOSTILE], [[HOSTILE]]))])
    await page.open(saved(tmp_path, render_html(runs, opening)))
    await page.hover(CURVES, 0.4)
    await page.hover(SESSIONS, 0.5)
    assert await page.evaluate("document.querySelectorAll('img').length") == 0
    assert await page.evaluate("document.title") == HOSTILE + " - abatch"
    assert await page.evaluate("abatchReport.data.runs[1].name") == HOSTILE + " (2)"


async def test_runs_without_anything_leave_no_error(page: Page, tmp_path: Path) -> None:
    await page.open(saved(tmp_path, render_html([_made_run([], "nothing", {})])))
    assert await page.evaluate("[...document.querySelectorAll('.chart')].map((chart) => chart.innerText)") == [
        "Nothing was measured.",
        "Nothing was measured.",
        "Nothing was measured.",
    ]
    runs = [
        _made_run([make_result()], "one", {}),
        _made_run([make_result(error="connect", first_s=None)], "failed", {}),
        _made_run([make_result(traffic_class=name) for name in "ab"], "classes", {"verdict_class": "b"}),
    ]
    await page.open(saved(tmp_path, render_html(runs)))
    for index in range(3):
        await page.evaluate(f"abatchReport.select({{run: {index}}})")
        await page.hover(SESSIONS, 0.5)
    await page.evaluate("abatchReport.select({metric: 'ttft', class: 'b'})")
    assert await page.evaluate("abatchReport.charts.curves.series.length") == 2


async def test_series_of_the_server_have_axes_of_their_own(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_series(runs: list[ShownRun]) -> ReportData:
        data = report_data(runs)
        times = [number / 2 for number in range(120)]
        for name, unit in (("running", "requests"), ("KV use", "%"), ("GPU power", "W")):
            data.runs[0].over_time.server.append(ServerSeries(name=name, unit=unit, t=times, v=[50.0] * 120))
        return data

    monkeypatch.setattr("abatch.reports.renderings.html.page.report_data", with_series)
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path))))
    assert await page.evaluate("abatchReport.charts.load.axes.map((axis) => axis.label ?? '')") == [
        "",
        "requests",
        "%",
        "W",
    ]
    assert await page.evaluate("abatchReport.charts.latency.bbox.width === abatchReport.charts.load.bbox.width")
    await page.hover("#over-time-chart .plot:nth-of-type(4) .u-over", 0.5)
    (readout,) = await page.evaluate(SHOWN)
    assert "50 %" in readout
    assert "50 W" in readout


def _made_run(results: list[Result], name: str, labels: dict[str, Any]) -> ShownRun:
    return _recorded(name, RunConfig(**labels), lambda: iter(results))


def _recorded(name: str, config: RunConfig, results: Any) -> ShownRun:
    recorder = Recorder(timed=())
    for result in results():
        recorder.add(result)
    return ShownRun(
        name=name,
        config=config,
        summary=fill_summary(config.new_summary(), recorder, 60.0),
        histograms={f"{metric}.{of}": histogram for metric, of, histogram in recorder.histograms()},
        results=results,
        steps=lambda: (),
        server_samples=lambda: (),
    )


def many_results(count: int) -> Iterator[Result]:
    """Requests of 21 tokens at 200 a second: a thousand sessions, of four classes."""
    random = Random(0)
    for number in range(count):
        session, turn = number % 1000, number // 1000
        yield make_result(
            random.lognormvariate(4, 1),
            gaps_ms=tuple(random.lognormvariate(3, 0.4) for _ in range(20)),
            due_s=turn * 6 + session / 200,
            session_id=f"session-{session}",
            turn_index=turn,
            traffic_class=("chat", "agent", "office", "always-on")[session % 4],
            pause=Pause.TOOL if turn else Pause.NONE,
        )


@pytest.mark.slow
@pytest.mark.parametrize("count", [25_000, pytest.param(100_000, marks=pytest.mark.nightly)])
async def test_many_requests_open_in_under_three_seconds(page: Page, tmp_path: Path, count: int) -> None:
    """Slow: each request is drawn and counted twice before the page has its data."""
    config = RunConfig(workload="mixed", target="http://x")
    html = render_html([_recorded("many", config, lambda: many_results(count))])
    assert len(html.encode()) < 5_000_000
    await page.open(saved(tmp_path, html))
    assert await page.evaluate("abatchReport.data.runs[0].curves.itl.all.count") == 20 * count
    assert await page.evaluate("abatchReport.data.runs[0].sessions.lines.reduce((n, line) => n + line.turns.length, 0)")
    ready_ms = await page.evaluate("abatchReport.readyMs")
    assert ready_ms < 3000
