"""Several targets under the same traffic: what really differs between the first of them and the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ..formatting import points
from ..recording.recorder import JUDGED, TTFA
from ..run.command import Command
from ..run.measurement import Measurement
from ..statistics.interval import CONFIDENCE
from ..statistics.proportion import difference_interval
from ..summary.answers import why_answers_differ
from ..summary.doubts import doubts_of_comparison
from ..summary.summary import Summary, independent_of_errors, independent_of_pair, share_failed
from .answer_agreement import AnswerAgreement
from .change import changes, rate_change
from .comparable import comparison_notes
from .difference import (
    POWER,
    Compared,
    Difference,
    Floor,
    Verdict,
    compared_statistics,
    latency_difference,
    throughput_difference,
    without_false_ratios,
)
from .goodput import goodput_difference
from .pair import Look, Pair
from .quote import quote
from .rare_stalls import stalls_in_words
from .same_traffic import is_paired, why_traffic_differs
from .sentence import in_words
from .slow_moments import LOOKED_AT, SlowMoments, slow_moments
from .slowdown import COMPARED_SLOWDOWNS, slowdown_differences

DEFAULT_EFFECT = 0.1
_ERRORS_APART = 0.01


class ComparedTarget(msgspec.Struct, kw_only=True):
    """A target against the first.

    Attributes:
        differences: Of every metric that both have, in the class of the verdict.
        verdict: In a sentence or two.
        quote: In the one sentence that people quote.
        slow_moments: Which side the slowest 1% of requests are on, by ttft and by the longest gap.
        notes: What a reader should know before believing it.
        answers: Whether it gives the same answers; None if that was not checked.
        recommended_requests: By metric, how many each target needs to detect a change of `effect` with 90% power.
        recommended_rounds: Likewise.
    """

    name: str
    differences: list[Difference]
    verdict: str
    quote: str = ""
    slow_moments: list[SlowMoments] = []
    notes: list[str] = []
    answers: AnswerAgreement | None = None
    recommended_requests: dict[str, int] = {}
    recommended_rounds: dict[str, int] = {}


class Comparison(msgspec.Struct, kw_only=True):
    """What comparison.json holds.

    Attributes:
        first: The target that the others are compared with.
        confidence: At which all intervals hold together.
        interval_confidence: Of each interval by itself (Bonferroni: many looks find something by chance).
        floor: Differences below it do not matter.
        effect: The smallest change of a p99 worth detecting, as a share.
        failed: Targets that could not be measured to the end, with the reason.
        command: What repeats it; None: it is of saved runs, or an older version saved it.
    """

    first: str
    traffic_class: str
    rounds: int
    confidence: float
    interval_confidence: float
    floor: Floor
    effect: float
    targets: list[ComparedTarget] = []
    failed: dict[str, str] = {}
    command: Command | None = None


def compare(
    measurements: Mapping[str, Measurement],
    *,
    floor: Floor | None = None,
    effect: float = DEFAULT_EFFECT,
    percentiles: Iterable[float] = (),
    agreements: Mapping[str, AnswerAgreement] | None = None,
) -> Comparison:
    """Compare targets with the first of them.

    Args:
        measurements: By name; two at least. Where they have several rounds, the same number of each.
        floor: Differences too small to matter.
        effect: The smallest change of a p99 worth detecting, as a share; requests are recommended for it.
        percentiles: That are compared beside p50 and p99. Those beyond p99 are shown, and not judged.
        agreements: By target, whether it gives the same answers as the first, where that was checked.

    Raises:
        ConfigurationError: a run folder is damaged.
    """
    (first_name, first), *others = measurements.items()
    floor = floor or Floor()
    num_metrics = max((len(_metrics(first, other)) for _, other in others), default=len(JUDGED))
    statistics = compared_statistics(percentiles)
    num_of_metric = sum(one.is_judged for one in statistics)
    has_goodput = all(one.summary.goodput is not None for one in measurements.values())
    num_intervals = num_metrics * num_of_metric + 1 + len(COMPARED_SLOWDOWNS) + has_goodput
    confidence = 1 - (1 - CONFIDENCE) / (num_intervals * max(len(others), 1))
    comparison = Comparison(
        first=first_name,
        traffic_class=first.summary.verdict_class,
        rounds=len(first.rounds),
        confidence=CONFIDENCE,
        interval_confidence=round(confidence, 6),
        floor=floor,
        effect=effect,
    )
    look = Look(confidence, floor, effect, statistics)
    for name, other in others:
        answers = agreements.get(name) if agreements else None
        comparison.targets.append(_target(name, (first_name, first), other, look, answers))
    return comparison


def _target(
    name: str, base: tuple[str, Measurement], other: Measurement, look: Look, answers: AnswerAgreement | None
) -> ComparedTarget:
    first_name, first = base
    why_not = why_traffic_differs((first.config, first_name), (other.config, name)) or why_answers_differ(
        first.summary, other.summary
    )
    is_trusted = why_not is None and not any(
        doubts_of_comparison(summary) for one in (first, other) for summary in (one.summary, *one.round_summaries)
    )
    pair = Pair(first, other, is_paired(first, other), is_trusted)
    found = [*_latencies(pair, look), _throughput(pair, look)]
    found += slowdown_differences(pair, look)
    if (goodput := goodput_difference(pair, look)) is not None:
        found.append(goodput)
    moments = list(_slow_moments(pair))
    requests = _recommended(found, pair)
    num_requests = max(pair.num_requests, 1)
    target = ComparedTarget(
        name=name,
        differences=found,
        verdict=in_words(name, first_name, found, rounds=len(first.rounds), moments=moments)
        if why_not is None
        else f"Cannot compare {name} and {first_name}: {why_not}.",
        quote=quote(
            name,
            first_name,
            found,
            look.floor,
            why_not=why_not,
            moments=moments,
            answers=answers,
            is_simulated=first.summary.simulated,
        ),
        slow_moments=moments,
        notes=_notes(first, other, compares=why_not is None),
        recommended_requests=requests,
        recommended_rounds={
            metric: math.ceil(len(first.rounds) * needed / num_requests) for metric, needed in requests.items()
        },
    )
    if answers is not None:
        _add_answers(target, answers, first_name)
    return target


def _metrics(first: Measurement, other: Measurement) -> Sequence[str]:
    """What is compared: what verdicts are about, and where both models think aloud, when their answers begin."""
    has_both = all(TTFA in one.summary.metrics for one in (first, other))
    return (JUDGED[0], TTFA, *JUDGED[1:]) if has_both else JUDGED


def _latencies(pair: Pair, look: Look) -> Iterator[Difference]:
    """Of every metric that both have."""
    for metric in _metrics(*pair.both):
        measured = [one.summary.metrics.get(metric, {}).get(pair.traffic_class) for one in pair.both]
        if measured[0] is None or measured[1] is None:
            continue
        judged = [compared for compared in look.statistics if compared.is_judged]
        of_judged = changes(*pair.blocks(metric), [one.of_distribution for one in judged], is_paired=pair.is_paired)
        by_name = {one.name: change for one, change in zip(judged, of_judged, strict=True)}
        of_target: list[Difference] = []
        is_fit = pair.is_fit(metric)
        for compared in look.statistics:
            values = _values(compared, metric, pair)
            if values is None:
                continue
            change = by_name.get(compared.name)
            difference = latency_difference(
                metric,
                compared,
                values,
                min(measured[0].count, measured[1].count),
                change,
                look.confidence,
                look.floor,
                is_trusted=is_fit,
            )
            if change is not None and compared.name == "p99":
                factor = change.size_factor(1 + look.effect, look.confidence, POWER)
                difference.needed_requests = math.ceil(pair.num_requests * factor)
            of_target.append(difference)
        yield from without_false_ratios(of_target)


def _values(compared: Compared, metric: str, pair: Pair) -> tuple[float, float] | None:
    """Of both targets; None if one does not know it."""
    found = []
    for one in pair.both:
        measured = one.summary.metrics[metric][pair.traffic_class]
        value = compared.value(measured, None)
        if value is None:
            value = compared.value(measured, one.histogram(metric, pair.traffic_class))
        found.append(value)
    first, other = found
    return None if first is None or other is None else (first, other)


def _throughput(pair: Pair, look: Look) -> Difference:
    rates = [one.rates(of_tokens=True) for one in pair.both]
    change = rate_change(*rates, is_paired=pair.is_paired)
    summaries = pair.first.summary, pair.other.summary
    return throughput_difference(summaries, change, look.confidence, look.floor, is_trusted=pair.is_trusted)


def _slow_moments(pair: Pair) -> Iterator[SlowMoments]:
    """By metric, where both have enough of it and nothing speaks against comparing it."""
    for metric in LOOKED_AT:
        has_both = all(pair.traffic_class in one.summary.metrics.get(metric, {}) for one in pair.both)
        if has_both and pair.is_fit(metric) and (found := slow_moments(metric, *pair.blocks(metric))) is not None:
            yield found


def _recommended(differences: Iterable[Difference], pair: Pair) -> dict[str, int]:
    """By metric, how many requests would detect a change of its p99, where these were too few."""
    return {
        one.metric: one.needed_requests
        for one in differences
        if one.needed_requests is not None
        and one.needed_requests > max(pair.num_requests, 1)
        and one.verdict is Verdict.INCONCLUSIVE
    }


def _add_answers(target: ComparedTarget, answers: AnswerAgreement, first_name: str) -> None:
    """Say whether it gives the same answers: in the verdict, if it does not."""
    target.answers = answers
    words = answers.in_words(target.name, first_name)
    if answers.stable_differ:
        is_better = any(difference.verdict is Verdict.BETTER for difference in target.differences)
        target.verdict += f" {'But' if is_better else 'Besides,'} {target.name} {words}."
    else:
        target.notes.append(words)


def _notes(first: Measurement, other: Measurement, *, compares: bool) -> list[str]:
    notes = comparison_notes(first.config, other.config) if compares else []
    for one, of_which in ((first, " of the first"), (other, "")):
        for number, summary in enumerate(one.round_summaries, 1):
            if len(one.rounds) > 1 and (problems := doubts_of_comparison(summary)):
                notes.append(f"round {number}{of_which} is not trusted: {problems[0].first_sentence}")
    if compares and (stalls := stalls_in_words(first, other)) is not None:
        notes.append(stalls)
    if (failures := failures_in_words(first.summary, other.summary)) is not None:
        notes.append(failures)
    return notes


def failures_in_words(first: Summary, other: Summary) -> str | None:
    """That one target failed more often, and whether that may be chance; None where neither is more than a little."""
    shares = [share_failed(one) for one in (first, other)]
    if min(first.requests, other.requests) == 0 or shares[0] == shares[1]:
        return None
    counts = independent_of_pair(independent_of_errors, first, other)
    interval = difference_interval(shares[1], counts[1], shares[0], counts[0])
    is_real = not interval.low <= 0 <= interval.high
    if not is_real and abs(shares[0] - shares[1]) <= _ERRORS_APART:
        return None
    return (
        f"{shares[0]:.2%} of the first's requests failed and {shares[1]:.2%} of the other's ({points(interval)}"
        f"{'' if is_real else ', so it may be chance'}): failed requests have no latency, and failures are often the "
        "slow ones"
    )
