"""Slowdowns of two targets: an interval of their difference, with the noise of both idle probes in it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from random import Random

import msgspec
import pytest
from abatch.reports.comparison.comparison import Comparison, compare
from abatch.reports.comparison.difference import SLOWDOWN, Difference, Verdict
from abatch.reports.comparison.sentence import in_words
from abatch.reports.comparison.slowdown import probe_error
from abatch.reports.recording.idle_model import IdleModel, IdlePoint, ProbedRequest, fit_idle
from abatch.reports.renderings.comparison.console import print_comparison
from abatch.reports.renderings.comparison.markdown import render_comparison_markdown
from abatch.reports.renderings.comparison.opening import comparison_opening
from abatch.reports.run.measurement import Measurement
from rich.console import Console
from support.measured import measurement, noisy

_SAME = {"seed": 1}


def idle(ttft_ms: float = 10.0, *, requests: int = 8, spread: float = 0.01) -> IdleModel:
    return IdleModel(
        requests=requests,
        is_probed=True,
        points=[IdlePoint(20.0, ttft_ms)],
        itl_base_ms=5.0,
        spread=spread,
        largest_prompt=20,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measurement]:
    folder = tmp_path_factory.mktemp("slowdowns")
    models = {
        "base": (1.0, idle()),
        "crowded": (1.4, idle()),
        "small": (1.4, idle(14.0)),
        "unsure": (1.4, idle(spread=4.0)),
        "once": (1.4, idle(requests=1)),
        "unprobed": (1.4, None),
    }
    return {
        name: measurement(folder / name, noisy(1, count=2400, factor=factor), idle=of_idle, traffic=_SAME)
        for name, (factor, of_idle) in models.items()
    }


def slowdowns(comparison: Comparison) -> dict[str, Difference]:
    return {one.name: one for one in comparison.targets[0].differences if one.statistic == SLOWDOWN}


def against_base(runs: Mapping[str, Measurement], name: str) -> tuple[Comparison, dict[str, Difference]]:
    comparison = compare({"base": runs["base"], name: runs[name]})
    return comparison, slowdowns(comparison)


def test_the_same_work_that_takes_longer_is_a_larger_slowdown(runs: dict[str, Measurement]) -> None:
    comparison, found = against_base(runs, "crowded")
    ttft = found["ttft slowdown p50"]
    assert ttft.verdict is found["e2e slowdown p50"].verdict is Verdict.WORSE
    assert ttft.low is not None
    assert ttft.high is not None
    assert 1.3 < ttft.low < 1.4 < ttft.high < 1.5
    assert "slowdown" not in comparison.targets[0].verdict, "the times say it already"


def test_a_slower_machine_that_is_no_more_crowded_has_the_same_slowdown(runs: dict[str, Measurement]) -> None:
    comparison, found = against_base(runs, "small")
    assert found["ttft slowdown p50"].verdict is Verdict.SAME
    assert "worse than base: " in comparison.targets[0].verdict


def test_the_noise_of_the_probe_is_in_the_interval(runs: dict[str, Measurement]) -> None:
    """All requests share it, so no stretch of time shows it."""
    assert against_base(runs, "unsure")[1]["ttft slowdown p50"].verdict is Verdict.INCONCLUSIVE
    assert against_base(runs, "once")[1]["ttft slowdown p50"].verdict is Verdict.TOO_FEW
    assert against_base(runs, "unprobed")[1] == {}


def test_every_rendering_has_the_interval(runs: dict[str, Measurement]) -> None:
    comparison, found = against_base(runs, "crowded")
    summaries = {name: runs[name].summary for name in ("base", "crowded")}
    out = io.StringIO()
    print_comparison(Console(file=out, width=80, no_color=True, highlight=False), comparison, summaries)
    (row,) = (line.split() for line in out.getvalue().splitlines() if line.startswith("ttft slowdown p50"))
    first, other, mark = row[3:]
    assert first.endswith("x")
    assert other.endswith("x")
    assert mark.startswith("+4")
    (line,) = (
        line
        for line in render_comparison_markdown(comparison, summaries, {}).splitlines()
        if line.startswith("| ttft slowdown p50")
    )
    assert "% (+3" in line
    table = next(html for name, _, html in comparison_opening(comparison, summaries).sections if name == "differences")
    assert "% (+3" in table.partition("ttft slowdown p50")[2].partition("</tr>")[0]
    saved = msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison)
    assert slowdowns(saved) == found


def test_a_slowdown_is_said_where_no_time_differs() -> None:
    found = [
        Difference(
            metric="ttft", statistic="p50", first=50, other=50, verdict=Verdict.SAME, change=1, low=0.99, high=1
        ),
        Difference(
            metric="ttft", statistic=SLOWDOWN, first=5, other=7, verdict=Verdict.WORSE, change=1.4, low=1.3, high=1.5
        ),
    ]
    assert in_words("b", "a", found) == "b is worse than a: ttft slowdown p50 +40% (+30% to +50%), 5.00x -> 7.00x."


def test_probes_of_one_server_agree_within_their_error() -> None:
    """Four sizes, two requests each, on a machine whose noise is a fifth of the work: 5 of 100 may be off by chance."""
    random = Random(27)

    def probed() -> IdleModel:
        requests = [
            ProbedRequest(tokens, tokens / 20 * (1 + random.expovariate(5.0)), None)
            for tokens in (100, 400, 1600, 6400)
            for _ in range(2)
        ]
        model = fit_idle(requests)
        assert model is not None
        return model

    missed, errors = 0, []
    for _ in range(400):
        one, other = probed(), probed()
        apart = math.log(one.ttft_ms(400) / other.ttft_ms(400))
        found = [probe_error([model]) for model in (one, other)]
        assert None not in found
        errors.append(math.hypot(*(error or 0.0 for error in found)))
        missed += abs(apart) > 1.96 * errors[-1]
    assert missed <= 20
    assert sum(errors) / len(errors) < 0.4, "no wider than the noise makes it"
