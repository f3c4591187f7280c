"""Runs as JSON: the content of summary.json, the findings of the report, and what became of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..summary.findings import findings
from .shown_run import ShownRun


def render_json(runs: Sequence[ShownRun]) -> str:
    """An object of `summary`, `findings` and `rules`; of several runs, an array of these, each with its `name`."""
    content: Any = _content(runs[0]) if len(runs) == 1 else [{"name": run.name, **_content(run)} for run in runs]
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


def _content(run: ShownRun) -> dict[str, Any]:
    rules = [
        {"rule": judgement.rule, "outcome": judgement.outcome, "reason": judgement.reason}
        for judgement in run.judgements
    ]
    return {"summary": run.summary, "findings": findings(run.summary), "rules": rules}
