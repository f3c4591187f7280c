"""The HTML report in windows of all widths, and its charts of pauses and errors, in a browser."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from abatch.reports.renderings.html.opening import Opening, sortable_table
from abatch.reports.renderings.html.page import render_html
from support.browser import CHROMIUM, Page, open_browser
from support.html_pages import SHOWN, fixed_runs, saved

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; CI installs one")

WIDER = """[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, nav, .hidden, .readout'))
    .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map((one) => `${one.tagName}.${one.className}`)"""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with open_browser(tmp_path / "profile") as page:
        yield page
        assert page.complaints == []


async def test_no_window_is_too_narrow(page: Page, tmp_path: Path) -> None:
    """A phone, a tablet, a desk: what is wider scrolls in its own box, and long names are cut from the left."""
    first, second = fixed_runs(tmp_path)
    name = f"runs/{'a-very-long-folder' * 6}/http-some-host.example.com-8000"
    table = sortable_table("x" * 200, [f"column {number}" for number in range(20)], [["y" * 40] * 20])
    opening = Opening(name, [("more", "x" * 200, table)])
    path = saved(tmp_path, render_html([dataclasses.replace(first, name=name), second], opening))
    for width in (360, 390, 768, 1200):
        await page.resize(width, 800)
        await page.open(path)
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert await page.evaluate(WIDER) == []
    await page.resize(700, 800)
    await page.until("abatchReport.charts.curves.width < 700")
    drawn = "Object.values(abatchReport.charts).every((chart) => chart.width === charts_width(chart))"
    assert await page.evaluate(drawn.replace("charts_width(chart)", "chart.root.parentElement.clientWidth"))


async def test_a_turn_after_a_pause_can_be_read(page: Page, tmp_path: Path) -> None:
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path)[:1])))
    at = (
        "(() => { const u = abatchReport.charts.pauses, [x, y] = abatchReport.data.runs[0].pauses.points[60];"
        "return [u.valToPos(x, 'x') / u.over.clientWidth, u.valToPos(y / 1e3, 'y') / u.over.clientHeight] })()"
    )
    await page.hover("#pauses-chart .u-over", *(await page.evaluate(at)))
    (shown,) = await page.evaluate(SHOWN)
    for words in (", turn ", "pause", "ttft", "prompt, cached tokens"):
        assert words in shown


async def test_errors_over_time_are_told_by_class(page: Page, tmp_path: Path) -> None:
    await page.open(saved(tmp_path, render_html(fixed_runs(tmp_path)[:1])))
    heights = await page.evaluate("abatchReport.charts.errors.data[1]")
    place = next(at for at, height in enumerate(heights) if height)
    times = await page.evaluate("abatchReport.charts.errors.data[0]")
    await page.hover("#over-time-chart .plot:nth-child(3) .u-over", times[place] / times[-1])
    assert any("HTTP 500" in shown for shown in await page.evaluate(SHOWN))
