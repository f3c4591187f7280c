"""Run folders: whole, merged, and after a crash."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import STEPS, RunReader
from abatch.reports.run.histogram_log import read_histograms
from abatch.reports.run.writer import RunWriter
from abatch.reports.statistics.percentile import value_at
from abatch.reports.summary.summary import Summary
from support.fixed_run import write_fixed_run
from support.results import make_result


def write_run(folder: Path, *, count: int = 50, finish: bool = True) -> Summary | None:
    writer = RunWriter(folder, RunConfig(workload="test", target="somewhere", model="m", seed=7, duration_s=10.0))
    writer.start()
    for index in range(count):
        traffic_class = "agent" if index % 5 == 0 else "chat"
        writer.add(make_result(10.0 + index, due_s=index / 10, traffic_class=traffic_class))
    if finish:
        return writer.finish(10.0, is_complete=True)
    writer.close()
    return None


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = write_run(tmp_path / "run")
    reader = RunReader(tmp_path / "run")
    assert reader.summary() == written
    assert len(list(reader.results())) == 50
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.json",
        "histograms.hlog",
        "results.jsonl",
        "summary.json",
    ]


def test_a_run_can_be_read_about_another_class(tmp_path: Path) -> None:
    """As if it had been made about that class: causes and trends are of it as well."""
    agents = write_fixed_run(tmp_path / "agents", verdict_class="agent").summary()
    again = write_fixed_run(tmp_path / "chats")
    assert again.summary().verdict_class == "chat"
    assert RunReader(again.folder, "agent").summary() == agents
    assert RunReader(again.folder, "all").summary().verdict_class == "all"
    assert RunReader(again.folder, "chat").summary() == again.summary()
    with pytest.raises(ConfigurationError, match="has no class 'robots'; it has all, agent, chat"):
        RunReader(again.folder, "robots").summary()


def test_a_step_log_of_a_run_that_failed_to_start_is_not_taken_for_this_one_s(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run", RunConfig()).close()
    (tmp_path / "run" / STEPS).write_text("{}\n")
    write_run(tmp_path / "run")
    assert list(RunReader(tmp_path / "run").steps()) == []


def test_summary_json_has_the_fields_that_scripts_rely_on(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["schema_version"] == 1
    assert {
        *("metrics", "offered_rate", "achieved_rate", "late_arrivals", "dropped_arrivals", "censored", "errors"),
        *("simulated", "target", "workload", "seed"),
    } <= set(summary)
    for by_class in summary["metrics"].values():
        assert "all" in by_class
        for metric in by_class.values():
            assert {*("count", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "tail_ratio", "verdict")} <= set(
                metric
            )


def test_a_run_without_a_summary_is_summarised_from_its_results(tmp_path: Path) -> None:
    written = write_run(tmp_path / "whole")
    write_run(tmp_path / "crashed", finish=False)
    assert written is not None
    recovered = RunReader(tmp_path / "crashed").summary()
    assert recovered.is_complete is False
    assert recovered.metrics == written.metrics
    assert recovered.workload == "test"


@pytest.mark.parametrize(("cut", "num_left"), [(1, 50), (2, 49), (20, 49), (100, 49)])
def test_a_last_line_cut_off_by_a_crash_is_left_out(tmp_path: Path, cut: int, num_left: int) -> None:
    write_run(tmp_path / "run", finish=False)
    results = tmp_path / "run" / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-cut])
    assert RunReader(tmp_path / "run").summary().requests == num_left


def test_a_crash_before_the_first_result(tmp_path: Path) -> None:
    write_run(tmp_path / "run", count=0, finish=False)
    assert RunReader(tmp_path / "run").summary().requests == 0


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        RunReader(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="not a run folder"):
        RunReader(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigurationError, match="damaged"):
        RunReader(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    path = tmp_path / "run" / "summary.json"
    path.write_text('{"schema_version": 99, "metrics": "of another kind"}')
    with pytest.raises(ConfigurationError, match="newer abatch"):
        RunReader(tmp_path / "run").summary()


def test_a_folder_in_which_a_run_failed_to_start_is_taken_over(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run", RunConfig(workload="failed")).close()
    (tmp_path / "run" / "server.log").write_text("no such model")
    with pytest.raises(ConfigurationError, match="never started"):
        RunReader(tmp_path / "run").summary()
    assert write_run(tmp_path / "run") is not None


def test_a_run_that_is_abandoned_leaves_at_most_the_servers_log(tmp_path: Path) -> None:
    RunWriter(tmp_path / "gone", RunConfig()).abandon()
    assert not (tmp_path / "gone").exists()
    writer = RunWriter(tmp_path / "run", RunConfig())
    (tmp_path / "run" / "server.log").touch()
    writer.abandon()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["server.log"]


def test_a_result_is_on_disk_as_soon_as_it_is_recorded(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", RunConfig())
    writer.start()
    writer.add(make_result())
    assert len(list(RunReader(tmp_path / "run").results())) == 1
    writer.close()


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        RunWriter(tmp_path, RunConfig())
    with pytest.raises(ConfigurationError, match="cannot write"):
        RunWriter(tmp_path / "precious" / "run", RunConfig())


def test_histogram_logs_carry_the_percentiles_and_merge_without_loss(tmp_path: Path) -> None:
    written = write_run(tmp_path / "run")
    assert written is not None
    log = tmp_path / "run" / "histograms.hlog"
    one = read_histograms(log)
    assert one["ttft.all"].get_total_count() == 50
    assert value_at(one["ttft.all"], 99) / 1e3 == written.metrics["ttft"]["all"].p99_ms
    doubled = tmp_path / "doubled.hlog"
    lines = log.read_text().splitlines(keepends=True)
    doubled.write_text("".join(lines + [line for line in lines if line.startswith("Tag=")]))
    merged = read_histograms(doubled)
    assert set(merged) == set(one)
    assert merged["ttft.agent"].get_total_count() == 2 * one["ttft.agent"].get_total_count()
    assert value_at(merged["ttft.all"], 99) == value_at(one["ttft.all"], 99)


def test_the_reading_library_itself_reads_our_logs(tmp_path: Path) -> None:
    """Not through our own reader: any tool that knows the format must see the same."""
    from hdrh.histogram import HdrHistogram
    from hdrh.log import HistogramLogReader

    write_run(tmp_path / "run")
    reader = HistogramLogReader(str(tmp_path / "run" / "histograms.hlog"), HdrHistogram(1, 3_600_000_000, 3))
    counts = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        counts[histogram.get_tag()] = histogram.get_total_count()
    reader.close()
    assert counts["ttft.all"] == 50
    assert counts["ttft.agent"] == 10


@pytest.mark.parametrize("damage", [b"Tag=ttft.all,0.000,1.000,5.000,HISTFAAAA!!", b"\xff\xfe", b"a,b,c\n"])
def test_a_damaged_histogram_log_is_one_line(tmp_path: Path, damage: bytes) -> None:
    write_run(tmp_path / "run")
    path = tmp_path / "run" / "histograms.hlog"
    path.write_bytes(path.read_bytes() + damage)
    with contextlib.suppress(ConfigurationError):
        RunReader(tmp_path / "run").histograms()
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:4], lines[4][:-20] + b"%%%" + lines[4][-10:]]))
    with pytest.raises(ConfigurationError, match=r"histograms\.hlog is damaged"):
        RunReader(tmp_path / "run").histograms()


def test_a_folder_without_results_is_known_for_it(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    reader = RunReader(tmp_path / "run")
    found = [reader.has_results]
    assert reader.is_complete
    (tmp_path / "run" / "results.jsonl").unlink()
    found.append(reader.has_results)
    assert found == [True, False]
    assert reader.summary().requests == 50
