"""Rules as commands are given them, and the exit code that they come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.errors import ConfigurationError
from ...reports.comparison.comparable import comparison_notes, is_same_traffic, refuse_incomparable
from ...reports.gates.file import read_gate_file
from ...reports.gates.judge import Judgement, Outcome, judge_all
from ...reports.gates.parser import parse_rules
from ...reports.gates.rule import Rule
from ...reports.run.config import RunConfig
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ...reports.summary.summary import Summary
from ..exit_codes import ExitCode
from .options import Option
from .user_path import user_path

RULE_OPTIONS = (
    Option(
        "require",
        ("--require",),
        list[str] | None,
        "Rule that must hold, as 'ttft.p99/p50 <= 3' or 'chat.ttft.p99 <= baseline + 10%'; exit 3 if it does not, 4 if "
        "that is unknown. Repeatable.",
    ),
    Option("rules", ("--rules",), str | None, "File of rules: gates.toml."),
    Option("baseline", ("--baseline",), str | None, "Run folder to hold rules against that say 'baseline'."),
)
_AGAINST_BASELINE = ("ttft.p50", "ttft.p99", "itl.p99", "e2e.p99")
_MAY_GROW = "10%"


@dataclass(frozen=True, slots=True)
class Judging:
    """What a run is to be held against, found to be sound before anything is measured."""

    rules: list[Rule]
    baseline: Measurement | None = None
    baseline_folder: Path | None = None

    def judge(self, run: Measurement) -> list[Judgement]:
        """Hold the rules against a run."""
        return judge_all(self.rules, run, self.baseline)

    def notes(self, run: RunConfig) -> list[str]:
        """What a reader should know of the comparison with the baseline."""
        if self.baseline is None or not any(rule.needs_baseline for rule in self.rules):
            return []
        base = self.baseline.config
        return comparison_notes(base, run, is_paired=is_same_traffic(base, run))

    def options(self) -> dict[str, Any]:
        """What a run's folder keeps of it."""
        folder = self.baseline_folder
        return {
            "require": [rule.text for rule in self.rules],
            "baseline": None if folder is None else str(folder.resolve()),
        }


def make_judging(values: dict[str, Any], workload: str, *, has_default: bool = False) -> Judging:
    """The values of the rule options. `has_default`: with a baseline and no rules, nothing may have become slower.

    Raises:
        ConfigurationError: a rule, a file or the baseline is wrong.
    """
    rules, folder = parse_rules(values["require"] or []), values["baseline"]
    baseline_folder = None if folder is None else user_path(folder, "--baseline")
    if values["rules"] is not None:
        file = read_gate_file(user_path(values["rules"], "--rules"))
        rules += file.rules_for(workload)
        baseline_folder = baseline_folder or file.baseline_for(workload)
    baseline = None if baseline_folder is None else RunReader(baseline_folder)
    if baseline is None:
        for rule in rules:
            if rule.needs_baseline:
                raise ConfigurationError(f"rule {rule.text!r} needs a --baseline: a run folder to hold it against")
        return Judging(rules)
    if not rules and has_default:
        prefix = "" if baseline.config.verdict_class == "all" else f"{baseline.config.verdict_class}."
        rules = parse_rules(f"{prefix}{name} <= baseline + {_MAY_GROW}" for name in _AGAINST_BASELINE)
    if not baseline.has_results:
        raise ConfigurationError(
            f"--baseline {baseline_folder} has no results.jsonl: a comparison needs more than a summary"
        )
    judging = Judging(rules, Measurement([baseline]), baseline_folder)
    if baseline.config.workload != workload and any(rule.needs_baseline for rule in rules):
        raise ConfigurationError(
            f"the baseline is of workload {baseline.config.workload!r}, this is {workload!r}: only runs of the same "
            "workload can be compared"
        )
    return judging


def judging_of(config: RunConfig) -> Judging:
    """What a run was held against when it was made. A baseline that is no longer there leaves its rules undecided."""
    texts, folder = config.options.get("require") or [], config.options.get("baseline")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError("the options in config.json are damaged: require is no list of rules")
    rules = parse_rules(texts)
    if not isinstance(folder, str) or not any(rule.needs_baseline for rule in rules):
        return Judging(rules)
    try:
        return Judging(rules, Measurement([RunReader(Path(folder))]), Path(folder))
    except ConfigurationError:
        return Judging(rules)


def refuse_other_workload(judging: Judging, config: RunConfig, name: str) -> None:
    """Raise `ConfigurationError` where the baseline is of other traffic, or of another kind of device."""
    if judging.baseline is not None and any(rule.needs_baseline for rule in judging.rules):
        refuse_incomparable([judging.baseline.config, config], ["the baseline", name])


def exit_code_of_rules(judgements: Iterable[Judgement]) -> ExitCode:
    """3 if a rule failed, 4 if one could not be judged, else 0."""
    outcomes = {judgement.outcome for judgement in judgements}
    if Outcome.FAIL in outcomes:
        return ExitCode.RULE_FAILED
    return ExitCode.RULE_INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else ExitCode.OK


def exit_code(summary: Summary, judgements: Iterable[Judgement]) -> ExitCode:
    """Of a run and what became of its rules."""
    if not summary.is_complete:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if summary.succeeded == 0 else exit_code_of_rules(judgements)
