"""Targets side by side: what is said to differ, in words and in tables."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.loop.step_account import EngineTotals
from abatch.reports.comparison.comparable import comparison_notes, refuse_incomparable
from abatch.reports.comparison.comparison import Comparison, compare
from abatch.reports.comparison.difference import RATIO, Difference, Floor, Verdict, without_false_ratios
from abatch.reports.comparison.sentence import in_words, percent
from abatch.reports.renderings.comparison.console import print_comparison
from abatch.reports.renderings.comparison.markdown import render_comparison_markdown
from abatch.reports.renderings.comparison.opening import comparison_opening
from abatch.reports.run.config import RunConfig
from abatch.reports.run.measurement import Measurement
from abatch.workloads.result import Result
from rich.console import Console
from support.measured import measurement, noisy
from support.results import make_result

_TRAFFIC = {"seed": 0}
_ENGINE = EngineTotals(num_steps=100, host_s=0.1, device_busy_s=9.0, device_idle_s=1.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measurement]:
    folder = tmp_path_factory.mktemp("runs")
    failing = [
        make_result(due_s=index / 20, session_id=str(index), error="http_503" if index % 4 == 0 else None)
        for index in range(1200)
    ]
    return {
        "base": measurement(folder / "base", noisy(1, count=2400), engine=_ENGINE),
        "again": measurement(folder / "again", noisy(2, count=2400), engine=_ENGINE),
        "slower": measurement(folder / "slower", noisy(3, count=2400, factor=1.4)),
        "few": measurement(folder / "few", noisy(4, count=60), simulated=True, warnings=["half of it is made up"]),
        "failing": measurement(folder / "failing", failing),
        "broken off": measurement(folder / "broken", noisy(5), is_complete=False),
    }


def picked(runs: dict[str, Measurement], *names: str) -> dict[str, Measurement]:
    return {name: runs[name] for name in names}


def shown(runs: dict[str, Measurement], comparison: Comparison | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, no_color=True, highlight=False)
    print_comparison(console, comparison or compare(runs), {name: one.summary for name, one in runs.items()})
    return out.getvalue()


def verdicts(comparison: Comparison, target: int = 0) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in comparison.targets[target].differences}


def cells(text: str, row: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{row} ")]
    return line.removeprefix(row).split()


def test_a_slower_server_is_worse_in_times_and_no_more_uneven(runs: dict[str, Measurement]) -> None:
    comparison = compare(picked(runs, "base", "slower"))
    found = verdicts(comparison)
    assert {name for name, verdict in found.items() if verdict is Verdict.WORSE} == {
        *("ttft p50", "ttft p99", "itl p50", "itl p99", "max_gap p50", "max_gap p99", "e2e p50", "e2e p99")
    }
    assert Verdict.BETTER not in found.values()
    assert comparison.targets[0].verdict.startswith("slower is worse than base: ")
    for one in comparison.targets[0].differences:
        if one.is_real:
            assert one.low is not None
            assert one.high is not None
            assert one.low < 1.4 < one.high
    assert verdicts(compare(picked(runs, "slower", "base")))["ttft p50"] is Verdict.BETTER


def test_the_same_server_is_not_told_from_itself(runs: dict[str, Measurement]) -> None:
    comparison = compare(picked(runs, "base", "again"))
    assert not any(one.is_real for one in comparison.targets[0].differences)
    assert comparison.targets[0].verdict.startswith("No difference found between again and base, but one may have been")
    recommended = comparison.targets[0].recommended_requests["ttft"]
    assert recommended > 2400
    assert f"ttft {recommended:,} requests" in " ".join(shown(picked(runs, "base", "again")).split())


def test_what_is_below_the_floor_is_the_same(runs: dict[str, Measurement]) -> None:
    wide = compare(picked(runs, "base", "again"), floor=Floor(share=0.5, ms=0.1))
    assert verdicts(wide)["ttft p50"] is Verdict.SAME
    assert "No difference above the floor" in wide.targets[0].verdict
    in_time = compare(picked(runs, "base", "slower"), floor=Floor(share=0.0, ms=1000.0))
    assert verdicts(in_time)["ttft p99"] is Verdict.SAME
    assert verdicts(compare(picked(runs, "base", "slower"), floor=Floor(share=0.6)))["ttft p50"] is Verdict.SAME


def test_many_targets_widen_the_intervals(runs: dict[str, Measurement]) -> None:
    two = compare(picked(runs, "base", "slower")).interval_confidence
    three = compare(picked(runs, "base", "slower", "again")).interval_confidence
    assert 1 - three == pytest.approx((1 - two) / 2, rel=1e-3)


def test_the_table_has_all_targets_and_marks_what_is_real(runs: dict[str, Measurement]) -> None:
    text = shown(picked(runs, "base", "again", "slower"))
    assert cells(text, "ms") == ["base", "again", "slower"]
    base, again, mark, slower, change = cells(text, "ttft p50")
    assert float(base) == pytest.approx(50, rel=0.05)
    assert float(again) == pytest.approx(50, rel=0.05)
    assert mark == "?"
    assert float(slower) == pytest.approx(70, rel=0.05)
    assert change.startswith("+")
    assert cells(text, "device idle") == ["10.00%", "10.00%", "-"]
    assert max(map(len, text.splitlines())) <= 80
    assert "failed" not in text


def test_what_must_be_known_first_comes_first(runs: dict[str, Measurement]) -> None:
    text = shown(picked(runs, "few", "base"))
    assert text.startswith("SIMULATED")
    assert "note: few: half of it is made up" in text
    assert cells(text, "ttft p99")[-2:] == ["too", "few"]
    text = shown(picked(runs, "base", "failing"))
    assert text.startswith("ERRORS: failing: 25% of the requests failed (300 of 1,200): HTTP 503")
    assert "Cannot compare failing and base" in text
    text = " ".join(text.split())
    assert "0.00% of the first's requests failed and 25.00% of the other's (95% CI of the difference +2" in text
    assert shown(picked(runs, "base", "broken off")).startswith("INTERRUPTED: broken off did not finish")
    comparison = compare(picked(runs, "base", "again"))
    comparison.failed = {"gone": "cannot reach it"}
    assert shown(picked(runs, "base", "again"), comparison).startswith("FAILED: gone: cannot reach it")


def test_markdown_and_page_say_what_the_terminal_says(runs: dict[str, Measurement]) -> None:
    chosen = picked(runs, "base", "slower")
    comparison, summaries = compare(chosen), {name: one.summary for name, one in chosen.items()}
    markdown = render_comparison_markdown(comparison, summaries, {})
    assert "slower is worse than base" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len({row.count(" |") for row in rows}) == 1, "as many cells in each row"
    opening = comparison_opening(comparison, summaries)
    answer, differences, intervals = (html for _, _, html in opening.sections)
    assert opening.title == "slower against base: mixed"
    assert comparison.targets[0].quote in answer
    assert len({row.count("<td") for row in differences.split("<tr>")[2:]}) == 1, "as many cells in each row"
    assert intervals.count("point bad real") == len([one for one in comparison.targets[0].differences if one.is_real])


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.55, "-45%"),
        (0.967, "-3.3%"),
        (1.5, "+50%"),
        (2.88, "x2.9"),
        (150.0, "x150"),
        (0.006, "-99.4%"),
        (1.0, "+0.0%"),
    ],
)
def test_a_change_in_words(ratio: float, words: str) -> None:
    assert percent(ratio) == words


def test_better_here_and_worse_there_is_said_in_one_sentence() -> None:
    def real(metric: str, verdict: Verdict, change: float) -> Difference:
        return msgspec.structs.replace(_difference("p99", verdict, change, reach=1.0), metric=metric)

    found = [real("ttft", Verdict.BETTER, 0.5), real("itl", Verdict.WORSE, 1.3)]
    assert in_words("b", "a", found) == (
        "b is better than a in ttft p99 -50% (-50% to -50%), 100.0 -> 50.00 ms; and worse in itl p99 +30% (+30% to "
        "+30%), 100.0 -> 130.0 ms."
    )


def _difference(statistic: str, verdict: Verdict, change: float, reach: float = 1.02) -> Difference:
    return Difference(
        metric="ttft",
        statistic=statistic,
        first=100.0,
        other=100 * change,
        verdict=verdict,
        change=change,
        low=change / reach,
        high=change * reach,
    )


@pytest.mark.parametrize(
    ("p99", "of_ratio", "said"),
    [
        (Verdict.INCONCLUSIVE, Verdict.BETTER, Verdict.INCONCLUSIVE),
        (Verdict.WORSE, Verdict.BETTER, Verdict.INCONCLUSIVE),
        (Verdict.SAME, Verdict.BETTER, Verdict.BETTER),
        (Verdict.BETTER, Verdict.BETTER, Verdict.BETTER),
        (Verdict.BETTER, Verdict.WORSE, Verdict.INCONCLUSIVE),
        (Verdict.WORSE, Verdict.WORSE, Verdict.WORSE),
    ],
)
def test_a_ratio_that_falls_because_the_median_rose_is_no_improvement(
    p99: Verdict, of_ratio: Verdict, said: Verdict
) -> None:
    found = [_difference("p50", Verdict.WORSE, 1.3), _difference("p99", p99, 1.0), _difference(RATIO, of_ratio, 0.8)]
    assert [one.verdict for one in without_false_ratios(found)] == [Verdict.WORSE, p99, said]


def test_a_server_that_is_slower_by_the_median_is_not_called_better(tmp_path: Path) -> None:
    """Every request takes 20 ms longer, the slow ones too: p99/p50 falls from 4 to 3."""

    def served(seed: int, extra_ms: float) -> list[Result]:
        random = Random(seed)
        times_ms = [random.uniform(9, 11) * (4 if index % 20 == 7 else 1) + extra_ms for index in range(2400)]
        return [make_result(ms, due_s=index / 40, session_id=str(index)) for index, ms in enumerate(times_ms)]

    runs = {name: measurement(tmp_path / name, served(*of)) for name, of in (("a", (1, 0.0)), ("b", (2, 5.0)))}
    found = verdicts(compare(runs))
    assert found["ttft p50"] is Verdict.WORSE
    assert found["ttft p99/p50"] is Verdict.INCONCLUSIVE
    (ratio,) = (one for one in compare(runs).targets[0].differences if one.name == "ttft p99/p50")
    assert ratio.high is not None
    assert ratio.high < 1, "the ratio itself is known to be lower"


def test_the_times_behind_a_ratio_are_named() -> None:
    found = [
        _difference("p50", Verdict.INCONCLUSIVE, 0.99),
        _difference("p99", Verdict.SAME, 0.99),
        _difference(RATIO, Verdict.BETTER, 0.9),
    ]
    assert in_words("b", "a", found) == (
        "b is better than a: ttft p99/p50 -10.0% (-12% to -8.2%), 100.00 -> 90.00 (p50 -1.0% (-2.9% to +1.0%), "
        "p99 -1.0% (-2.9% to +1.0%))."
    )


def test_what_is_not_trusted_is_named_where_something_else_is() -> None:
    untrusted = _difference("p99", Verdict.UNTRUSTED, 2.0)
    assert in_words("b", "a", [untrusted]) == "Cannot compare b and a: one of the measurements is not trusted."
    judged = msgspec.structs.replace(_difference("p99", Verdict.SAME, 1.0), metric="e2e")
    assert in_words("b", "a", [untrusted, judged]).startswith("Cannot compare b and a in ttft: ")


def test_intervals_that_say_nothing_are_not_printed(runs: dict[str, Measurement]) -> None:
    wild = [_difference("p99", Verdict.INCONCLUSIVE, 2.0, reach=1e13)]
    assert in_words("b", "a", wild) == (
        "No difference found between b and a, and ttft p99 may have changed by any factor: one run each is too few; "
        "measure in rounds (--rounds 6)."
    )
    assert "measure in more rounds" in in_words("b", "a", wild, rounds=4)
    comparison = compare(picked(runs, "base", "again"))
    comparison.targets[0].recommended_requests = {"ttft": 12_000, "e2e": 25_022_240_313}
    comparison.targets[0].differences = wild
    text = " ".join(shown(picked(runs, "base", "again"), comparison).split())
    assert "needs: ttft 12,000 requests; no practical number of requests would tell for e2e" in text
    assert "25,022" not in text
    comparison.rounds, comparison.targets[0].recommended_rounds = 2, {"ttft": 4217}
    text = " ".join(shown(picked(runs, "base", "again"), comparison).split())
    assert "no practical number of requests would tell for ttft, e2e" in text
    sections = comparison_opening(comparison, {n: r.summary for n, r in runs.items()}).sections
    assert "(by any factor)" in "".join(html for _, _, html in sections)


def test_notes_on_runs_of_another_day_machine_and_software() -> None:
    before = RunConfig(started_at="2026-11-20T12:00:00+00:00", model="m", traffic={"seed": 1}, provenance={"cpu": "a"})
    after = RunConfig(started_at="2026-11-25T12:00:00+00:00", model="n", traffic={"seed": 2}, provenance={"cpu": "b"})
    text = "; ".join(comparison_notes(before, after))
    assert "the traffic was not the same" in text
    assert "measured 5 days apart" in text
    assert "the models differ: m and n" in text
    assert "cpu a and b" in text
    assert comparison_notes(before, before) == []


@pytest.mark.parametrize(
    ("first", "other", "mentions"),
    [
        ({"cache": "cold", "text_salt": "a"}, {"cache": "cold", "text_salt": "b"}, None),
        ({"cache": "cold", "text_salt": "a"}, {"cache": "cold", "text_salt": "a"}, "the same texts (--text-salt)"),
        ({"cache": "as-is"}, {"cache": "as-is"}, "--cache as-is: both were sent the same texts"),
        ({"cache": "warm"}, {"cache": "warm"}, "--cache warm: the first prompts of sessions were sent once"),
        ({"cache": "cold"}, {}, None),
        ({"cache": "as-is", "simulated": True}, {"cache": "as-is", "simulated": True}, None),
        ({"cache": "warm", "simulated": True}, {"cache": "warm", "simulated": True}, "--cache warm"),
    ],
)
def test_what_prefix_caches_may_have_known_is_said(
    first: dict[str, Any], other: dict[str, Any], mentions: str | None
) -> None:
    notes = comparison_notes(RunConfig(traffic=_TRAFFIC, **first), RunConfig(traffic=_TRAFFIC, **other))
    assert [mentions in note for note in notes if mentions] == [True] * (mentions is not None)
    assert bool(notes) == (mentions is not None)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="workload 'mixed', b of 'hol-probe'"):
        refuse_incomparable([RunConfig(workload="mixed"), RunConfig(workload="hol-probe")], ["a", "b"])
    with pytest.raises(ConfigurationError, match="simulated"):
        refuse_incomparable([RunConfig(), RunConfig(simulated=True)], ["a", "b"])


def test_rounds_are_pooled_exactly(tmp_path: Path) -> None:
    rounds = [noisy(seed) for seed in (1, 2)]
    pooled = measurement(tmp_path / "two", *rounds, engine=_ENGINE)
    whole = measurement(tmp_path / "one", [*rounds[0], *rounds[1]])
    assert pooled.summary.requests == whole.summary.requests == 2400
    for metric, by_class in whole.summary.metrics.items():
        for traffic_class, value in by_class.items():
            other = pooled.summary.metrics[metric][traffic_class]
            assert (other.count, other.p50_ms, other.p99_ms, other.max_ms) == (
                *(value.count, value.p50_ms, value.p99_ms, value.max_ms),
            )
    assert pooled.summary.measured_s == 120.0
    assert pooled.summary.engine is not None
    assert pooled.summary.engine.num_steps == 200
    assert pooled.summary.engine.device_idle == pytest.approx(0.1)


def test_a_tail_ratio_that_the_whole_runs_contradict_is_not_told(tmp_path: Path) -> None:
    """One server is slow for long stretches and even in each; the other is always as uneven within them."""
    slow_at_times = [
        make_result(
            (500.0 if int(index / 100) % 2 else 5.0) * (1 + 0.01 * (index % 7)), due_s=index / 20, session_id=str(index)
        )
        for index in range(1200)
    ]
    uneven = [
        make_result(10.0 if index % 10 else 60.0, due_s=index / 20, session_id=str(index)) for index in range(1200)
    ]
    runs = {name: measurement(tmp_path / name, of) for name, of in (("waves", slow_at_times), ("uneven", uneven))}
    found = next(one for one in compare(runs).targets[0].differences if one.name == "ttft p99/p50")
    assert found.other < found.first
    assert found.change is not None
    assert found.change > 2
    assert found.verdict is Verdict.INCONCLUSIVE


def test_rounds_that_contradict_each_other_are_no_traceback(tmp_path: Path) -> None:
    first = measurement(tmp_path / "first", noisy(1), noisy(2))
    other = measurement(tmp_path / "other", noisy(1), noisy(2, factor=30.0))
    runs = {"first": first, "other": other}
    text = shown(runs)
    assert "No difference found between other and first" in " ".join(text.split())
    assert "the rounds differ by more than chance" in " ".join(text.split())
