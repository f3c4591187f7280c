"""The sentence that people quote: how many times slower or faster, in which number, and how far off that may be."""

from __future__ import annotations

from collections.abc import Sequence

from ..formatting import listed
from .answer_agreement import AnswerAgreement
from .difference import Difference, Floor, Verdict
from .sentence import SAYS_NOTHING, change_in_words, rare_moments, reach, value_in_words
from .slow_moments import SlowMoments

_MOST_NAMED = 3
_SHOWN_DIGITS = 0.01
"""A factor closer to 1 than this is given with a digit more."""


def quote(
    name: str,
    first: str,
    differences: Sequence[Difference],
    floor: Floor,
    *,
    why_not: str | None = None,
    moments: Sequence[SlowMoments] = (),
    answers: AnswerAgreement | None = None,
    is_simulated: bool = False,
) -> str:
    """`B is 1.39x slower than A in ttft p50 (1.20x to 1.60x).`: one sentence that holds without its surroundings.

    It names the number that differs most for certain: of each interval, the end that is nearer to no change counts.
    Where one target is better here and worse there, it names both.

    Args:
        name: Of the target.
        first: The first one's, which it is compared with.
        differences: Of all numbers that are compared.
        floor: Of a difference that matters.
        why_not: Why the two cannot be compared; None if they can.
        moments: The slowest requests of both, by metric.
        answers: Whether they answer alike; None if that was not checked.
        is_simulated: The numbers are a model's.
    """
    if why_not is not None:
        return f"{name} and {first} cannot be compared: {why_not}."
    shares = [one for one in differences if one.is_share]
    differences = [one for one in differences if not one.is_share]
    words = _difference(name, first, differences, moments) or _none(name, first, differences, floor)
    for share in shares:
        if share.is_real:
            words += f"; {_goodput(share, name, first)}"
    if answers is not None and answers.stable_differ:
        words += f", and {name} answers {answers.stable_differ} of {answers.prompts} greedy prompts differently"
    return f"{'In simulation, ' * is_simulated}{words}."


def _difference(name: str, first: str, differences: Sequence[Difference], moments: Sequence[SlowMoments]) -> str | None:
    """What really differs; None if nothing does."""
    absolute = [one for one in differences if one.is_real and not one.is_relative]
    real = sorted(absolute or [one for one in differences if one.is_real], key=_certain, reverse=True)
    rare = rare_moments(differences, moments)
    if not real:
        if rare is None:
            return None
        return f"{name} has {_more(rare)} rare slow moments than {first} (p = {rare.chance:.2g})"
    main = real[0]
    opposite = next((one for one in real if one.verdict is not main.verdict), None)
    words = f"{name} is {_factor(main)} than {first} in {_number(main)}"
    if main.is_relative:
        words = f"{name} has {_relative(main)} than {first}"
    words += f" ({_interval(main)})"
    if opposite is not None:
        in_what = f"{_factor(opposite)} in {_number(opposite)}" if not opposite.is_relative else _relative(opposite)
        words += f", but {in_what} ({_interval(opposite)})"
    if rare is not None:
        words += f", and has {_more(rare)} rare slow moments (p = {rare.chance:.2g})"
    return words


def _none(name: str, first: str, differences: Sequence[Difference], floor: Floor) -> str:
    """What can be said where nothing is known to differ."""
    same = [_number(one) for one in differences if one.verdict is Verdict.SAME]
    unclear = [one for one in differences if one.verdict is Verdict.INCONCLUSIVE]
    unclear = [one for one in unclear if not one.is_relative] or unclear
    if any(one.verdict is Verdict.UNTRUSTED for one in differences) and not same + unclear:
        return f"{name} and {first} cannot be compared: one of the measurements is not trusted"
    if not same and not unclear:
        return f"{name} and {first} cannot be compared: there are too few samples"
    if not unclear:
        return f"{name} is as fast as {first}: no difference above {_least(floor)} in {_names(same)}"
    widest = max(unclear, key=reach)
    says = f"may be {_range(widest)} in {_number(widest)}"
    if same:
        return f"{name} and {first} do not differ by more than {_least(floor)} in {_names(same)}; {name} {says}"
    return f"No difference shown between {name} and {first}: {name} {says}"


def _goodput(share: Difference, name: str, first: str) -> str:
    """`B meets the objectives in 91.2% of requests and A in 97.0% (-5.8 points, -7.9 to -3.6)`."""
    values = f"{value_in_words(share, share.other)} of requests and {first} in {value_in_words(share, share.first)}"
    return f"{name} meets the objectives in {values} ({change_in_words(share).replace(' (', ', ')}"


def _certain(difference: Difference) -> float:
    """The factor that it differs by at least."""
    assert difference.low is not None
    assert difference.high is not None
    return max(difference.low, 1 / difference.high)


def _number(difference: Difference) -> str:
    return difference.name.replace("output_tokens_per_s", "output tokens/s")


def _factor(difference: Difference) -> str:
    """`1.39x slower`."""
    (ratio,) = _shown(*_oriented(difference)[:1])
    return f"{ratio} {'slower' if difference.verdict is Verdict.WORSE else 'faster'}"


def _relative(difference: Difference) -> str:
    """`a 1.39x higher ttft p99/p50`: of a number that says how uneven or how crowded a target is."""
    (ratio,) = _shown(*_oriented(difference)[:1])
    return f"a {ratio} {'higher' if difference.verdict is Verdict.WORSE else 'lower'} {_number(difference)}"


def _interval(difference: Difference) -> str:
    _, low, high = _oriented(difference)
    if reach(difference) > SAYS_NOTHING:
        return f"at least {_shown(low)[0]}"
    return " to ".join(_shown(low, high))


def _oriented(difference: Difference) -> tuple[float, float, float]:
    """Its change and the ends of its interval as factors above 1."""
    assert difference.change is not None
    assert difference.low is not None
    assert difference.high is not None
    if difference.change >= 1:
        return difference.change, difference.low, difference.high
    return 1 / difference.change, 1 / difference.high, 1 / difference.low


def _range(difference: Difference) -> str:
    """`anything from 1.2x faster to 1.3x slower`."""
    assert difference.low is not None
    assert difference.high is not None
    if reach(difference) > SAYS_NOTHING:
        return "faster or slower by any factor" if not difference.is_relative else "better or worse by any factor"
    ends = sorted((_side(difference, difference.low), _side(difference, difference.high)), key=lambda end: end[0])
    return f"anything from {ends[0][1]} to {ends[1][1]}"


def _side(difference: Difference, ratio: float) -> tuple[float, str]:
    """An end of an interval: how bad it is, and in words."""
    badness = ratio if difference.is_less_better else 1 / ratio
    better, worse = ("lower", "higher") if difference.is_relative else ("faster", "slower")
    return badness, f"{_shown(max(badness, 1 / badness))[0]} {worse if badness >= 1 else better}"


def _shown(*factors: float) -> list[str]:
    """Factors above 1, all with as many digits."""
    digits = 3 if any(1 < factor < 1 + _SHOWN_DIGITS for factor in factors) else 2
    return [
        f"{factor:.{digits}f}x" if factor < 10 else f"{factor:.1f}x" if factor < 100 else f"{factor:,.0f}x"
        for factor in factors
    ]


def _more(moments: SlowMoments) -> str:
    return "more" if moments.is_other_worse else "fewer"


def _least(floor: Floor) -> str:
    return f"{floor.share:.0%} or {floor.ms:g} ms" if floor.ms else f"{floor.share:.0%}"


def _names(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMED + 1:
        return listed(names)
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} other numbers"
