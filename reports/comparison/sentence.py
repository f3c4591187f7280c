"""A comparison in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..formatting import listed, milliseconds, times
from .difference import RATIO, SLOWDOWN, Difference, Verdict
from .slow_moments import SlowMoments

_MOST_NAMED = 4
SAYS_NOTHING = 1000.0
"""An interval whose ends are this far apart says nothing: its ends are not worth printing."""
_ENOUGH_ROUNDS = 6


def in_words(
    name: str, first: str, differences: Sequence[Difference], *, rounds: int = 1, moments: Sequence[SlowMoments] = ()
) -> str:
    """What differs between a target and the first one, the largest differences first; or what could not be decided.

    Args:
        name: Of the target.
        first: The first one's.
        differences: Of all numbers that are compared.
        rounds: That each was measured in.
        moments: The slowest requests of both, by metric.
    """
    of_moments = rare_moments(differences, moments)
    if of_moments is None:
        return _of_differences(name, first, differences, rounds)
    words = of_moments.in_words(name, first)
    if any(one.is_real for one in differences):
        return f"{_of_differences(name, first, differences, rounds)} {words}"
    return words


def rare_moments(differences: Sequence[Difference], moments: Sequence[SlowMoments]) -> SlowMoments | None:
    """The clearest of them that no p99 has said already."""
    said = {(one.metric, one.verdict) for one in differences if one.statistic == "p99"}
    told = [
        one
        for one in moments
        if one.is_real and (one.metric, Verdict.WORSE if one.is_other_worse else Verdict.BETTER) not in said
    ]
    return min(told, key=lambda one: one.chance, default=None)


def _of_differences(name: str, first: str, differences: Sequence[Difference], rounds: int) -> str:
    absolute = [one for one in differences if one.is_real and not one.is_relative]
    real = sorted(absolute or [one for one in differences if one.is_real], key=_size, reverse=True)
    by_verdict = {
        verdict: [one for one in real if one.verdict is verdict] for verdict in (Verdict.BETTER, Verdict.WORSE)
    }
    better, worse = by_verdict[Verdict.BETTER], by_verdict[Verdict.WORSE]
    if better and worse:
        return f"{name} is better than {first} in {_listed(better)}; and worse in {_listed(worse)}."
    if real:
        behind = "" if absolute or real[0].statistic != RATIO else f" ({_times_behind(real[0], differences)})"
        return f"{name} is {real[0].verdict} than {first}: {_listed(real)}{behind}."
    untrusted = list(dict.fromkeys(one.metric for one in differences if one.verdict is Verdict.UNTRUSTED))
    if untrusted:
        trusted = {one.metric for one in differences if one.verdict in (Verdict.SAME, Verdict.INCONCLUSIVE)}
        where = f" in {listed(untrusted)}" if trusted else ""
        return f"Cannot compare {name} and {first}{where}: one of the measurements is not trusted."
    unclear = [one for one in differences if one.verdict is Verdict.INCONCLUSIVE and one.statistic != SLOWDOWN]
    unclear = [one for one in unclear if not one.is_share]
    if unclear:
        widest = max(unclear, key=reach)
        if reach(widest) > SAYS_NOTHING:
            return (
                f"No difference found between {name} and {first}, and {widest.name} may have changed by any factor: "
                f"{'one run each is too few' if rounds == 1 else 'this is too few'}; measure in {_rounds(rounds)}."
            )
        return (
            f"No difference found between {name} and {first}, but one may have been missed: {widest.name} may have "
            f"changed by anything from {percent(widest.low)} to {percent(widest.high)}."
        )
    same = [one.name for one in differences if one.verdict is Verdict.SAME]
    if same:
        return f"No difference above the floor between {name} and {first}: {', '.join(same)}."
    return f"Too few samples to compare {name} with {first}: run longer."


def _rounds(rounds: int) -> str:
    return f"rounds (--rounds {_ENOUGH_ROUNDS})" if rounds == 1 else "more rounds, or longer ones"


def _times_behind(ratio: Difference, differences: Sequence[Difference]) -> str:
    """The times that a ratio is made of."""
    behind = [one for one in differences if one.metric == ratio.metric and one.statistic in ("p50", "p99")]
    return ", ".join(f"{one.statistic} {change_in_words(one)}" for one in behind)


def change_alone(difference: Difference) -> str:
    """A change without its interval: `-45%`, `x2.9`; of a share `+2.9 points`."""
    if difference.is_share and difference.change is not None:
        return f"{difference.change * 100:+.1f} points"
    return percent(difference.change)


def change_in_words(difference: Difference) -> str:
    """A change with its interval: `-45% (-52% to -37%)`."""
    if difference.change is None:
        return "-"
    if difference.is_share:
        assert difference.low is not None
        assert difference.high is not None
        return f"{change_alone(difference)} ({difference.low * 100:+.1f} to {difference.high * 100:+.1f})"
    if reach(difference) > SAYS_NOTHING:
        return f"{percent(difference.change)} (by any factor)"
    return f"{percent(difference.change)} ({percent(difference.low)} to {percent(difference.high)})"


def value_in_words(difference: Difference, value: float) -> str:
    """A value without its unit: milliseconds, a ratio or a rate; of a share percent."""
    if difference.is_share:
        return f"{value:.1%}"
    if difference.statistic == RATIO:
        return f"{value:.2f}"
    if difference.statistic == SLOWDOWN:
        return f"{times(value)}x"
    return milliseconds(value) if difference.statistic else f"{value:.0f}"


def _listed(differences: Sequence[Difference]) -> str:
    texts = [
        f"{one.name} {change_in_words(one)}, {value_in_words(one, one.first)} -> {value_in_words(one, one.other)}"
        f"{'' if one.is_relative or not one.statistic else ' ms'}"
        for one in differences[:_MOST_NAMED]
    ]
    if len(differences) > _MOST_NAMED:
        texts.append(f"and {len(differences) - _MOST_NAMED} more")
    return "; ".join(texts)


def _size(difference: Difference) -> float:
    assert difference.change is not None
    if difference.is_share:
        return 1 + abs(difference.change)
    return max(difference.change, 1 / difference.change)


def reach(difference: Difference) -> float:
    """How far apart the ends of its interval are, as a factor."""
    assert difference.low is not None
    assert difference.high is not None
    return difference.high / difference.low


def percent(ratio: float | None) -> str:
    """A quotient as a change: `-45%`, `+3.2%`, `-99.4%`, and as a factor where it is more than double: `x2.9`."""
    assert ratio is not None
    if ratio >= 2:
        return f"x{ratio:.{1 if ratio < 100 else 0}f}"
    has_digit = abs(ratio - 1) < 0.1 or ratio < 0.05
    return f"{(ratio - 1) * 100:+.{1 if has_digit else 0}f}%"
