"""Runs as JSON: the content of summary.json, the findings of the report, and what became of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..summary.findings import findings
from ..text import encoded_json
from .shown_run import ShownRun


def render_json(runs: Sequence[ShownRun]) -> str:
    """An object of `run` (its start, versions and what repeats it), `summary`, `findings` and `rules`.

    Of several runs, an array of these, each with its `name`.
    """
    content: Any = _content(runs[0]) if len(runs) == 1 else [{"name": run.name, **_content(run)} for run in runs]
    return json_text(content)


def json_text(content: Any) -> str:
    """JSON for programs, every text as it is. In the log of a CI job it is no command."""
    return encoded_json(content).decode().replace("##", "#\\u0023")


def _content(run: ShownRun) -> dict[str, Any]:
    rules = [
        {"rule": judgement.rule, "outcome": judgement.outcome, "reason": judgement.reason}
        for judgement in run.judgements
    ]
    config = run.config
    of_run = {"started_at": config.started_at, "versions": config.provenance, "repeat": config.command}
    return {"run": of_run, "summary": run.summary, "findings": findings(run.summary), "rules": rules}
