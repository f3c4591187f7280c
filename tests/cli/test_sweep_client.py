"""A sweep whose client is the limit: it says so, and does not blame the server."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from abatch.cli.commands.sweep import print_sweep
from abatch.cli.measuring.ramp import Ramp
from abatch.cli.measuring.sweep import Sweep, SweepPoint
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.recording.goodput import parse_objectives
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.targets.client_limit import CLIENT_LIMIT
from rich.console import Console
from support.results import make_result

_LIMIT = "too many open files (limit 64)"


def _summary(share_failed: float, error: str) -> Summary:
    recorder = Recorder(objectives=parse_objectives("ttft:200"))
    for number in range(400):
        failed = number % 10 < 10 * share_failed
        recorder.add(
            make_result(due_s=number / 10, error=error if failed else None, error_message=_LIMIT if failed else None)
        )
    return fill_summary(Summary(), recorder, 40.0)


@pytest.mark.parametrize("error", [CLIENT_LIMIT, "http_503"])
def test_who_was_the_limit_is_told(tmp_path: Path, error: str) -> None:
    def measure(rate: float, _folder: Path, _times: int) -> Summary:
        return _summary(0.5 if rate > 4 else 0.0, error)

    points: list[SweepPoint] = []
    sweep = Sweep(measure, tmp_path, 0.9, points.append, make_traffic(TrafficOptions()), Ramp([], []))
    report = sweep.run(4.0, 100.0)
    assert report.highest_rate is not None
    failed = [point for point in points if point.why_not]
    assert {point.is_of_client for point in failed} == {error == CLIENT_LIMIT}
    assert not any(point.is_of_client for point in points if not point.why_not)
    out = io.StringIO()
    print_sweep(Console(file=out, width=300), report)
    least = min(point.request_rate for point in failed)
    said = f"note: from {least:g} requests/s on the client was the limit, not the server, which may hold more"
    assert (said in out.getvalue()) == (error == CLIENT_LIMIT)
    assert _LIMIT in out.getvalue()
    narrow = io.StringIO()
    print_sweep(Console(file=narrow, width=40), report)
    lines = narrow.getvalue().splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert {f"{point.request_rate:g}" for point in points} <= {line[:10].strip() for line in lines}
    assert "not shown at 40 columns: sessions/s" in narrow.getvalue()
