"""The rules that a command judges runs by, and the exit code that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from typer import Option

from ...engine.errors import ConfigurationError
from ...reports.comparison.comparable import comparison_notes, refuse_incomparable
from ...reports.gates.file import GateFile, read_gate_file
from ...reports.gates.judge import Judgement, Outcome, judge_all
from ...reports.gates.parser import parse_rules
from ...reports.gates.rule import Rule
from ...reports.run.config import RunConfig
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ...reports.summary.errors import MAX_ERROR_SHARE
from ...reports.summary.summary import Summary, share_client_limited, share_failed
from ..exit_codes import ExitCode
from .groups import words
from .times import time_option

_AGAINST_BASELINE = ("ttft.p50", "ttft.p99", "itl.p99", "e2e.p99")
_MAY_GROW = "10%"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """The rules that a run must hold."""

    panel: ClassVar[str] = "Rules"

    require: Annotated[
        list[str] | None,
        Option(
            help="Rule that must hold, such as 'ttft.p99/p50 <= 3' or 'chat.ttft.p99 <= baseline + 10%'; exit 3 if it "
            "does not, 4 if that is unknown. Repeatable."
        ),
    ] = None
    rules: Annotated[str | None, Option(help="File of rules: gates.toml.")] = None
    baseline: Annotated[str | None, Option(help="Run folder that rules with the word 'baseline' compare with.")] = None
    rare_s: Annotated[
        float | None,
        time_option(
            "--rare",
            help="Stalls that come as rarely as once in this time must not be missed: no rule passes in a run shorter "
            "than three times that. Default: no such limit.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Judging:
    """The rules of a run and the baseline they compare with, checked before anything is measured."""

    rules: list[Rule]
    baseline: Measurement | None = None
    baseline_folder: Path | None = None
    rare_s: float | None = None

    def judge(self, run: Measurement) -> list[Judgement]:
        """Judge the rules on a run."""
        return judge_all(self.rules, run, self.baseline, rare_s=self.rare_s)

    def notes(self, run: RunConfig) -> list[str]:
        """What a reader should know about the comparison with the baseline."""
        if self.baseline is None or not any(rule.needs_baseline for rule in self.rules):
            return []
        base = self.baseline.config
        return comparison_notes(base, run)

    def saved(self) -> dict[str, object]:
        """What config.json keeps of it."""
        folder = self.baseline_folder
        return {
            "require": [rule.text for rule in self.rules],
            "baseline": None if folder is None else str(folder.resolve()),
            "rare_s": self.rare_s,
        }

    def words(self) -> list[str]:
        """The words of a command line that ask for it."""
        folder = None if self.baseline_folder is None else str(self.baseline_folder)
        return words(
            RuleOptions(require=[rule.text for rule in self.rules] or None, baseline=folder, rare_s=self.rare_s)
        )


def make_rules(options: RuleOptions, workload: str) -> list[Rule]:
    """The rules that the options give the runs of a workload.

    Raises:
        ConfigurationError: a rule or the file is wrong.
    """
    return _rules(options, _gate_file(options), workload)


def _rules(options: RuleOptions, file: GateFile, workload: str) -> list[Rule]:
    return [*parse_rules(options.require or []), *file.rules_for(workload)]


def _gate_file(options: RuleOptions) -> GateFile:
    return GateFile() if options.rules is None else read_gate_file(user_path(options.rules, "--rules"))


def make_judging(options: RuleOptions, workload: str, *, has_default: bool = False) -> Judging:
    """The rules that the options give a run of a workload.

    With `has_default`, a baseline and no rules, nothing may have become slower.

    Raises:
        ConfigurationError: a rule, a file or the baseline is wrong.
    """
    file, folder = _gate_file(options), options.baseline
    rules = _rules(options, file, workload)
    baseline_folder = file.baseline_for(workload) if folder is None else user_path(folder, "--baseline")
    baseline = None if baseline_folder is None else RunReader(baseline_folder)
    if baseline is None:
        for rule in rules:
            if rule.needs_baseline:
                raise ConfigurationError(f"rule {rule.text!r} needs a --baseline: the run folder it compares with")
        return Judging(rules, rare_s=options.rare_s)
    if not rules and has_default:
        prefix = "" if baseline.config.verdict_class == "all" else f"{baseline.config.verdict_class}."
        rules = parse_rules(f"{prefix}{name} <= baseline + {_MAY_GROW}" for name in _AGAINST_BASELINE)
    if not baseline.has_results:
        raise ConfigurationError(
            f"--baseline {baseline_folder} has no results.jsonl: a comparison needs more than a summary"
        )
    judging = Judging(rules, Measurement([baseline]), baseline_folder, options.rare_s)
    if baseline.config.workload != workload and any(rule.needs_baseline for rule in rules):
        raise ConfigurationError(
            f"the baseline is of workload {baseline.config.workload!r}, this is {workload!r}: only runs of the same "
            "workload can be compared"
        )
    return judging


def user_path(text: str | Path, option: str) -> Path:
    """A path as people give it: `~` is a home folder.

    Raises:
        ConfigurationError: there is no user of that name. `option`: where the path was given.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{option} {text}: {error}") from error


def judging_of(config: RunConfig) -> Judging:
    """The rules that a run was judged by when it was made. Without the baseline of then its rules are inconclusive."""
    texts, folder = config.options.get("require") or [], config.options.get("baseline")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError("the options in config.json are damaged: require is not a list of rules")
    rules, rare_s = parse_rules(texts), config.options.get("rare_s")
    if not isinstance(rare_s, float | int | None):
        raise ConfigurationError("the options in config.json are damaged: rare_s is not a number of seconds")
    if not isinstance(folder, str) or not any(rule.needs_baseline for rule in rules):
        return Judging(rules, rare_s=rare_s)
    try:
        return Judging(rules, Measurement([RunReader(Path(folder))]), Path(folder), rare_s)
    except ConfigurationError:
        return Judging(rules, rare_s=rare_s)


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


def exit_code(summary: Summary, rules: Iterable[Rule], judgements: Iterable[Judgement]) -> ExitCode:
    """Of a run, the rules for it, and the judgements by them.

    A run of which too much failed has failed itself, unless a rule says how much may.
    """
    if not summary.is_complete:
        return ExitCode.INTERRUPTED
    if summary.succeeded == 0:
        return ExitCode.FAILED
    judged = exit_code_of_rules(judgements)
    failed = share_failed(summary) + share_client_limited(summary)
    has_limit = any(rule.run_value == "errors" for rule in rules)
    if judged is ExitCode.OK and failed > MAX_ERROR_SHARE and not has_limit:
        return ExitCode.FAILED
    return judged
