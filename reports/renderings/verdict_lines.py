"""What a run comes to, in words: verdict, offending metric and by how much, likely cause, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.text import Text

from ..formatting import milliseconds, one_line
from ..recording.recorder import ALL, JUDGED
from ..summary.causes import ADVICE, Attribution, Cause
from ..summary.doubts import doubts_with
from ..summary.metric import MetricSummary
from ..summary.state import FLAG_RATIO, MIN_SAMPLES, State
from ..summary.summary import Summary
from .server_facts import stall_facts

SIMULATED = Text("SIMULATED: no real device ran; these are a model's numbers", style="bold magenta")
"""The first line of whatever shows numbers of a simulated device."""


def verdict_lines(summary: Summary) -> list[Text]:
    """A line each: what to know before all else, the verdict's class, the other classes, causes, what to do."""
    lines: list[Text] = []
    traffic_class = summary.verdict_class
    if not summary.is_complete:
        text = "INTERRUPTED: this run did not finish; what follows is the part that was saved"
        lines.append(Text(text, style="bold yellow"))
    if summary.simulated:
        lines.append(SIMULATED)
    measured = {
        metric: summary.metrics[metric][traffic_class]
        for metric in JUDGED
        if traffic_class in summary.metrics.get(metric, {})
    }
    if summary.succeeded == 0 and not measured:
        return [*lines, Text("NO VERDICT: no request succeeded", style="bold red")]
    suspects = _suspects(measured)
    lines += [*_class_lines(summary, measured, suspects), *_other_classes(summary)]
    if summary.attribution is not None:
        lines += _cause_lines(summary.attribution, suspects)
    return lines


def _suspects(measured: Mapping[str, MetricSummary]) -> dict[str, MetricSummary]:
    """The metrics with a tail, those that are flagged before those that may be; the largest ratio first."""
    by_ratio = sorted(measured.items(), key=lambda item: -item[1].tail_ratio)
    return {
        metric: value
        for verdict in (State.FLAGGED, State.BORDERLINE)
        for metric, value in by_ratio
        if value.verdict is verdict
    }


def _class_lines(
    summary: Summary, measured: Mapping[str, MetricSummary], suspects: Mapping[str, MetricSummary]
) -> Iterator[Text]:
    """What the class of the verdict comes to, and whether that can be believed."""
    of_class = "" if summary.verdict_class == ALL else f" in class {one_line(summary.verdict_class)}"
    for metric, value in suspects.items():
        style = "bold red" if value.verdict is State.FLAGGED else "bold yellow"
        yield _line(value.verdict.upper(), style, _ratio_in_words(metric, value, of_class))
    judged = [metric for metric, value in measured.items() if value.verdict is not State.TOO_FEW]
    problems = doubts_with(summary, judged, summary.verdict_class)
    for problem in problems:
        yield _line("NOT TRUSTED", "bold yellow", problem)
    if not measured:
        yield Text(f"NO VERDICT: nothing{of_class} succeeded", style="bold red")
    if judged and not suspects and not problems:
        yield _line("OK", "bold green", f"no p99 above {FLAG_RATIO:g}x its median{of_class} ({', '.join(judged)})")
    unjudged = [f"{metric} ({value.count})" for metric, value in measured.items() if value.verdict is State.TOO_FEW]
    if unjudged:
        what = f"under {MIN_SAMPLES} samples{of_class}: {', '.join(unjudged)}; run longer for a p99"
        yield _line("TOO FEW", "yellow", what)


def _line(word: str, style: str, text: str) -> Text:
    return Text(word, style=style) + Text(f": {text}", style="default")


def _other_classes(summary: Summary) -> Iterator[Text]:
    """The verdicts of the classes that the run's verdict is not about, a line each."""
    classes = dict.fromkeys(name for metric in JUDGED for name in summary.metrics.get(metric, {}))
    others = [name for name in classes if name not in (ALL, summary.verdict_class)]
    if summary.verdict_class == ALL and len(others) == 1:
        return  # the same once more
    for name in others:
        by_verdict: dict[State, list[str]] = {}
        for metric in JUDGED:
            if (value := summary.metrics.get(metric, {}).get(name)) is not None:
                count = f" ({value.count})" if value.verdict is State.TOO_FEW else f" {value.tail_ratio:.1f}x"
                by_verdict.setdefault(value.verdict, []).append(f"{metric}{count}")
        words = [f"{verdict} {', '.join(by_verdict[verdict])}" for verdict in _BY_WEIGHT if verdict in by_verdict]
        style = "bold red" if State.FLAGGED in by_verdict else "bold"
        yield _line("CLASS", style, f"{one_line(name)}: {'; '.join(words)}")


_BY_WEIGHT = (State.FLAGGED, State.BORDERLINE, State.OK, State.TOO_FEW)
_OF_METRIC = {"ttft": "ttft", "resume_ttft": "ttft", "e2e": "ttft", "itl": "itl", "max_gap": "itl"}
"""By metric, the waits whose causes are looked for."""
_MOST_STALLS = 3
_WHY = "bold cyan"


def _cause_lines(attribution: Attribution, suspects: Iterable[str]) -> list[Text]:
    """Why: the causes of the suspects that stand out, what to do about each, and what stood still."""
    lines: list[Text] = []
    named = []
    for metric in dict.fromkeys(_OF_METRIC[suspect] for suspect in suspects):
        if (causes := attribution.causes.get(metric)) is None:
            continue
        what = "gaps" if metric == "itl" else "first tokens"
        of_all = f"of {causes.events} {what} above {milliseconds(causes.threshold_ms)} ms"
        for share in causes.causes:
            if share.cause in causes.likely:
                by_chance = f"{share.base_rate:.0%} of ordinary ones"
                lines.append(_line("CAUSE", _WHY, f"{share.cause}: {share.share:.0%} {of_all} ({by_chance})"))
        named += causes.likely
        if not causes.likely:
            lines.append(_line("CAUSE", _WHY, f"unknown: no single one stands out {of_all}"))
    stalls = [stall for stall in attribution.stalls if stall.cause in (Cause.STALL, Cause.CLIENT)]
    for stall in stalls[:_MOST_STALLS]:
        who = "the client" if stall.cause is Cause.CLIENT else "the server"
        hit = f"{stall.streams} streams and {stall.waiting} waiting requests hit"
        if stall.server is not None and (said := stall_facts(stall.server)):
            hit += f"; {said}"
        lines.append(
            _line("STALL", _WHY, f"{who} stood still for {stall.length_s:.2f} s at {stall.start_s:.1f} s: {hit}")
        )
    if len(stalls) > _MOST_STALLS:
        lines.append(_line("STALL", _WHY, f"and {len(stalls) - _MOST_STALLS} more, in summary.json"))
    return [*lines, *(_line("ADVICE", _WHY, f"{cause}: {ADVICE[cause]}") for cause in dict.fromkeys(named))]


def _ratio_in_words(metric: str, value: MetricSummary, of_class: str) -> str:
    text = f"{metric} p99 is {value.tail_ratio:.1f}x its median{of_class} "
    text += f"({milliseconds(value.p50_ms)} -> {milliseconds(value.p99_ms)} ms"
    if (interval := value.tail_ratio_interval) is not None:
        text += f"; {interval.low:.1f}x to {interval.high:.1f}x at 95%"
    text += ")"
    if value.normalised_ratio is not None:
        text += f"; {value.normalised_ratio:.1f}x for the size of each request"
        if value.normalised_ratio <= FLAG_RATIO:
            text += ": the workload's doing, not the server's"
    return text
