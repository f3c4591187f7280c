"""Simulated devices from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.cli import abatch, command
from support.servers import get, post, running_server
from support.two_cores import LIMITS, SHORT_CHATS, figures, write_profile
from support.waiting import PATIENCE_S, wait_until

_BENCH = ("bench", "--device", "simulated:h100", "--workload", "agent-tools")


def test_what_is_simulated_is_the_same_each_time(tmp_path: Path) -> None:
    for name, columns in (("a", "80"), ("b", "200")):
        result = abatch(*_BENCH, "-c", "1", "-d", "600", "--seed", "5", "--output", tmp_path / name, COLUMNS=columns)
        assert result.returncode == 0, result.stderr
    for file in ("summary.json", "results.jsonl", "histograms.hlog"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert result.stdout.startswith("SIMULATED"), "before anything else"
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["simulated"] is True
    assert "simulated h100" in summary["target"]
    assert "host overhead 0.4 ms + 8 us per sequence, per step" in summary["target"]
    assert summary["measured_s"] == 595.0
    assert summary["engine"]["num_steps"] > 16_000
    assert json.loads((tmp_path / "a" / "config.json").read_text())["simulated"] is True


@pytest.mark.nightly
def test_an_hour_in_virtual_time_takes_minutes(tmp_path: Path) -> None:
    """An hour is more than 100,000 steps. What the run says is tested on the shorter ones above."""
    run = tmp_path / "run"
    started_s = time.process_time()
    result = abatch(*_BENCH, "-c", "1", "--duration", "3600", "--seed", "5", "--output", run)
    assert time.process_time() - started_s < 100
    assert result.returncode == 0, result.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["measured_s"] == 3595.0
    assert summary["engine"]["num_steps"] > 100_000


@pytest.mark.parametrize("batching", ["async", "continuous"])
@pytest.mark.parametrize(("streams", "most"), [(16, 1.5), (32, 2.0)])
def test_the_claim_prompts_do_not_hold_up_those_that_decode(
    tmp_path: Path, streams: int, most: float, batching: str
) -> None:
    """On a device that multiplies as slowly as it reads, a step of many prompt tokens takes six times as long."""
    device = write_profile(tmp_path)
    found = {}
    for bound in ("0", None):
        run = tmp_path / f"bounded-{bound is None}"
        result = abatch(
            *("bench", "--device", device, "--model", "smollm2-135m", "--dtype", "float32", *LIMITS, *SHORT_CHATS),
            *("--batching", batching, "--concurrency", str(streams), "--duration", "60", "--output", run),
            *(() if bound is None else ("--max-step-ms", bound)),
        )
        assert result.returncode == 0, result.stderr
        found[bound] = figures(run)
    assert found["0"]["itl p99/p50"] > 2.5
    assert found[None]["itl p99/p50"] <= most
    assert found[None]["ttft p50"] <= 1.1 * found["0"]["ttft p50"]
    assert found[None]["tokens/s"] >= 0.99 * found["0"]["tokens/s"]


def test_the_claim_static_batching_is_slow_where_continuous_batching_is_not(tmp_path: Path) -> None:
    """Chats among agents: in a static batch they wait for the whole batch before them. No clock of this machine's."""
    chats, said = {}, {}
    for batching in ("window", "async"):
        run = tmp_path / batching
        result = abatch(
            *("bench", "--device", "simulated:h100", "--workload", "mixed", "--batching", batching),
            *("--duration", "60", "--warmup", "5", "--output", run),
        )
        assert result.returncode == 0, result.stderr
        metrics = json.loads((run / "summary.json").read_text())["metrics"]
        chats[batching] = {name: by_class["chat"] for name, by_class in metrics.items() if "chat" in by_class}
        said[batching] = result.stdout
    window, asynchronous = chats["window"], chats["async"]
    assert "EVENLY SLOW" in said["window"]
    assert "EVENLY SLOW" not in said["async"]
    assert window["ttft"]["p50_ms"] > 100 * asynchronous["ttft"]["p50_ms"]
    assert window["ttft"]["p99_ms"] > 10 * asynchronous["ttft"]["p99_ms"]
    assert {window["itl"]["verdict"], asynchronous["itl"]["verdict"]} == {"ok"}


@pytest.mark.xdist_group("wall_clock")
def test_an_emulated_device_behind_http_with_step_log_and_timeline(tmp_path: Path) -> None:
    result = abatch(
        *("bench", "--device", "simulated:20ms", "--real-time", "--workload", "hol-probe", "-d", "6"),
        *("--timeline", tmp_path / "run" / "trace.json", "--output", tmp_path / "run"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("SIMULATED")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 19.9 < summary["engine"]["device_step_ms"] < 20.1
    assert 19 < summary["metrics"]["itl"]["decode"]["p50_ms"] < 39, "a step, and not two of them"
    trace = tmp_path / "run" / "trace.json"
    events = json.loads(trace.read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    device = [span for span in spans if (span["pid"], span["tid"]) == (1, 2)]
    requests = [span for span in spans if span["pid"] == 2]
    assert len(device) > 200
    # One clock for both processes: every first token came right behind the end of a step.
    ends = [span["ts"] + span["dur"] for span in device]
    firsts = [span["ts"] + span["dur"] for span in requests if span["name"].endswith("first token")]
    assert len(firsts) > 15
    assert all(min(abs(first - end) for end in ends) < 15_000 for first in firsts)
    again = abatch("report", tmp_path / "run", "--timeline", tmp_path / "again.json")
    assert again.returncode == 0
    assert (tmp_path / "again.json").read_bytes() == trace.read_bytes()


def test_a_server_on_a_simulated_device_says_so_to_whoever_measures_it(tmp_path: Path) -> None:
    steps = tmp_path / "steps.jsonl"
    with running_server("--device", "simulated:2ms", "--step-log", str(steps), log=tmp_path / "log") as server:
        assert "simulated 2ms" in (tmp_path / "log").read_text()
        assert server.metric("abatch_simulated") == 1
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
        status, answer, _ = post(f"{server.url}/v1/chat/completions", body)
        assert status == 200
        assert len(answer["choices"][0]["message"]["content"]) == 3
        status, answer, _ = post(f"{server.url}/v1/chat/completions", {**body, "logprobs": True})
        assert status == 422
        assert "computes no log-probabilities" in answer["error"]["message"]
        _, models, _ = get(f"{server.url}/v1/models")
        assert models["data"][0]["id"] == "llama-3.1-8b"
        result = abatch(
            *("bench", "--url", server.url, "--workload", "agent-tools", "--num-sessions", "3", "--time-scale", "0.1"),
            *("--output", tmp_path / "run"),
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("SIMULATED")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["simulated"] is True
    logged = [json.loads(line) for line in steps.read_text().splitlines()]
    assert len(logged) >= summary["engine"]["num_steps"] > 0
    assert [line["step"] for line in logged] == list(range(len(logged)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_saves_the_part_that_was_simulated(tmp_path: Path, number: signal.Signals) -> None:
    """And so does a terminal that is closed."""
    run = tmp_path / "run"
    process = subprocess.Popen(command(*_BENCH, "-c", "20", "--duration", "1000000", "--warmup", "0", "--output", run))
    try:
        results = run / "results.jsonl"
        wait_until(lambda: results.exists() and results.stat().st_size >= 10_000, "no results")
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 130
    finally:
        process.kill()
        process.wait()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["is_complete"] is False
    assert summary["succeeded"] > 0


@pytest.mark.nightly
def test_what_a_pause_costs_is_what_became_of_the_context(tmp_path: Path) -> None:
    """Where memory is short, pauses without a host tier end in prompts that are computed again. Two minutes each."""
    told = {}
    for park in ("drop", "offload"):
        run = tmp_path / park
        result = abatch(
            *(*_BENCH, "--osl", "16", "--time-scale", "8", "-d", "300", "-c", "24", "--output", run),
            *("--park", park, "--kv-memory", "3GiB", "--host-kv-memory", "64GiB"),
        )
        assert result.returncode == 0, result.stderr
        assert "tool pauses: a " in result.stdout
        saved = json.loads((run / "summary.json").read_text())["pauses"]
        (run / "summary.json").unlink()
        assert abatch("report", run, "--json", tmp_path / "report.json").returncode == 0
        assert json.loads((tmp_path / "report.json").read_text())["summary"]["pauses"] == saved
        told[park] = next(band for band in saved["bands"] if band["from_s"] == 3)
    assert told["drop"]["contexts"]["recomputed"] > told["drop"]["turns"] / 2
    assert "recomputed" not in told["offload"]["contexts"]
    assert told["drop"]["p50"]["interval_ms"]["low"] > 0
    assert told["drop"]["p50"]["cost_ms"] > 4 * told["offload"]["p50"]["cost_ms"]
