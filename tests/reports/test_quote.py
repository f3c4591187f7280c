"""The one sentence that people quote of a comparison: what it names, and what it must not hide."""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from abatch.cli.comparing.saved_targets import names_of
from abatch.reports.comparison.answer_agreement import AnswerAgreement
from abatch.reports.comparison.comparison import Comparison, compare
from abatch.reports.comparison.difference import RATIO, SLOWDOWN, THROUGHPUT, Difference, Floor, Verdict
from abatch.reports.comparison.quote import quote
from abatch.reports.comparison.slow_moments import SlowMoments
from abatch.reports.renderings.comparison.console import print_comparison
from abatch.reports.renderings.comparison.markdown import render_comparison_markdown
from abatch.reports.renderings.comparison.opening import comparison_opening
from abatch.reports.run.measurement import Measurement
from rich.console import Console
from support.measured import measurement, noisy

_GOLDEN = Path(__file__).parent / "golden"
_MOMENTS = SlowMoments(
    metric="ttft",
    threshold_ms=200.0,
    first=5,
    other=55,
    first_moments=5,
    other_moments=9,
    chance=0.016,
    is_other_worse=True,
)
_OTHER_ANSWERS = AnswerAgreement(prompts=16, equal=11, first_repeats=16, other_repeats=16, stable=16, stable_differ=5)


def difference(name: str, verdict: Verdict, change: float, low: float, high: float) -> Difference:
    metric, _, statistic = name.partition(" ")
    return Difference(
        metric=metric,
        statistic=statistic,
        first=100.0,
        other=100 * change,
        verdict=verdict,
        change=change,
        low=low,
        high=high,
    )


def worse(name: str, change: float, low: float, high: float) -> Difference:
    return difference(name, Verdict.WORSE, change, low, high)


def better(name: str, change: float, low: float, high: float) -> Difference:
    return difference(name, Verdict.BETTER, change, low, high)


def same(name: str) -> Difference:
    return difference(name, Verdict.SAME, 1.0, 0.99, 1.01)


def unclear(name: str, low: float = 0.8, high: float = 1.3) -> Difference:
    return difference(name, Verdict.INCONCLUSIVE, 1.0, low, high)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([worse("ttft p50", 1.39, 1.2, 1.6)], "B is 1.39x slower than A in ttft p50 (1.20x to 1.60x)."),
        ([better("ttft p50", 0.5, 0.4, 0.8)], "B is 2.00x faster than A in ttft p50 (1.25x to 2.50x)."),
        (
            [worse("ttft p50", 1.4, 1.3, 1.5), worse("e2e p99", 9.0, 1.1, 70.0)],
            "B is 1.40x slower than A in ttft p50 (1.30x to 1.50x).",
        ),
        (
            [worse("ttft p50", 1.4, 1.3, 1.5), better("itl p99", 0.8, 0.7, 0.9)],
            "B is 1.40x slower than A in ttft p50 (1.30x to 1.50x), but 1.25x faster in itl p99 (1.11x to 1.43x).",
        ),
        (
            [better(f"{THROUGHPUT} ", 1.5, 1.4, 1.6)],
            "B is 1.50x faster than A in output tokens/s (1.40x to 1.60x).",
        ),
        ([worse(f"ttft {RATIO}", 1.5, 1.4, 1.6)], "B has a 1.50x higher ttft p99/p50 than A (1.40x to 1.60x)."),
        ([better(f"ttft {SLOWDOWN}", 0.5, 0.4, 0.6)], "B has a 2.00x lower ttft slowdown p50 than A (1.67x to 2.50x)."),
        (
            [worse("ttft p50", 1.2, 1.1, 1.3), better(f"ttft {RATIO}", 0.1, 0.1, 0.1)],
            "B is 1.20x slower than A in ttft p50 (1.10x to 1.30x).",
        ),
        ([worse("ttft p50", 271.4, 200.0, 2000.0)], "B is 271x slower than A in ttft p50 (200x to 2,000x)."),
        ([worse("ttft p50", 1.02, 1.004, 1.03)], "B is 1.02x slower than A in ttft p50 (1.004x to 1.030x)."),
        ([worse("ttft p50", 40.0, 1.5, 9e9)], "B is 40.0x slower than A in ttft p50 (at least 1.50x)."),
    ],
)
def test_a_difference_is_a_factor_with_its_interval(found: Sequence[Difference], sentence: str) -> None:
    """What counts is the end of the interval that is nearer to no change, and times before ratios."""
    assert quote("B", "A", found, Floor()) == sentence


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            [unclear("ttft p50"), unclear("ttft p99", 0.5, 3.0)],
            "No difference shown between B and A: B may be anything from 2.00x faster to 3.00x slower in ttft p99.",
        ),
        (
            [unclear(f"{THROUGHPUT} ", 0.5, 1.25)],
            "No difference shown between B and A: B may be anything from 1.25x faster to 2.00x slower in output "
            "tokens/s.",
        ),
        (
            [unclear("ttft p99", 1e-6, 1e6)],
            "No difference shown between B and A: B may be faster or slower by any factor in ttft p99.",
        ),
        (
            [same("ttft p50"), same("itl p50"), unclear("ttft p99")],
            "B and A do not differ by more than 3% or 0.1 ms in ttft p50 and itl p50; B may be anything from 1.25x "
            "faster to 1.30x slower in ttft p99.",
        ),
        (
            [same("ttft p50"), same("ttft p99")],
            "B is as fast as A: no difference above 3% or 0.1 ms in ttft p50 and ttft p99.",
        ),
        (
            [same(f"{metric} p50") for metric in "abcde"],
            "B is as fast as A: no difference above 3% or 0.1 ms in a p50, b p50, c p50 and 2 other numbers.",
        ),
        (
            [difference("ttft p50", Verdict.UNTRUSTED, 2.0, 1.9, 2.1)],
            "B and A cannot be compared: one of the measurements is not trusted.",
        ),
        (
            [difference("ttft p50", Verdict.TOO_FEW, 2.0, 1.9, 2.1)],
            "B and A cannot be compared: there are too few samples.",
        ),
    ],
)
def test_what_is_not_known_is_not_said_to_be_equal(found: Sequence[Difference], sentence: str) -> None:
    assert quote("B", "A", found, Floor()) == sentence


def test_what_would_mislead_without_it_is_in_the_sentence() -> None:
    slower = [worse("ttft p50", 1.39, 1.2, 1.6)]
    assert quote("B", "A", slower, Floor(), is_simulated=True).startswith("In simulation, B is 1.39x slower than A in")
    assert quote("B", "A", slower, Floor(), answers=_OTHER_ANSWERS).endswith(
        " (1.20x to 1.60x), and B answers 5 of 16 greedy prompts differently."
    )
    assert quote("B", "A", slower, Floor(), moments=[_MOMENTS]).endswith(
        " (1.20x to 1.60x), and has more rare slow moments (p = 0.016)."
    )
    assert quote("B", "A", [unclear("ttft p99")], Floor(), moments=[_MOMENTS]) == (
        "B has more rare slow moments than A (p = 0.016)."
    )
    assert quote("B", "A", slower, Floor(), why_not="their answers differ in length") == (
        "B and A cannot be compared: their answers differ in length."
    )


def test_runs_called_alike_go_by_the_folders_above_them(tmp_path: Path) -> None:
    def names(*paths: str) -> list[str]:
        return names_of([tmp_path / path for path in paths])

    assert names("a/run", "b/other") == ["run", "other"]
    assert names("a/run", "b/run", "c/other") == ["a/run", "b/run", "other"]
    assert names("a/x/run", "b/x/run", "b/run") == ["a/x/run", "b/x/run", "b/run"]
    assert names("a/run", "a/run") == ["run (1)", "run (2)"], "the same one twice"
    assert names("a/run", "a/run", "b/run") == ["a/run (1)", "a/run (2)", "b/run"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measurement]:
    """A comparison of four: one is slower, one is the same, one has too few requests."""
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "old": measurement(folder / "old", noisy(1, count=600, spread=0.1), target="http://a:8000/v1_x"),
        "slow_*er": measurement(
            folder / "slower", noisy(1, count=600, spread=0.1, factor=1.4), target="https://b.example:8443"
        ),
        "again": measurement(folder / "again", noisy(2, count=600, spread=0.1), target="http://c:8000"),
        "few": measurement(folder / "few", noisy(3, count=60, spread=0.1), target="http://d:8000"),
    }
    for one in made.values():
        one.config.provenance = {}
    return made


@pytest.fixture(scope="module")
def comparison(runs: dict[str, Measurement]) -> Comparison:
    return compare(runs)


def _console(comparison: Comparison, runs: dict[str, Measurement], columns: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=columns, no_color=True, highlight=False)
    print_comparison(console, comparison, {name: one.summary for name, one in runs.items()})
    return out.getvalue()


def _markdown(comparison: Comparison, runs: dict[str, Measurement]) -> str:
    return render_comparison_markdown(comparison, {name: one.summary for name, one in runs.items()}, {})


def _json(comparison: Comparison, _: dict[str, Measurement]) -> str:
    return msgspec.json.format(msgspec.json.encode(comparison)).decode() + "\n"


def _page(comparison: Comparison, runs: dict[str, Measurement]) -> str:
    """What it begins with."""
    opening = comparison_opening(comparison, {name: one.summary for name, one in runs.items()})
    parts = [f"<h1>{opening.title}</h1>", *(f"<h2>{title}</h2>\n{content}" for _, title, content in opening.sections)]
    return re.sub(r"(</(?:p|tr|li|h3)>)", r"\1\n", "\n".join(parts)) + "\n"


_RENDERERS: dict[str, Callable[[Comparison, dict[str, Measurement]], str]] = {
    "comparison.txt": _console,
    "comparison.md": _markdown,
    "comparison.html": _page,
    "comparison.json": _json,
}


@pytest.mark.parametrize("name", _RENDERERS)
def test_each_form_of_a_comparison_is_as_it_was(
    name: str, comparison: Comparison, runs: dict[str, Measurement]
) -> None:
    """`ABATCH_UPDATE_GOLDEN=1` accepts what has changed."""
    path = _GOLDEN / name
    now = _RENDERERS[name](comparison, runs)
    if os.environ.get("ABATCH_UPDATE_GOLDEN") == "1":
        path.write_text(now)
    before = path.read_text() if path.exists() else ""
    difference = difflib.unified_diff(before.splitlines(), now.splitlines(), f"golden/{name}", "now", lineterm="")
    assert before == now, "\n".join(difference)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
def test_narrow_terminals_lose_targets_and_no_digit(
    columns: int, comparison: Comparison, runs: dict[str, Measurement]
) -> None:
    """The last targets go first, and are named; of the first one the mark stays in any case."""
    lines = _console(comparison, runs, columns).splitlines()
    row = next(line for line in lines if line.startswith(("ttft p", "ttft …")))
    assert max(map(len, lines)) <= columns
    assert "+40%" in row
    numbers = [word for word in row.split() if word.replace(".", "").isdigit()]
    assert set(numbers) <= {"50.46", "70.66", "49.85", "49.57"}
    text = " ".join(" ".join(lines).split())
    assert ("not shown at" in text) == (len(numbers) < 4)
    if columns == 40:
        assert "not shown at 40 columns: again, few (--html or --markdown FILE has all)" in text


def test_the_page_draws_what_is_better_to_the_left(comparison: Comparison, runs: dict[str, Measurement]) -> None:
    """More tokens per second are better, and more milliseconds worse."""
    opening = comparison_opening(comparison, {name: one.summary for name, one in runs.items()})
    plots = opening.sections[2][2]

    def place(number: str) -> float:
        row = plots.rpartition(f">{number}</th>")[2].partition("</tr>")[0]
        found = re.search(r'class="point [^"]*" style="left:([0-9.]+)%"', row)
        assert found is not None
        return float(found[1])

    assert place("output tokens/s") > 90, "a tenth of the tokens"
    slower = plots.partition("<h3>again</h3>")[0]
    assert "point bad real" in slower
    assert "point good" not in slower
