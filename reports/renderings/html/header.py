"""The top of a report: what must not be overlooked, what was measured, and the verdict on each run in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...summary.finding import SIMULATED, Label, Tone
from ...summary.findings import findings
from ..facts import facts, repeat_fact
from ..layout import Labelled
from ..shown_run import ShownRun
from .markup import Html, element, join

_BANNERS = (Label.INTERRUPTED, Label.SIMULATED)
"""Findings that stand above everything else."""


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
        found.append((Label.INTERRUPTED, f"{did}; these numbers are of the saved part"))
    if simulated:
        text = SIMULATED.words if len(simulated) == len(runs) else f"{', '.join(simulated)}: {SIMULATED.words}"
        found.append((SIMULATED.label, text))
    return join(
        element("p", element("strong", label), f": {text}", class_=f"banner {label.lower()}") for label, text in found
    )


def run_cards(runs: Sequence[ShownRun]) -> Html:
    """A card for each run: labels, verdict, rules."""
    return join(_card(index, run, is_alone=len(runs) == 1) for index, run in enumerate(runs))


def _card(index: int, run: ShownRun, *, is_alone: bool) -> Html:
    heading = element("h3", swatch(index), run.name)
    rules = element("ul", *map(_line, run.judgements), class_="rules") if run.judgements else ""
    verdict = [finding for finding in findings(run.summary) if finding.label not in _BANNERS]
    return element(
        "article",
        "" if is_alone else heading,
        element("ul", *map(_line, verdict), class_="verdict"),
        element("h4", "Rules") if rules else "",
        rules,
        _labels(run),
        _provenance(run),
        class_="card",
    )


def _line(item: Labelled) -> Html:
    """A finding or a judged rule: its label in its colour, then its words."""
    return element("li", element("strong", item.label, class_=f"word {item.tone}"), " ", element("span", item.words))


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


def fact_lists(runs: Sequence[ShownRun]) -> Html:
    """Rates, errors, the client's own audit, the engine and so on, of each run, as the terminal has them."""
    return join(_facts_of(index, run, is_alone=len(runs) == 1) for index, run in enumerate(runs))


def _facts_of(index: int, run: ShownRun, *, is_alone: bool) -> Html:
    heading = "" if is_alone else element("h3", swatch(index), run.name)
    lines = [*facts(run.summary), *repeat_fact(run.config.command)]
    return join([heading, element("ul", *map(_fact, lines), class_="facts")])


def _fact(item: Labelled) -> Html:
    words = element("b", f"{item.label}:"), f" {item.words}"
    return element("li", *words, class_=None if item.tone is Tone.PLAIN else f"fact-{item.tone}")
