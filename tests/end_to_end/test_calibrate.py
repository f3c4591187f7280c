"""`abatch calibrate`, and what `abatch bench` makes of it. How fast this machine is decides nothing here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from abatch.reports.calibration.file import save_calibration
from support.calibrations import make_calibration
from support.cli import abatch, command
from support.servers import null_server
from support.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.xdist_group("wall_clock")


def _json(*arguments: str, cache: Path) -> tuple[int, dict[str, Any]]:
    result = abatch("calibrate", "--json", "-", *arguments, XDG_CACHE_HOME=str(cache))
    assert result.returncode in (0, 4), result.stderr
    return result.returncode, json.loads(result.stdout)


def test_at_one_rate_each_request_is_held_against_the_servers_log(tmp_path: Path) -> None:
    code, report = _json("--request-rate", "20", "--duration", "2", cache=tmp_path / "cache")
    point = report["point"]
    assert code == (0 if report["is_trusted"] else 4)
    assert report["is_trusted"] is (point["failed"] == [])
    assert (point["requests"], point["samples"]) == (40, 40)
    for name in ("start", "ttft", "e2e"):
        added = point[name]
        assert 0 <= added["p50_ms"] <= added["p99_ms"] <= added["p999_ms"], name
    assert point["itl"]["p50_ms"] <= point["itl"]["p99_ms"]
    assert 239 <= point["server_e2e_p99_ms"] <= 5000, "50 ms and 19 gaps of 10, or a busy machine"
    assert point["client_e2e_p99_ms"] >= point["server_e2e_p99_ms"]
    assert point["client"]["lag_p99_ms"] > 0
    assert point["cpu_ms_per_request"] > 0
    assert not (tmp_path / "cache").exists(), "one rate is no search: what was known of the highest stays"


def test_several_workers_are_joined_with_the_same_log(tmp_path: Path) -> None:
    _, report = _json("-r", "20", "-d", "2", "--workers", "2", cache=tmp_path)
    assert (report["point"]["requests"], report["point"]["samples"]) == (40, 40)
    assert report["point"]["client"]["workers"] == 2


def test_a_person_is_told_the_same(tmp_path: Path) -> None:
    result = abatch("calibrate", "-r", "20", "-d", "1", XDG_CACHE_HOME=str(tmp_path))
    assert result.returncode in (0, 4), result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith(("TRUSTED at 20", "NOT TRUSTED at 20"))
    assert lines[0].startswith("TRUSTED") == (result.returncode == 0)
    for word in ("start (sent - due)", "itl (each gap)", "p99.9", "by the server's log", "lag p99", "ms per request)"):
        assert word in result.stdout
    assert "20 requests of 50 input and 20 output tokens, 20 also in the server's log" in result.stdout


def test_the_search_keeps_the_highest_rate_that_held(tmp_path: Path) -> None:
    code, report = _json("--max-rate", "30", cache=tmp_path)
    assert code == 0, "it was measured, whatever came of it"
    rates = [point["request_rate"] for point in report["points"]]
    assert rates[0] == 25
    assert set(rates) <= {25, 27.4, 30}
    held = {point["request_rate"] for point in report["points"] if not point["failed"]}
    assert report["max_trusted_rate"] == max(held, default=None)
    path = tmp_path / "abatch" / "calibration.json"
    if not held:
        assert not path.exists()
        return
    assert report["saved_in"] == str(path)
    (saved,) = json.loads(path.read_bytes())["calibrations"]
    assert (saved["max_trusted_rate"], saved["workers"]) == (report["max_trusted_rate"], 1)
    assert saved["point"] in report["points"]


def test_against_a_server_without_a_log_the_rest_is_reported(tmp_path: Path) -> None:
    with null_server("--itl", "1", log=tmp_path / "log") as server:
        arguments = ("--url", server.url, "-r", "20", "-d", "1")
        shown = abatch("calibrate", *arguments, XDG_CACHE_HOME=str(tmp_path))
        _, report = _json(*arguments, cache=tmp_path)
    assert "what the client adds to ttft, itl and e2e is unknown" in " ".join(shown.stdout.split())
    assert "start (sent - due)" in shown.stdout
    assert "each gap" not in shown.stdout
    assert report["is_trusted"] is False, "what cannot be judged is no pass"
    assert report["point"]["samples"] == 20
    assert report["point"]["e2e"] is report["point"]["server_e2e_p99_ms"] is None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that knows this client: trusted up to 30 requests a second."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    save_calibration(make_calibration(max_trusted_rate=30.0))
    return folder


def test_bench_says_what_is_known_of_its_client(tmp_path: Path, cache: Path) -> None:
    def bench(name: str, rate: str) -> tuple[str, Any]:
        pace = ("-w", "chat-short", "--turns", "1", "--osl", "2", "--arrival", "constant", "-r", rate, "-d", "1")
        run = tmp_path / name
        result = abatch("bench", "--url", server.url, *pace, "--warmup", "0", "-o", run, XDG_CACHE_HOME=str(cache))
        assert result.returncode == 0, result.stderr
        floor = json.loads((run / "summary.json").read_bytes())["client"]["floor"]
        return " ".join(result.stdout.split()), floor

    with null_server("--ttft", "5", log=tmp_path / "log") as server:
        below, floor = bench("below", "20")
        above, _ = bench("above", "60")
        (cache / "abatch" / "calibration.json").write_bytes(b"{")
        unknown, no_floor = bench("unknown", "60")
    assert floor["max_trusted_rate"] == 30
    fact = "client floor: adds at most 0.4 ms to ttft at p99, trusted up to 30 requests/s (calibrated 2026-01-02)"
    assert fact in below
    assert "calibrated for" not in below
    doubt = "NOT TRUSTED: the run offered 60 requests/s, but this client was calibrated for at most 30: raise --workers"
    assert doubt in above
    assert no_floor is None
    assert "client floor: unknown; run abatch calibrate" in unknown
    assert "calibrated for" not in unknown
    assert doubt in " ".join(abatch("report", tmp_path / "above").stdout.split()), "it is of the run, not of today"


def test_ctrl_c_keeps_nothing_and_is_exit_130(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command("calibrate"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def has_begun() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        return any(tmp_path.glob("abatch-calibrate-*/run/results.jsonl"))

    wait_until(has_begun, "no results")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert b"Traceback" not in stderr
    assert list(tmp_path.iterdir()) == [], "no cache, and nothing left behind"
