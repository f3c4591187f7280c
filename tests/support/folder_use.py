"""Everything that commands make of a run folder, in this process: to see that a damaged one is one line, or shown."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from abatch.cli.options.judging import judging_of
from abatch.engine.errors import ConfigurationError
from abatch.reports.comparison.comparable import refuse_incomparable
from abatch.reports.comparison.comparison import compare
from abatch.reports.gates.judge import judge_all
from abatch.reports.gates.parser import parse_rules
from abatch.reports.renderings.comparison.console import print_comparison
from abatch.reports.renderings.console import print_summary
from abatch.reports.renderings.csv_table import render_csv
from abatch.reports.renderings.github import github_annotations
from abatch.reports.renderings.hgrm import write_hgrm
from abatch.reports.renderings.html.page import render_html
from abatch.reports.renderings.json_report import render_json
from abatch.reports.renderings.junit import render_junit
from abatch.reports.renderings.markdown import render_markdown
from abatch.reports.renderings.shown_run import ShownRun, shown_target
from abatch.reports.renderings.timeline import write_timeline
from abatch.reports.run.folder import RunReader
from abatch.reports.run.measurement import Measurement
from rich.console import Console

_RULES = parse_rules(
    [
        *("ttft.p99/p50 <= 3", "chat.e2e.p99 < 10s", "itl.mean < 1s", "ttft.slowdown.p99 < 100"),
        *("errors < 50%", "output_tokens_per_s > 1", "goodput >= 10%", "achieved_rate >= 50% of offered"),
    ]
)
_AGAINST = parse_rules(["ttft.p99 <= baseline + 10%", "itl.p50 <= baseline + 10%", "errors <= baseline + 5%"])
LONGEST_LINE = 2500
"""Characters of what is said of a folder: its path, and a thousand of others' text."""


def _report(folder: Path, _: Path) -> None:
    """As `abatch report`: what a terminal and a CI job are shown."""
    shown = _shown(folder)
    console = Console(file=io.StringIO(), width=100, highlight=False, markup=False, emoji=False)
    print_summary(console, shown.summary, shown.judgements, shown.histograms)
    github_annotations([shown])


def _texts(folder: Path, _: Path) -> None:
    shown = _shown(folder)
    for render in (render_markdown, render_junit, render_csv, render_json):
        render([shown])


def _page(folder: Path, _: Path) -> None:
    render_html([_shown(folder)])


def _files(folder: Path, _: Path) -> None:
    shown = _shown(folder)
    write_timeline(RunReader(folder), folder.parent / "timeline.json")
    write_hgrm(shown, folder.parent / "hgrm")


def _class(folder: Path, _: Path) -> None:
    """As `abatch report --class`: the summary is made anew from the results."""
    Measurement([RunReader(folder, "agent")])


def _gate(folder: Path, whole: Path) -> None:
    judge_all(_RULES, Measurement([RunReader(folder)]))
    judge_all(_AGAINST, Measurement([RunReader(folder)]), Measurement([RunReader(whole)]))


def _baseline(folder: Path, whole: Path) -> None:
    judge_all(_AGAINST, Measurement([RunReader(whole)]), Measurement([RunReader(folder)]))


def _compare(folder: Path, whole: Path) -> None:
    measurements = {"run": Measurement([RunReader(folder)]), "other": Measurement([RunReader(whole)])}
    refuse_incomparable([one.config for one in measurements.values()], list(measurements))
    compared = compare(measurements)
    console = Console(file=io.StringIO(), width=100, highlight=False, markup=False, emoji=False)
    print_comparison(console, compared, {name: one.summary for name, one in measurements.items()})


def _rounds(folder: Path, whole: Path) -> None:
    """As a round of a comparison."""
    print_summary(Console(file=io.StringIO(), width=100), Measurement([RunReader(whole), RunReader(folder)]).summary)


def _shown(folder: Path) -> ShownRun:
    reader = RunReader(folder)
    measurement = Measurement([reader])
    return shown_target("run", measurement, judging_of(reader.config).judge(measurement))


_USES: dict[str, Callable[[Path, Path], None]] = {
    use.__name__.strip("_"): use
    for use in (_report, _texts, _gate, _class, _baseline, _compare, _rounds, _files, _page)
}
USES = tuple(_USES)
"""What can be done with a run folder. Some take another one, which is whole."""


def outcome_of(folder: Path, whole: Path, use: str) -> str:
    """`shown`, or `refused`. Any other error is raised, as is one of more than a line."""
    try:
        _USES[use](folder, whole)
    except ConfigurationError as error:
        said = str(error)
        assert "\n" not in said, said
        assert len(said) < LONGEST_LINE, said
        return "refused"
    return "shown"
