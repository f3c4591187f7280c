"""The HTML report: complete without scripts, safe whatever is in it, and true to the summary."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from random import Random
from typing import Any

import pytest
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.session import ParkEvent
from abatch.reports.gates.judge import Judgement, Outcome
from abatch.reports.recording.recorder import Recorder, new_histogram
from abatch.reports.renderings.html import assets
from abatch.reports.renderings.html.curves import curve, grid
from abatch.reports.renderings.html.markup import element, embedded_json, inline
from abatch.reports.renderings.html.over_time import OverTimeCollector
from abatch.reports.renderings.html.page import DATA_ID, SCRIPT, render_html
from abatch.reports.renderings.html.section import Section
from abatch.reports.renderings.html.session_lines import MOST_SESSIONS, SessionCollector
from abatch.reports.renderings.html.time_bins import PresenceBins, ValueBins
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.run.config import RunConfig
from abatch.reports.statistics.percentile import value_at
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from support.fixed_run import FREEZE_AT_S, FREEZE_FOR_S, write_fixed_run
from support.results import make_result
from support.shown import shown_run

HOSTILE = "</script><img src=x onerror=\"alert('1')\"><!--\u2028&amp;"


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    return shown_run(write_fixed_run(tmp_path_factory.mktemp("fixed") / "run"), "fixed")


@pytest.fixture(scope="module")
def page(fixed: ShownRun) -> str:
    return render_html([fixed])


def made_run(results: list[Result], name: str = "made", **labels: Any) -> ShownRun:
    """A run of these results that never was on disk."""
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    histograms = {f"{metric}.{of}": histogram for metric, of, histogram in recorder.histograms()}
    config = RunConfig(**{key: value for key, value in labels.items() if key in RunConfig.__struct_fields__})
    summary = fill_summary(Summary(**labels), recorder, 10.0)
    return ShownRun(
        name=name,
        config=config,
        summary=summary,
        histograms=histograms,
        results=lambda: results,
        steps=lambda: (),
        server_samples=lambda: (),
    )


def data_of(html: str) -> Any:
    """What the page's script would draw."""
    found = re.search(rf'<script type="application/json" id="{DATA_ID}">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


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
    assert sections == ["verdict", "curves", "tail-ratios", "over-time", "sessions", "metrics", "facts"]
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
    section = Section(HOSTILE, [HOSTILE], [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]])
    html = render_html([run, fixed], [section])
    found = Structure(html)
    assert "img" not in {tag for tag, _ in found.elements}
    assert html.lower().count("<img") == 0
    assert html.count("<!--") == 0
    assert [attributes["id"] for tag, attributes in found.elements if tag == "section"][1] == "extra-1"
    data = data_of(html)
    assert data["runs"][0]["name"] == HOSTILE
    assert HOSTILE in data["runs"][0]["curves"]["ttft"]
    assert HOSTILE in found.shown()


def test_embedded_json_cannot_end_its_element() -> None:
    encoded = json.dumps({HOSTILE: HOSTILE + "\u2029"}, ensure_ascii=False).encode()
    text = embedded_json("x", encoded)
    inside = text.removeprefix('<script type="application/json" id="x">').removesuffix("</script>\n")
    assert not set("<>&\u2028\u2029") & set(inside)
    assert json.loads(inside) == json.loads(encoded)
    with pytest.raises(ValueError, match="its own end"):
        inline("script", "x = '</SCRIPT >'")
    assert element("p", "a<b", title='"') == '<p title="&quot;">a&lt;b</p>'


def test_a_folders_name_may_be_any_bytes() -> None:
    name = b"run-\xff".decode(errors="surrogateescape")
    html = render_html([made_run([make_result()], name), made_run([make_result()], "run-?"), made_run([], "")])
    assert [run["name"] for run in data_of(html)["runs"]] == ["run-?", "run-? (2)", "run"]
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
    assert sum(over["failed"]) > 0


def test_bins_are_bounded_and_lose_nothing() -> None:
    collector, random, results = OverTimeCollector(), Random(0), []
    for number in range(3000):
        due_s = random.uniform(0, 1) ** 3 * 5000
        gaps_ms = tuple(random.uniform(1, 30_000) for _ in range(number % 4))
        results.append(
            make_result(random.uniform(1, 9000), gaps_ms=gaps_ms, due_s=due_s, traffic_class="ab"[number % 2])
        )
        collector.add(results[-1])
    found = collector.over_time(made_run(results), ["all", "a"])
    num_bins = len(found.in_flight)
    assert 40 <= num_bins <= 320
    ttft, itl = found.latency["ttft"], found.latency["itl"]
    assert sum(ttft["all"].n) == 3000
    assert sum(ttft["a"].n) == 1500
    assert sum(itl["all"].n) == sum(len(result.gaps_us) for result in results)
    in_flight_s = sum(found.in_flight) * found.bin_s
    assert in_flight_s == pytest.approx(sum(result.end_s - result.due_s for result in results), rel=1e-3)
    expected = [0] * num_bins
    longest = [0] * num_bins
    for result in results:
        at_s = result.first_s or 0.0
        for gap_us in result.gaps_us:
            place = int(at_s / found.bin_s)
            expected[place] += 1
            longest[place] = max(longest[place], gap_us)
            at_s += gap_us / 1e6
    assert sum(abs(a - b) for a, b in zip(itl["all"].n, expected, strict=True)) <= 4, "but for rounding at the edges"
    same = sum((a or 0) == b for a, b in zip(itl["all"].max, longest, strict=True))
    assert same >= num_bins - 4


def test_quantiles_of_bins_are_true_to_half_a_percent() -> None:
    random, bins = Random(1), ValueBins()
    values = [round(random.lognormvariate(10, 1)) for _ in range(1001)]
    bins.add(1, values[:500])
    bins.add(0, values[500:])
    bins.coarsen()
    ordered = sorted(values)
    assert bins.quantile_us(0.5, 2) == [pytest.approx(ordered[500], rel=0.006), None]
    assert bins.quantile_us(0.99, 2) == [pytest.approx(ordered[990], rel=0.006), None]
    assert bins.largest_us(2) == [ordered[-1], None]
    assert bins.counts(2) == [1001, 0]


def test_presence_is_a_mean_over_each_bin() -> None:
    bins = PresenceBins()
    bins.begin(0, 0.5)
    bins.end(2, 2.25)
    assert bins.means(4, 1.0) == [0.5, 1.0, 0.25, 0.0]
    bins.coarsen()
    assert bins.means(2, 2.0) == [0.75, 0.12]


def turns(number: int, traffic_class: str, count: int = 3) -> Iterator[Result]:
    for turn in range(count):
        yield make_result(
            due_s=number + turn, session_id=f"{traffic_class}-{number}", traffic_class=traffic_class, turn_index=turn,
            pause=Pause.TOOL if turn else Pause.NONE,
        )  # fmt: skip


def test_sessions_are_a_fair_sample_with_all_of_their_turns() -> None:
    def sample(order: int) -> list[tuple[str, int]]:
        collector = SessionCollector()
        results = [result for number in range(500) for result in turns(number, "chat")]
        results += [result for number in range(7) for result in turns(number, "agent")]
        for result in sorted(results, key=lambda result: order * result.end_s):
            collector.add(result)
        found = collector.session_lines((), 0.0)
        assert found.num_sessions == {"agent": 7, "chat": 500}
        return [(line.name, len(line.turns)) for line in found.lines]

    found = sample(1)
    assert len(found) == MOST_SESSIONS
    assert sum(name.startswith("agent") for name, _ in found) == 7
    assert {count for _, count in found} == {3}
    assert found == sample(1)
    chats = [int(name.removeprefix("chat-")) for name, _ in found[7:]]
    assert chats == sorted(chats)
    assert 150 < sum(chats) / len(chats) < 350, "from all of the run"


def test_long_sessions_are_cut_and_say_so() -> None:
    collector = SessionCollector()
    for result in turns(0, "agent", 500):
        collector.add(result)
    (line,) = collector.session_lines((), 0.0).lines
    assert len(line.turns) + line.left_out == 500
    assert line.left_out == 100


def test_parking_is_joined_by_either_name() -> None:
    collector = SessionCollector()
    for result in [*turns(0, "agent"), *turns(1, "agent")]:
        collector.add(result)
    over_http = "run/" + hashlib.blake2b(b"agent-1", digest_size=16).hexdigest()
    events = [
        ParkEvent("agent-0", "keep", 5, "search", 1.5),
        ParkEvent(over_http, "drop", 2),
        ParkEvent("no", "keep", 1),
    ]
    step = StepRecord(0, 101.5, 101.5, 101.5, 102, 102, 102, 1, 0, 1, 0, 0, 1, parking=events)
    first, second = collector.session_lines([step], 100.0).lines
    assert [(mark.at_s, mark.action, mark.num_blocks, mark.remaining_s) for mark in first.parking] == [
        (1.5, "keep", 5, 1.5)
    ]
    assert [mark.action for mark in second.parking] == ["drop"]


@pytest.mark.parametrize(
    ("name", "checksum"),
    [
        ("uPlot.iife.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
        ("uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
        ("uPlot.LICENSE", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"),
    ],
)
def test_the_library_is_as_it_was_published(name: str, checksum: str) -> None:
    assert hashlib.sha256(resources.files(assets).joinpath(name).read_bytes()).hexdigest() == checksum


def test_the_licence_is_in_the_page(page: str) -> None:
    assert "The MIT License (MIT)" in page
    assert "Copyright (c) 2022 Leon Sorokin" in page


def test_dark_colours_are_the_same_by_preference_and_by_button() -> None:
    style = resources.files(assets).joinpath("report.css").read_text()
    blocks = re.findall(r"color-scheme: dark;(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 2
    assert blocks[0].split() == blocks[1].split()
    light = set(re.findall(r"(--[\w-]+):", style[: style.index("@media")]))
    assert light == set(re.findall(r"(--[\w-]+):", blocks[0]))


SCRIPT_FOLDER = resources.files(assets).joinpath("script")


def test_the_script_names_only_colours_that_there_are() -> None:
    style = resources.files(assets).joinpath("report.css").read_text()
    script = "".join(SCRIPT_FOLDER.joinpath(f"{name}.js").read_text() for name in SCRIPT)
    found = re.findall(r'colour\("([\w-]+)"\)', script)
    assert len(found) > 5
    for name in found:
        assert f"--{name}:" in style, name


def test_the_script_is_one_strict_closure_of_all_its_files(page: str) -> None:
    assert sorted(SCRIPT) == sorted(path.name[:-3] for path in SCRIPT_FOLDER.iterdir() if path.name.endswith(".js"))
    script = page[page.rindex("<script>\n") :]
    assert script.startswith('<script>\n"use strict";\n(() => {\n')
    assert script.partition("</script>")[0].endswith("})();\n")


def test_each_file_of_the_script_uses_itself_and_those_before_it() -> None:
    """They share one scope, in which functions are there before they are declared: nothing else would tell."""
    later: set[str] = set()
    for name in reversed(SCRIPT):
        text = SCRIPT_FOLDER.joinpath(f"{name}.js").read_text()
        own = re.findall(r"^(?:const|let|function) (\w+)", text, re.MULTILINE)
        assert own
        assert not later.intersection(own), "two things of one name"
        code = re.sub(r"//.*|\"[^\"]*\"", "", text)
        used = {word for word in later if re.search(rf"(?<![\w.$]){word}\b(?!:)", code)}
        assert not used, f"{name}.js uses {used} of later files"
        later.update(own)
