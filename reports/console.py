"""A run on the terminal: the verdict first, then the numbers, then what to make of them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .attribution.cause import ADVICE, Cause
from .attribution.findings import Attribution
from .client_floor import floor_fact
from .client_summary import ClientSummary
from .expectation import FittedSizes
from .gates import Judgement, Outcome
from .milliseconds import milliseconds as milliseconds
from .recorder import ALL, RESUMES
from .server_facts import server_facts, stall_facts
from .summary import (
    FLAG_RATIO,
    MIN_SAMPLES,
    EngineSummary,
    MetricSummary,
    ParkingSummary,
    Summary,
    Verdict,
    doubts_with,
)

_SHOWN_METRICS = ("ttft", "fresh_ttft", "continued_ttft", *RESUMES, "itl", "max_gap", "tpot", "e2e", "session")
_VERDICT_METRICS = ("ttft", "resume_ttft", "itl", "max_gap", "e2e")
"""tpot is left out: an average over a request hides the stalls the verdict is about."""

_OUTCOME_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.INCONCLUSIVE: "yellow"}

SIMULATED = Text("SIMULATED: no real device ran; these are a model's numbers", style="bold magenta")
"""The first line of whatever shows numbers of a simulated device."""


def print_summary(console: Console, summary: Summary, judgements: Iterable[Judgement] = ()) -> None:
    """Print a whole run."""
    console.print(Group(*_verdict_lines(summary)))
    console.print()
    if summary.metrics:
        console.print(_table(summary))
        console.print()
    console.print(_facts(summary))
    for warning in summary.warnings:
        console.print(Text(f"note: {warning}", style="yellow"))
    for judgement in judgements:
        line = Text(f"{judgement.outcome.upper():<12} ", style=_OUTCOME_STYLES[judgement.outcome])
        console.print(line + Text(f"{judgement.rule}: {judgement.reason}", style="default"))


def _verdict_lines(summary: Summary) -> list[RenderableType]:
    lines: list[RenderableType] = []
    traffic_class = summary.verdict_class
    if not summary.is_complete:
        lines.append(
            Text("INTERRUPTED: this run did not finish; what follows is the part that was saved", "bold yellow")
        )
    if summary.simulated:
        lines.append(SIMULATED)
    measured = {
        metric: summary.metrics[metric][traffic_class]
        for metric in _VERDICT_METRICS
        if traffic_class in summary.metrics.get(metric, {})
    }
    if summary.succeeded == 0 and not measured:
        return [*lines, Text("NO VERDICT: no request succeeded", style="bold red")]
    of_class = "" if traffic_class == ALL else f" in class {traffic_class}"
    flagged = {metric: value for metric, value in measured.items() if value.verdict is Verdict.FLAGGED}
    unsure = {metric: value for metric, value in measured.items() if value.verdict is Verdict.BORDERLINE}
    for found, style in ((flagged, "bold red"), (unsure, "bold yellow")):
        for metric, value in sorted(found.items(), key=lambda item: -item[1].tail_ratio):
            words = Text(f": {_ratio_in_words(metric, value, of_class)}", style="default")
            lines.append(Text(value.verdict.upper(), style=style) + words)
    if summary.attribution is not None:
        lines += _cause_lines(summary.attribution, [*flagged, *unsure])
    judged = [metric for metric, value in measured.items() if value.verdict is not Verdict.TOO_FEW]
    problems = doubts_with(summary, judged, traffic_class)
    lines += [Text("NOT TRUSTED", style="bold yellow") + Text(f": {problem}", style="default") for problem in problems]
    if not measured:
        lines.append(Text(f"NO VERDICT: nothing{of_class} succeeded", style="bold red"))
    if judged and not flagged and not unsure and not problems:
        text = f": no p99 above {FLAG_RATIO:g}x its median{of_class} ({', '.join(judged)})"
        lines.append(Text("OK", style="bold green") + Text(text, style="default"))
    unjudged = [f"{metric} ({value.count})" for metric, value in measured.items() if value.verdict is Verdict.TOO_FEW]
    if unjudged:
        text = f": under {MIN_SAMPLES} samples{of_class}: {', '.join(unjudged)}; run longer for a p99"
        lines.append(Text("TOO FEW", style="yellow") + Text(text, style="default"))
    return lines


_OF_METRIC = {"ttft": "ttft", "resume_ttft": "ttft", "e2e": "ttft", "itl": "itl", "max_gap": "itl"}
"""By metric, the waits whose causes are looked for."""
_MOST_STALLS = 3


def _cause_lines(attribution: Attribution, suspects: Iterable[str]) -> list[RenderableType]:
    """Why: the causes of the suspects that stand out, what to do about each, and what stood still."""
    lines: list[RenderableType] = []
    named = []
    for metric in dict.fromkeys(_OF_METRIC[suspect] for suspect in suspects):
        if (causes := attribution.causes.get(metric)) is None:
            continue
        what = "gaps" if metric == "itl" else "first tokens"
        of_all = f"of {causes.events} {what} above {milliseconds(causes.threshold_ms)} ms"
        for share in causes.causes:
            if share.cause in causes.likely:
                by_chance = f"{share.base_rate:.0%} of ordinary ones"
                lines.append(_labelled("CAUSE", f"{share.cause}: {share.share:.0%} {of_all} ({by_chance})"))
        named += causes.likely
        if not causes.likely:
            lines.append(_labelled("CAUSE", f"unknown: no single one stands out {of_all}"))
    stalls = [stall for stall in attribution.stalls if stall.cause in (Cause.STALL, Cause.CLIENT)]
    for stall in stalls[:_MOST_STALLS]:
        who = "the client" if stall.cause is Cause.CLIENT else "the server"
        hit = f"{stall.streams} streams and {stall.waiting} waiting requests hit"
        if stall.server is not None and (said := stall_facts(stall.server)):
            hit += f"; {said}"
        lines.append(
            _labelled("STALL", f"{who} stood still for {stall.length_s:.2f} s at {stall.start_s:.1f} s: {hit}")
        )
    if len(stalls) > _MOST_STALLS:
        lines.append(_labelled("STALL", f"and {len(stalls) - _MOST_STALLS} more, in summary.json"))
    return [*lines, *(_labelled("ADVICE", f"{cause}: {ADVICE[cause]}") for cause in dict.fromkeys(named))]


def _labelled(word: str, text: str) -> Text:
    return Text(word, style="bold cyan") + Text(f": {text}", style="default")


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


def _table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")
    table.add_column("ms", no_wrap=True)
    for name in ("n", *(f"p{percentile:g}" for percentile in summary.percentiles), "max", "p99/p50"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for metric in _SHOWN_METRICS:
        by_class = summary.metrics.get(metric, {})
        has_classes = len(by_class) > 2
        for traffic_class, value in by_class.items():
            if traffic_class != ALL and not has_classes:
                continue
            label = metric if traffic_class == ALL else f"  {traffic_class}"
            table.add_row(label, *_cells(value), style="" if traffic_class == ALL else "dim")
    return table


def _cells(value: MetricSummary) -> list[str | Text]:
    style = "bold red" if value.verdict is Verdict.FLAGGED else ""
    short = {
        Verdict.FLAGGED: "FLAGGED",
        Verdict.BORDERLINE: "unsure",
        Verdict.TOO_FEW: f"n<{MIN_SAMPLES}",
        Verdict.OK: "ok",
    }[value.verdict]
    return [
        str(value.count),
        *(_percentile(value, float(name), at_ms) for name, at_ms in value.percentiles_ms.items()),
        milliseconds(value.max_ms),
        Text(f"{value.tail_ratio:.2f}", style=style),
        Text(short, style=style or ("green" if value.verdict is Verdict.OK else "yellow")),
    ]


def _percentile(value: MetricSummary, percentile: float, at_ms: float) -> str:
    """Nothing where the samples are too few to have any beyond it."""
    return milliseconds(at_ms) if value.count * (100 - percentile) >= 100 - 1e-6 else "-"


def client_facts(client: ClientSummary) -> str:
    """What held the client itself up, in one line."""
    return (
        f"lag p99 {milliseconds(client.lag_p99_ms)} ms, max {milliseconds(client.lag_max_ms)} ms, "
        f"{client.gc_pauses} garbage collections of at most {milliseconds(client.gc_longest_ms)} ms, "
        f"{client.cpu_share:.0%} of a processor"
    )


def expectation_facts(expected: FittedSizes) -> str:
    """What a request of a size should take, in one line: the normalised ratios rest on it."""
    return (
        f"ttft {milliseconds(expected.ttft_base_ms)} ms + {expected.ttft_us_per_token:.3g} us an uncached prompt "
        f"token; e2e {milliseconds(expected.e2e_base_ms)} ms + {expected.e2e_us_per_token:.3g} us, and "
        f"{expected.e2e_us_per_output_token / 1e3:.3g} ms an output token (medians of {expected.requests} requests)"
    )


def engine_facts(engine: EngineSummary) -> str:
    """Steps and who waited for whom, in one line."""
    return (
        f"{engine.num_steps} steps of {milliseconds(engine.device_step_ms)} ms on the device and "
        f"{milliseconds(engine.host_step_ms)} ms on the host, device idle {engine.device_idle:.2%}, "
        f"{engine.num_preemptions} preemptions"
    )


def parking_facts(parking: ParkingSummary) -> str:
    """What parked sessions found when they came back, and what that cost, in one line."""
    text = (
        f"{parking.parked} turns parked, of those that came back {parking.kept} kept, {parking.restored} restored, "
        f"{parking.recomputed} recomputed ({parking.recomputed_tokens} tokens); "
        f"{parking.parked_block_s:.0f} block-seconds held, {parking.broken} pins broken"
    )
    if parking.offloaded_bytes or parking.restored_bytes:
        text += (
            f"; {parking.offloaded_bytes / 1e9:.1f} GB out, {parking.restored_bytes / 1e9:.1f} GB back, "
            f"restore wait {milliseconds(parking.restore_wait_ms)} ms"
        )
    return text


def _facts(summary: Summary) -> Text:
    """Rates, errors, and how far the client itself can be trusted."""
    lines = [
        f"{summary.workload} on {summary.target} ({summary.model}), {summary.measured_s:.1f} s measured, "
        f"seed {summary.seed}",
        f"offered {summary.offered_rate:.2f}/s, achieved {summary.achieved_rate:.2f}/s, "
        f"{summary.output_tokens_per_s:.1f} output tokens/s, {summary.tokens_per_chunk:.2f} tokens per chunk",
    ]
    if (goodput := summary.goodput) is not None:
        objectives = ", ".join(f"{metric} {limit_ms:g} ms" for metric, limit_ms in goodput.objectives.items())
        lines.insert(1, f"goodput {goodput.rate:.2f}/s: {goodput.share:.1%} of requests within {objectives}")
    if summary.tokens_per_chunk == 0:
        lines[-1] = lines[-1].rpartition(", ")[0] + ", tokens per chunk unknown"
    delay = summary.metrics.get("start_delay", {}).get(ALL)
    client = f"start delay p99 {milliseconds(delay.p99_ms)} ms, " if delay else ""
    lines.append(
        f"client: {client}late {summary.late_arrivals}, dropped {summary.dropped_arrivals}, "
        f"censored {summary.censored} (lower bounds), warm-up {summary.warmup_requests}"
    )
    if summary.client is not None:
        lines.append(f"client: {client_facts(summary.client)}")
        lines.append(floor_fact(summary.client.floor, summary.client.workers))
    if summary.expectation is not None:
        lines.append(f"expected: {expectation_facts(summary.expectation)}")
    if summary.engine is not None:
        lines.append(f"engine: {engine_facts(summary.engine)}")
        if summary.engine.parking is not None:
            lines.append(f"parking: {parking_facts(summary.engine.parking)}")
    if summary.server is not None:
        lines.append(f"server: {server_facts(summary.server)}")
    if summary.capped_pauses:
        share = summary.capped_pauses / summary.paused_turns
        lines.append(f"pauses: {share:.0%} of {summary.paused_turns} were cut short (--pause-cap)")
    if summary.abandoned_turns:
        lines.append(f"{summary.abandoned_turns} further turns never became due: their sessions had failed")
    text = Text("\n".join(lines))
    for name, count in summary.errors.items():
        text.append(f"\nerrors: {count} x {name}: {summary.error_examples.get(name, '')}", style="bold red")
    return text
