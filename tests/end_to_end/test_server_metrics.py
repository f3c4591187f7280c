"""`abatch bench` and what the server says of itself meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from abatch.reports.run.folder import RunReader
from support.cli import abatch
from support.servers import null_server, running_server

_CHATS = ("--workload", "chat-short", "--turns", "1", "--isl", "5", "--request-rate", "20", "--warmup", "0")


def _summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def test_a_server_without_metrics_has_none(tmp_path: Path) -> None:
    run, no_url = tmp_path / "run", "http://me:passw0rd@127.0.0.1:9/m?key=passw0rd"
    with null_server("--ttft", "10", "--itl", "5", log=tmp_path / "log") as server:
        plain = abatch("bench", "--url", server.url, *_CHATS, "--osl", "3", "-d", "2", "-o", run)
        told = abatch(
            *("bench", "--url", server.url, *_CHATS, "--osl", "3", "-d", "2", "-o", tmp_path / "told"),
            *("--metrics-url", no_url, "--server-metrics-interval", "0.2"),
        )
    assert plain.returncode == told.returncode == 0, plain.stderr + told.stderr
    assert not (run / "server.jsonl").exists()
    assert _summary(run)["server"] is None
    assert "\nserver:" not in plain.stdout
    assert "--metrics-url http://127.0.0.1:9/m has no known metrics" in " ".join(told.stdout.split())
    for path in (tmp_path / "told").iterdir():
        assert "passw0rd" not in path.read_text()
    options = json.loads((tmp_path / "told" / "config.json").read_text())["options"]
    assert options["metrics_url"] == "http://127.0.0.1:9/m"
    assert options["server_metrics_interval"] == 0.2


@pytest.mark.xdist_group("wall_clock")
def test_our_own_server_is_watched_by_one_process_and_by_the_parent_of_several(tmp_path: Path) -> None:
    with running_server("--device", "simulated:20ms", "--max-num-seqs", "4", log=tmp_path / "log") as server:
        for workers in ("1", "2"):
            run = tmp_path / workers
            result = abatch(
                *("bench", "--url", server.url, *_CHATS, "--osl", "20", "-d", "4", "--workers", workers, "-o", run),
                *("--server-metrics-interval", "0.5"),
            )
            assert result.returncode == 0, result.stderr
            assert "server: abatch: running " in result.stdout
            samples = list(RunReader(run).server_samples())
            times_s = [sample.at_s for sample in samples]
            assert times_s == sorted(times_s)
            assert 7 <= len(samples) <= times_s[-1] / 0.5 + 2, "to the end of the drain, however long that is"
            found = _summary(run)["server"]
            assert found["kind"] == "abatch"
            assert found["running_max"] == 4
            assert found["waiting_max"] > 10, "twice of what it can take came"
            assert 0 < found["kv_used_max"] <= 1
            assert found["preemptions"] == 0
        off = tmp_path / "off"
        result = abatch(
            *("bench", "--url", server.url, *_CHATS, "-d", "1", "--osl", "3", "-o", off),
            *("--server-metrics-interval", "0"),
        )
        assert result.returncode == 0, result.stderr
    assert not (off / "server.jsonl").exists()


def test_in_virtual_time_samples_change_nothing_else(tmp_path: Path) -> None:
    for name, interval in (("a", "1"), ("b", "1"), ("none", "0")):
        result = abatch(
            *("bench", "--device", "simulated:h100", "--workload", "agent-tools", "-c", "10", "-d", "30"),
            *("--seed", "5", "--server-metrics-interval", interval, "-o", tmp_path / name),
        )
        assert result.returncode == 0, result.stderr
    for file in ("summary.json", "server.jsonl", "results.jsonl", "histograms.hlog"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    for file in ("results.jsonl", "histograms.hlog"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "none" / file).read_bytes()
    with_samples, without = _summary(tmp_path / "a"), _summary(tmp_path / "none")
    assert with_samples.pop("server")["samples"] == 28
    assert without.pop("server") is None
    for of_run in (with_samples, without):
        for stall in of_run["attribution"]["stalls"]:
            stall.pop("server")
        of_run["cache"].pop("server_hit_share")
    assert with_samples == without


def test_what_is_refused(tmp_path: Path) -> None:
    for arguments, says in (
        (("--server-metrics-interval", "0.01"), "--server-metrics-interval must be 0.1 to 3600"),
        (("--server-metrics-interval", "nan"), "--server-metrics-interval must be"),
        (("--metrics-url", "http://h:9"), "--metrics-url does not apply without --url"),
        (("--url", "http://h", "--metrics-url", "ws://h:9"), "--metrics-url must begin with http"),
        (
            ("--url", "http://h", "--metrics-url", "http://h:9", "--server-metrics-interval", "0"),
            "does not apply with --server-metrics-interval 0",
        ),
    ):
        result = abatch("bench", *arguments, "-o", tmp_path / "run")
        assert result.returncode != 0
        assert says in " ".join(result.stderr.split())
        assert not (tmp_path / "run").exists()
