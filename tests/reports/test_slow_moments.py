"""Rare slow moments of two targets: told where there are enough of them, and never of two equal ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random

import msgspec
import pytest
from abatch.reports.comparison.comparison import Comparison, compare
from abatch.reports.comparison.difference import Difference, Verdict
from abatch.reports.comparison.sentence import in_words
from abatch.reports.comparison.slow_moments import SlowMoments, slow_moments
from abatch.reports.run.measurement import Measurement
from abatch.reports.statistics.rare_events import chance_of_split, in_events
from abatch.reports.statistics.time_blocks import TimeBlocks
from abatch.workloads.result import Result
from support.known_queues import RATE, independent, queueing, remembering, stalled
from support.measured import LENGTH_S, measurement
from support.results import make_result


@pytest.mark.parametrize(
    ("first", "other", "share", "chance"),
    [
        ([40] * 4, [], 0.5, 0.125),
        ([], [40] * 4, 0.5, 0.125),
        ([40] * 10, [], 0.5, 2 / 1024),
        ([1] * 3, [1] * 3, 0.5, 1.0),
        ([1] * 5, [], 0.8, 1 - 5 * 0.8**4 * 0.2),
        ([], [], 0.5, 1.0),
    ],
)
def test_the_chance_of_equal_events_is_that_of_the_binomial_test(
    first: list[int], other: list[int], share: float, chance: float
) -> None:
    assert chance_of_split(first, other, share=share) == pytest.approx(chance)


def test_the_chance_is_that_of_all_permutations() -> None:
    first, other = [7, 1, 1], [2, 2, 30, 1]
    sizes = [*first, *other]
    apart = abs(sum(first) - sum(other))
    splits = [sum(size * side for size, side in zip(sizes, sides, strict=True)) for sides in product((1, -1), repeat=7)]
    expected = sum(abs(split) >= apart for split in splits) / len(splits)
    assert chance_of_split(first, other) == pytest.approx(expected)


def test_large_events_are_rounded_and_the_chance_stays() -> None:
    exact = chance_of_split([7, 1, 1], [2, 2, 30, 1])
    assert chance_of_split([7000, 1000, 1000], [2000, 2000, 30_000, 1000]) == pytest.approx(exact)


def test_neighbouring_stretches_are_one_event() -> None:
    assert in_events([0, 5, 7, 0, 0, 3]) == [12, 3]
    assert in_events([2, 5, 7, 2, 1, 3], usual=2) == [8, 1]
    assert in_events([0, 5, 7, 0, 0, 3, 0, 1], gap=1) == [12, 4]
    assert in_events([]) == in_events([0, 0]) == []


def pair(seed: int, count: int, load: float | None, stalls: int = 0) -> SlowMoments:
    queue = independent() if load is None else queueing(load)
    found = slow_moments(
        "ttft",
        [queue.time_blocks(f"a{seed}", count)],
        [stalled(queue, every_s=count / RATE / max(stalls, 1), num=stalls).time_blocks(f"b{seed}", count)],
    )
    assert found is not None
    return found


@pytest.mark.parametrize("load", [0.5, 0.8, pytest.param(0.95, marks=pytest.mark.nightly)])
def test_equal_targets_are_not_told_apart(load: float) -> None:
    """Of 20 pairs one is expected at most; long queues are few events, however many requests they hit."""
    assert sum(pair(seed, 2000, load).is_real for seed in range(20)) <= 2


def test_what_is_slow_for_a_while_is_one_event_however_often_it_dips() -> None:
    """Noise with a memory of 20 s, in runs of half a minute. By stretches alone, 5 of 20 pairs are told apart."""
    queue = remembering(20.0)
    runs = [[[queue.time_blocks(f"{name}{seed}", 600)] for name in "ab"] for seed in range(20, 40)]
    found = [slow_moments("ttft", *pair_of_runs) for pair_of_runs in runs]
    assert sum(one is not None and one.is_real for one in found) <= 2


def test_ten_freezes_against_none_are_told_and_four_cannot_be() -> None:
    """Of two seconds, in ten minutes."""
    for seed in range(3):
        ten = pair(seed, 12_000, None, stalls=10)
        assert ten.is_real, ten
        assert ten.is_other_worse
        assert ten.other_moments == 10
    assert not any(pair(seed, 12_000, None, stalls=4).is_real for seed in range(3))


def test_too_few_have_no_slowest_hundredth() -> None:
    few = TimeBlocks()
    few.add(0.0, [1000] * 299)
    assert slow_moments("ttft", [few], [few]) is None
    assert slow_moments("ttft", [], []) is None


def served(stalls: Sequence[float]) -> list[Result]:
    """A minute at 50 requests a second, with freezes of a third of a second."""
    random, found = Random(3 + len(stalls)), []
    for index in range(3000):
        due_s = LENGTH_S * index / 3000
        stall_s = next((start_s + 0.3 - due_s for start_s in stalls if start_s <= due_s < start_s + 0.3), 0.0)
        found.append(
            make_result(50 * random.lognormvariate(0, 0.5) + 1e3 * stall_s, due_s=due_s, session_id=str(index))
        )
    return found


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return measurement(tmp_path_factory.mktemp("old"), served([]))


def test_the_sentence_says_it(old: Measurement, tmp_path: Path) -> None:
    """Eight freezes, too few for the interval of the p99: most stretches have none."""
    found = compare({"old": old, "new": measurement(tmp_path, served([2.1 + 7 * number for number in range(8)]))})
    assert not any(one.is_real for one in found.targets[0].differences)
    words = found.targets[0].verdict
    assert words.startswith("new is worse than old in rare slow moments: of the slowest 1% of requests (ttft above ")
    assert " in 9 moments and old " in words, "one of them not by a freeze"
    assert words.endswith("(p = 0.016).")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found


def test_what_may_be_chance_is_left_out_of_the_sentence(old: Measurement, tmp_path: Path) -> None:
    found = compare({"old": old, "new": measurement(tmp_path, served([2.1 + 14 * number for number in range(4)]))})
    assert "moments" not in found.targets[0].verdict
    (of_ttft,) = (one for one in found.targets[0].slow_moments if one.metric == "ttft")
    assert of_ttft.chance > 0.05


def difference(statistic: str, verdict: Verdict) -> Difference:
    return Difference(
        metric="ttft", statistic=statistic, first=10, other=9, verdict=verdict, change=0.9, low=0.88, high=0.92
    )


def test_a_target_can_be_faster_and_have_rare_stalls() -> None:
    moments = SlowMoments(
        metric="ttft",
        threshold_ms=1230.0,
        first=1,
        other=400,
        first_moments=1,
        other_moments=9,
        chance=0.0078,
        is_other_worse=True,
    )
    faster = [difference("p50", Verdict.BETTER), difference("p99", Verdict.INCONCLUSIVE)]
    words = in_words("b", "a", faster, moments=[moments])
    assert words.startswith("b is better than a: ttft p50 -10.0%")
    assert words.endswith(
        "b is worse than a in rare slow moments: of the slowest 1% of requests (ttft above 1.23 s), b has 400 in 9 "
        "moments and a 1 in 1 moment (p = 0.0078)."
    )
    known = [difference("p50", Verdict.SAME), difference("p99", Verdict.WORSE)]
    assert "moments" not in in_words("b", "a", known, moments=[moments]), "its p99 says so already"
