"""Pages of the HTML report, and what their script would draw."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from abatch.engine.loop.step_log import StepRecord
from abatch.engine.session import ParkEvent
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.html.page import DATA_ID
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.run.config import RunConfig
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result

from support.fixed_run import write_fixed_run
from support.shown import shown_run

SHOWN = "[...document.querySelectorAll('.readout')].filter((box) => !box.hidden).map((box) => box.innerText)"
"""What the boxes beside the cursor say, in a browser."""


def made_run(results: list[Result], name: str = "made", **labels: Any) -> ShownRun:
    """A run of these results that never was on disk."""
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    histograms = {f"{metric}.{of}": histogram for metric, of, histogram in recorder.histograms()}
    config = RunConfig(**{key: value for key, value in labels.items() if key in RunConfig.__struct_fields__})
    summary = fill_summary(Summary(**labels), recorder, 10.0)
    return ShownRun(
        name=name,
        config=config,
        summary=summary,
        histograms=histograms,
        results=lambda: results,
        steps=lambda: (),
        server_samples=lambda: (),
    )


def data_of(html: str) -> Any:
    """What the page's script would draw."""
    found = re.search(rf'<script type="application/json" id="{DATA_ID}">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def fixed_runs(folder: Path) -> list[ShownRun]:
    """Two runs: the second is slower. The first has a step log with a session that is parked."""
    first, second = (
        shown_run(write_fixed_run(folder / name, slower=slower), name)
        for name, slower in (("fast", 1.0), ("slow", 1.6))
    )
    events = [ParkEvent("agent-112", "keep", 5, "search", 1.5), ParkEvent("agent-112", "kept", 5)]
    steps = [
        StepRecord(index, at_s, at_s, at_s, at_s, at_s, at_s, 1, 0, 1, 0, 0, 1, parking=[event])
        for index, (at_s, event) in enumerate(zip((21.6, 22.9), events, strict=True))
    ]
    return [dataclasses.replace(first, steps=lambda: steps), second]


def saved(folder: Path, html: str) -> Path:
    path = folder / "report.html"
    path.write_text(html)
    return path
