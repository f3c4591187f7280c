"""--class: which traffic class the verdict is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.errors import ConfigurationError
from support.cli import abatch
from support.fixed_run import write_fixed_run


@pytest.mark.parametrize(("workload", "name"), [("mixed", "agent"), ("mixed", "all"), ("hol-probe", "prefill")])
def test_a_class_of_the_workload_is_taken(workload: str, name: str) -> None:
    made = make_traffic(TrafficOptions(workload=workload, traffic_class=name))
    assert made.workload.verdict_class == name
    assert made.fingerprint == make_traffic(TrafficOptions(workload=workload)).fingerprint, "nothing else is sent"


def test_a_class_that_a_preset_does_not_have_is_found_before_the_run() -> None:
    result = abatch("bench", "--device", "simulated:h100", "--class", "robots", "--workload", "hol-probe")
    assert result.returncode == 2
    assert result.stderr == (
        "abatch: --class robots: the workload hol-probe has no such class; it has decode, prefill, and all\n"
    )


def test_a_trace_may_have_a_class_further_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abatch.workloads.traffic_classes._READ", 200)
    trace = tmp_path / "trace.jsonl"

    def options(num_rows: int) -> TrafficOptions:
        row = {"session_id": "s", "traffic_class": "chat", "turns": [{"new_tokens": 5, "output_tokens": 1}]}
        trace.write_text("".join(json.dumps(row | {"session_id": str(n)}) + "\n" for n in range(num_rows)))
        return TrafficOptions(trace=str(trace), trace_format="native", traffic_class="agent")

    assert make_traffic(options(300)).workload.verdict_class == "agent", "nobody has read all of it"
    with pytest.raises(ConfigurationError, match="the workload trace has no such class; it has chat, and all"):
        make_traffic(options(3))


def test_saved_runs_are_shown_and_compared_about_another_class(tmp_path: Path) -> None:
    for name, slower in (("before", 1.0), ("after", 1.5)):
        write_fixed_run(tmp_path / name, slower=slower)
    shown = abatch("report", tmp_path / "before", "--class", "agent", "--json", "-")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["summary"]["verdict_class"] == "agent"
    compared = abatch("compare", tmp_path / "before", tmp_path / "after", "--class", "agent", "--json", "-")
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["comparison"]["traffic_class"] == "agent"
    unknown = abatch("report", tmp_path / "before", "--class", "robots")
    assert unknown.returncode == 2
    assert "has no class 'robots'; it has all, agent, chat" in unknown.stderr
