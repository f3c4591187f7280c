"""Runs side by side."""

from __future__ import annotations

import io

from abatch.engine.engine import EngineTotals
from abatch.reports.comparison import print_comparison
from abatch.reports.recorder import Recorder
from abatch.reports.summary import Summary, fill_summary, summarise_engine
from rich.console import Console
from support.results import make_result


def run(ttft_ms: float, *, count: int = 400, tail: float = 1.0, idle_s: float = 1.0, **labels: object) -> Summary:
    recorder = Recorder()
    for index in range(count):
        recorder.add(make_result(ttft_ms * (tail if index % 50 == 0 else 1), due_s=index / 100))
    values = {"workload": "mixed", "target": "abatch", "model": "m", "verdict_class": "chat"}
    summary = fill_summary(Summary(**(values | labels)), recorder, 10.0)  # type: ignore[arg-type]
    totals = EngineTotals(num_steps=100, host_s=0.1, device_busy_s=9.0, device_idle_s=idle_s)
    summary.engine = summarise_engine(totals)
    return summary


def shown(runs: dict[str, Summary]) -> str:
    out = io.StringIO()
    print_comparison(Console(file=out, width=80, no_color=True, highlight=False), runs)
    return out.getvalue()


def cells(text: str, row: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{row} ")]
    return line.removeprefix(row).split()


def test_metrics_idle_time_and_throughput_stand_side_by_side() -> None:
    text = shown({"window": run(50.0, tail=10), "async": run(10.0, idle_s=0.0)})
    assert cells(text, "ms") == ["window", "async"]
    assert cells(text, "ttft p50") == ["50.02", "10.01"]
    assert cells(text, "ttft p99/p50") == ["10.00", "1.00"]
    assert cells(text, "device idle") == ["10.00%", "0.00%"]
    assert cells(text, "host ms a step") == ["1.000", "1.000"]
    assert cells(text, "requests/s") == ["40.00", "40.00"]
    assert "SIMULATED" not in text


def test_it_says_what_is_simulated_unfinished_or_not_to_be_trusted() -> None:
    broken = run(10.0, is_complete=False)
    broken.errors = {"http_503": 100}
    broken.warnings = ["half of it is made up"]
    text = shown({"continuous": run(10.0, count=20, simulated=True), "async": broken})
    assert text.startswith("SIMULATED")
    assert "(n=20)" in text
    assert cells(text, "failed") == ["0", "100"]
    assert "NOT TRUSTED: async: 25.0% of the requests failed" in text
    assert text.splitlines()[1] == "INTERRUPTED: async did not finish"
    assert "note: async: half of it is made up" in text


def test_a_run_in_which_nothing_ended_says_so_first() -> None:
    nothing = run(10.0)
    nothing.succeeded = 0
    assert shown({"a": nothing, "b": run(10.0)}).startswith("NOTHING ENDED in a")


def test_a_target_without_an_engine_of_ours_has_no_engine_figures() -> None:
    remote = run(10.0)
    remote.engine = None
    assert cells(shown({"a": remote, "b": run(10.0)}), "device idle") == ["-", "10.00%"]
