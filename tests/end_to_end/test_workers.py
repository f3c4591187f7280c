"""Several processes that send one run's traffic between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from abatch.reports.recording.recorder import Recorder
from abatch.reports.run.folder import RunReader
from abatch.reports.statistics.percentile import value_at
from support.cli import abatch, command
from support.servers import RunningServer, null_server
from support.waiting import PATIENCE_S, wait_until

_CHATS = ("--workload", "chat-short", "--isl", "5", "--osl", "3", "--warmup", "0")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with null_server("--ttft", "10", "--itl", "5", log=tmp_path_factory.mktemp("null") / "log") as running:
        yield running


def _traffic(folder: Path) -> set[tuple[str, int, float]]:
    """What was sent when. Later turns are due when the server has answered, which is another time each time."""
    return {
        (result.session_id, result.turn_index, result.due_s if result.turn_index == 0 else 0.0)
        for result in RunReader(folder).results()
    }


@pytest.mark.parametrize(
    "traffic",
    [
        ("--request-rate", "80", "--arrival", "bursty", "--num-sessions", "60", "--turns", "2", "--time-scale", "0.01"),
        ("--concurrency", "7", "--num-sessions", "21", "--turns", "2", "--time-scale", "0.01"),
    ],
    ids=["open loop", "closed loop"],
)
def test_the_traffic_is_the_same_for_any_number_of_workers(
    server: RunningServer, traffic: tuple[str, ...], tmp_path: Path
) -> None:
    sent = []
    for workers in (1, 2, 3):
        folder = tmp_path / str(workers)
        done = abatch("bench", "--url", server.url, *_CHATS, *traffic, "--workers", str(workers), "-o", folder)
        assert done.returncode == 0, done.stderr
        sent.append(_traffic(folder))
    open_loop = "--request-rate" in traffic
    if not open_loop:  # which slot is free first is the server's doing
        sent = [{(session, turn, 0.0) for session, turn, _ in of_run} for of_run in sent]
    assert sent[0] == sent[1] == sent[2]
    assert len(sent[0]) == (120 if open_loop else 42)


def test_histograms_of_workers_add_up_exactly(server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    traffic = ("--request-rate", "100", "--duration", "3", "--turns", "1", "--workers", "2")
    done = abatch("bench", "--url", server.url, *_CHATS, *traffic, "-o", folder)
    assert done.returncode == 0, done.stderr
    summary = _summary(folder)
    assert summary["client"]["workers"] == 2
    reader = RunReader(folder)
    recorder = Recorder(reader.config.measured)
    results = list(reader.results())
    assert [result.end_s for result in results] == sorted(result.end_s for result in results)
    for result in results:
        recorder.add(result)
    assert summary["requests"] == recorder.totals.requests == len(results) > 200
    for metric, by_class in summary["metrics"].items():
        histogram = recorder.histogram(metric, "all")
        assert histogram is not None
        assert by_class["all"]["count"] == histogram.get_total_count()
        assert by_class["all"]["p99_ms"] == value_at(histogram, 99) / 1e3
    report = abatch("report", folder)
    *shown, saved, repeat = done.stdout.splitlines()
    assert report.stdout.splitlines() == [*shown, repeat]
    assert saved.startswith("saved in ")
    assert repeat.startswith("repeat: ")


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def _started(server: RunningServer, folder: Path, **variables: str) -> subprocess.Popen[str]:
    """A bench with two workers, which have sent something by now."""
    traffic = ("--request-rate", "50", "--duration", "60", "--turns", "1", "--workers", "2")
    process = subprocess.Popen(
        command("bench", "--url", server.url, *_CHATS, *traffic, "-o", folder),
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    shards = [folder / f"results.{worker}.jsonl" for worker in (1, 2)]

    def have_sent() -> bool:
        assert process.poll() is None
        return all(shard.exists() and shard.stat().st_size > 1000 for shard in shards)

    wait_until(have_sent, "workers send nothing")
    return process


def _workers(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if "worker_process" in _command_line(int(pid))]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _wait_until_gone(pids: list[int]) -> None:
    wait_until(lambda: not any("worker_process" in _command_line(pid) for pid in pids), "workers outlived their run")


def test_a_worker_that_dies_ends_the_run_and_the_rest_is_kept(server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = _started(server, folder)
    first, second = _workers(process)
    os.kill(first, signal.SIGKILL)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "ended unexpectedly (SIGKILL)" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    _wait_until_gone([second])
    summary = _summary(folder)
    assert summary["is_complete"] is False
    assert summary["requests"] == len(list(RunReader(folder).results()))
    assert abatch("report", folder).stdout.startswith("INTERRUPTED")


def test_without_their_run_workers_end(server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = _started(server, folder)
    workers = _workers(process)
    assert len(workers) == 2
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    _wait_until_gone(workers)
    assert abatch("report", folder).stdout.startswith("INTERRUPTED")


def test_ctrl_c_saves_what_all_of_them_have(server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = _started(server, folder)
    workers = _workers(process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert stdout.startswith("INTERRUPTED")
    _wait_until_gone(workers)
    summary = _summary(folder)
    assert summary["is_complete"] is False
    assert summary["requests"] == len(list(RunReader(folder).results())) > 4
    assert summary["client"]["workers"] == 2


def test_the_key_is_told_to_nobody_else(server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = _started(server, folder, ABATCH_API_KEY="sk-very-secret")
    workers = _workers(process)
    seen = [_command_line(pid) for pid in [process.pid, *workers]]
    seen += [Path(f"/proc/{pid}/environ").read_text() for pid in workers]
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    seen += [stdout, stderr, *(path.read_text() for path in folder.iterdir())]
    assert all("sk-very-secret" not in text for text in seen)


def test_in_virtual_time_one_process_is_enough(tmp_path: Path) -> None:
    done = abatch("bench", "--device", "simulated:h100", "--workers", "2", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "--workers does not apply in virtual time" in done.stderr
