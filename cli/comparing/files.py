"""A comparison in files: Markdown, JSON and page of its own; JUnit, CSV and hgrm as for single runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from rich.console import Console

from ...reports.comparison.comparison import Comparison
from ...reports.gates.judge import Judgement
from ...reports.renderings.comparison.markdown import render_comparison_markdown
from ...reports.renderings.comparison.opening import comparison_opening
from ...reports.renderings.json_report import json_text
from ...reports.renderings.shown_run import ShownRun, shown_target
from ...reports.run.measurement import Measurement
from ..options.rendering import RENDERERS, Renderers, RenderingOptions, tell_github, write_renderings


def render_comparison(
    options: RenderingOptions,
    comparison: Comparison,
    measurements: Mapping[str, Measurement],
    judgements: Mapping[str, Sequence[Judgement]],
    console: Console,
) -> None:
    """Write what was asked for, and tell GitHub if this is one of its jobs. `judgements`: by target.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    shown = [shown_target(name, one, judgements.get(name, ())) for name, one in measurements.items()]
    renderers = _renderers(comparison, judgements)
    write_renderings(options, shown, console, renderers)
    tell_github(shown, os.environ, console, renderers)


def _renderers(comparison: Comparison, judgements: Mapping[str, Sequence[Judgement]]) -> Renderers:
    def html(runs: Sequence[ShownRun]) -> str:
        from ...reports.renderings.html.page import render_html  # large, and needed only here

        return render_html(runs, comparison_opening(comparison, {run.name: run.summary for run in runs}))

    def markdown(runs: Sequence[ShownRun]) -> str:
        return render_comparison_markdown(comparison, {run.name: run.summary for run in runs}, judgements)

    def json(runs: Sequence[ShownRun]) -> str:
        content = {
            "comparison": comparison,
            "summaries": {run.name: run.summary for run in runs},
            "rules": {name: list(of_target) for name, of_target in judgements.items()},
        }
        return json_text(content)

    return {**RENDERERS, "html": html, "markdown": markdown, "json": json}
