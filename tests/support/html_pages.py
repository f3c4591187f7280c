"""Pages of the HTML report, and what their script would draw."""

from __future__ import annotations

import json
import re
from typing import Any

from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.html.page import DATA_ID
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.run.config import RunConfig
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result


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
