"""How much longer a tool is expected to take."""

from __future__ import annotations

import pytest
from abatch.engine.parking.pauses import PauseEstimator
from hypothesis import given
from hypothesis import strategies as st

_PAUSES = st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.floats(0, 1e5)), max_size=60)


def estimator(**pauses: list[float]) -> PauseEstimator:
    """One that has seen these pauses, by tool."""
    result = PauseEstimator()
    for tool, values in pauses.items():
        for value in values:
            result.observe(tool, value)
    return result


def test_the_remaining_time_is_the_mean_of_what_took_longer_less_what_has_passed() -> None:
    seen = estimator(grep=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0])
    assert seen.remaining_s("grep", 0.0) == pytest.approx(31 / 7)
    assert seen.remaining_s("grep", 2.0) == pytest.approx((3 + 4 + 5 + 6 + 10) / 5 - 2.0)


def test_tools_are_told_apart() -> None:
    seen = estimator(fast=[0.1] * 5, slow=[30.0] * 5)
    assert seen.remaining_s("fast", 0.0) == pytest.approx(0.1)
    assert seen.remaining_s("slow", 0.0) == pytest.approx(30.0)


def test_a_pause_without_a_tool_is_a_kind_of_its_own() -> None:
    seen = estimator(fast=[0.1] * 50)
    for _ in range(5):
        seen.observe(None, 60.0)
    assert seen.remaining_s(None, 0.0) == pytest.approx(60.0)


def test_of_a_tool_seen_too_seldom_all_tools_are_asked() -> None:
    seen = estimator(often=[2.0] * 4, new=[10.0])
    assert seen.remaining_s("new", 0.0) == pytest.approx(18 / 5)
    assert seen.remaining_s("never", 0.0) == pytest.approx(18 / 5)
    assert seen.remaining_s("often", 0.0) == pytest.approx(18 / 5), "four pauses are too few to go by"


def test_a_pause_longer_than_most_of_its_tool_is_judged_by_all_tools_that_took_longer() -> None:
    seen = estimator(fast=[0.1] * 20, slow=[30.0] * 5)
    assert seen.remaining_s("fast", 1.0) == pytest.approx(29.0)


@pytest.mark.parametrize(("elapsed_s", "expected_s"), [(0.2, 0.5), (7.0, 7.0), (3600.0, 3600.0)])
@pytest.mark.parametrize("seen", [PauseEstimator(), estimator(grep=[0.1] * 100)], ids=["nothing", "short ones"])
def test_a_pause_longer_than_all_is_expected_to_last_as_long_again(
    seen: PauseEstimator, elapsed_s: float, expected_s: float
) -> None:
    assert seen.remaining_s("grep", elapsed_s) == expected_s


def test_only_the_latest_256_pauses_of_a_tool_count() -> None:
    seen = estimator(grep=[100.0] * 256 + [1.0] * 255)
    assert seen.remaining_s("grep", 0.0) == pytest.approx((100 + 255) / 256)
    seen.observe("grep", 1.0)
    assert seen.remaining_s("grep", 0.0) == pytest.approx(1.0), "what it took before it changed is forgotten"


def test_names_beyond_a_thousand_share_what_is_known_of_all() -> None:
    seen = PauseEstimator()
    for number in range(3000):
        for _ in range(5):
            seen.observe(f"tool-{number}", float(number))
    assert len(seen._by_tool) == 1024, "names come from outside: they may not fill the memory"
    assert seen.remaining_s("tool-1000", 0.0) == pytest.approx(1000.0)
    pooled = [float(2999 - number // 5) for number in range(256)]
    assert seen.remaining_s("tool-2000", 0.0) == pytest.approx(sum(pooled) / 256)


@pytest.mark.parametrize(("share", "expected_s"), [(0.0, 1.0), (0.5, 6.0), (0.9, 10.0), (1.0, 10.0)])
def test_quantiles_of_what_was_seen(share: float, expected_s: float) -> None:
    seen = estimator(grep=[float(value) for value in range(1, 11)])
    assert seen.quantile_s("grep", 0.0, share) == expected_s


def test_a_quantile_is_counted_from_now_and_over_what_took_longer() -> None:
    seen = estimator(grep=[float(value) for value in range(1, 11)])
    assert seen.quantile_s("grep", 4.0, 0.5) == 8.0 - 4.0


def test_quantiles_of_the_guess() -> None:
    assert PauseEstimator().quantile_s("grep", 10.0, 0.5) == pytest.approx(10.0), "its median: as long again"
    assert PauseEstimator().quantile_s("grep", 10.0, 0.9) == pytest.approx(90.0)


@given(_PAUSES, st.sampled_from([None, "a", "b", "c"]), st.floats(0, 2e5), st.floats(0, 0.99))
def test_nothing_expected_is_negative(
    pauses: list[tuple[str | None, float]], tool: str | None, elapsed_s: float, share: float
) -> None:
    seen = PauseEstimator()
    for name, pause_s in pauses:
        seen.observe(name, pause_s)
    assert seen.remaining_s(tool, elapsed_s) >= 0
    assert seen.quantile_s(tool, elapsed_s, share) >= 0


@given(st.floats(0.01, 1e4), st.integers(5, 300), st.lists(st.floats(0, 0.999), min_size=2, max_size=20))
def test_of_a_tool_that_always_takes_the_same_the_rest_shrinks_as_time_passes(
    latency_s: float, num_calls: int, shares: list[float]
) -> None:
    seen = estimator(grep=[latency_s] * num_calls)
    rests = [seen.remaining_s("grep", latency_s * share) for share in sorted(shares)]
    assert rests == sorted(rests, reverse=True)
    assert rests[0] == pytest.approx(latency_s * (1 - min(shares)), rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(0, 100), min_size=257, max_size=600))
def test_what_is_kept_is_the_window_in_order(pauses: list[float]) -> None:
    seen = estimator(grep=pauses)
    assert seen._by_tool["grep"].longer_than(-1.0) == sorted(pauses[-256:])
