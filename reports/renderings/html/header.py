"""The top of a report: what must not be overlooked, what was measured, and the verdict on each run in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..fact_lines import fact_lines
from ..shown_run import ShownRun
from ..verdict_lines import SIMULATED, verdict_lines
from .markup import Html, element, join

_TONES = {
    "FLAGGED": "bad",
    "NO VERDICT": "bad",
    "BORDERLINE": "unsure",
    "NOT TRUSTED": "unsure",
    "TOO FEW": "unsure",
    "OK": "good",
    "CLASS": "why",
    "CAUSE": "why",
    "STALL": "why",
    "ADVICE": "why",
}
_BANNERS = ("INTERRUPTED", "SIMULATED")
_OUTCOME_TONES = {"pass": "good", "fail": "bad", "inconclusive": "unsure"}


def swatch(run_index: int) -> Html:
    """A run's colour, next to its name."""
    return element("span", class_=f"swatch run-{run_index % 8}", aria_hidden="true")


def report_title(runs: Sequence[ShownRun]) -> str:
    """What a report is about, in a few words."""
    workloads = {run.summary.workload for run in runs}
    if len(runs) == 1:
        return f"{runs[0].summary.workload or 'a run'} on {runs[0].summary.target or 'an unnamed target'}"
    return f"{len(runs)} runs of {workloads.pop()}" if len(workloads) == 1 else f"{len(runs)} runs"


def banners(runs: Sequence[ShownRun]) -> Html:
    """That numbers are a model's, or a run's that did not finish; nothing if none are."""
    simulated = [run.name for run in runs if run.summary.simulated]
    interrupted = [run.name for run in runs if not run.summary.is_complete]
    found = []
    if interrupted:
        did = "this run did not finish" if len(runs) == 1 else f"{', '.join(interrupted)} did not finish"
        found.append(("INTERRUPTED", f"{did}; what follows is the part that was saved"))
    if simulated:
        word, _, text = SIMULATED.plain.partition(": ")
        found.append((word, text if len(simulated) == len(runs) else f"{', '.join(simulated)}: {text}"))
    return join(
        element("p", element("strong", word), f": {text}", class_=f"banner {word.lower()}") for word, text in found
    )


def run_cards(runs: Sequence[ShownRun]) -> Html:
    """A card for each run: labels, verdict, rules."""
    return join(_card(index, run, is_alone=len(runs) == 1) for index, run in enumerate(runs))


def _card(index: int, run: ShownRun, *, is_alone: bool) -> Html:
    heading = element("h3", swatch(index), run.name)
    rules = element("ul", *(_rule(*rule) for rule in _rules(run)), class_="rules") if run.judgements else ""
    return element(
        "article",
        "" if is_alone else heading,
        _labels(run),
        element("ul", *(_verdict(line) for line in _lines(run)), class_="verdict"),
        element("h4", "Rules") if rules else "",
        rules,
        _provenance(run),
        class_="card",
    )


def _lines(run: ShownRun) -> list[str]:
    return [line.plain for line in verdict_lines(run.summary) if not line.plain.startswith(_BANNERS)]


def _verdict(line: str) -> Html:
    word, colon, text = line.partition(": ")
    tone = _TONES.get(word)
    if not colon or tone is None:
        return element("li", line)
    return element("li", element("strong", word, class_=f"word {tone}"), " ", element("span", text))


def _rules(run: ShownRun) -> list[tuple[str, str, str]]:
    return [(judgement.rule, str(judgement.outcome.value), judgement.reason) for judgement in run.judgements]


def _rule(rule: str, outcome: str, reason: str) -> Html:
    word = element("strong", outcome.upper(), class_=f"word {_OUTCOME_TONES.get(outcome, 'unsure')}")
    return element("li", word, " ", element("span", element("code", rule), f": {reason}"))


def _labels(run: ShownRun) -> Html:
    summary, config = run.summary, run.config
    warmup = f" after {config.warmup_s:g} s of warm-up" if config.warmup_s else ""
    pairs = [
        ("workload", summary.workload),
        ("target", summary.target),
        ("model", summary.model),
        ("measured", f"{summary.measured_s:.1f} s{warmup}"),
        ("requests", f"{summary.requests:,} due, {summary.succeeded:,} succeeded"),
        ("verdict about", "all classes" if summary.verdict_class == "all" else f"class {summary.verdict_class}"),
        ("seed", str(summary.seed)),
        ("began", config.started_at.replace("T", " ")),
        ("abatch", config.provenance.get("abatch", "")),
    ]
    return _pairs(pairs, "labels")


def _pairs(pairs: Iterable[tuple[str, str]], class_: str) -> Html:
    items = (element("div", element("dt", name), element("dd", value)) for name, value in pairs if value)
    return element("dl", *items, class_=class_)


def _provenance(run: ShownRun) -> Html:
    if not run.config.provenance and not run.config.options:
        return Html("")
    options = [(f"--{name.replace('_', '-')}", _shown(value)) for name, value in run.config.options.items()]
    return element(
        "details",
        element("summary", "Versions, machine and options"),
        _pairs([*run.config.provenance.items(), *options], "provenance"),
    )


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None or value is False else "yes" if value is True else str(value)


def facts(runs: Sequence[ShownRun]) -> Html:
    """Rates, errors, the client's own audit, the engine and so on, of each run, as the terminal has them."""
    return join(_facts_of(index, run, is_alone=len(runs) == 1) for index, run in enumerate(runs))


def _facts_of(index: int, run: ShownRun, *, is_alone: bool) -> Html:
    lines = [*fact_lines(run.summary).plain.splitlines(), *(f"note: {warning}" for warning in run.summary.warnings)]
    heading = "" if is_alone else element("h3", swatch(index), run.name)
    return join([heading, element("ul", *(_fact(line) for line in lines), class_="facts")])


def _fact(line: str) -> Html:
    tone = {"errors": "bad", "note": "unsure"}.get(line.partition(":")[0])
    return element("li", line, class_=f"fact-{tone}" if tone else None)
