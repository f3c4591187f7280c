"""`abatch bench` from the command line to the run folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.cli import abatch, abatch_process, command
from support.servers import PROCESSES_ONLY, null_server, running_server
from support.waiting import PATIENCE_S, wait_until


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


@pytest.mark.xdist_group("wall_clock")
def test_more_streams_than_files_that_the_client_may_open(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with null_server("--ttft", "1000", log=tmp_path / "log") as server:
        bench = command(
            *("bench", "--url", server.url, "--workload", "chat-short", "--turns", "1", "-c", "150", "-d", "3"),
            *("--warmup", "0", "--osl", "4", "-o", run, "--require", "errors < 1%"),
        )
        limited = ["bash", "-c", 'ulimit -n 64; exec "$@"', "-", *bench]
        result = subprocess.run(limited, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 4, result.stdout + result.stderr
    assert result.stdout.startswith("NOT TRUSTED: ")
    text = " ".join(result.stdout.split())
    assert (
        "met a limit of the client, not of the server: too many open files (limit 64): raise it with ulimit -n" in text
    )
    assert "INCONCLUSIVE errors < 1%" in text
    assert set(summary_of(run)["errors"]) == {"client_limit"}
    assert summary_of(run)["succeeded"] > 0


def test_the_built_in_engine_is_measured_and_judged(tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Neither a key for some other server nor what lies about in the user's folder gets in the way.
    (tmp_path / "queue.py").write_text("raise RuntimeError('not the module you wanted')")
    result = abatch_process(
        *("bench", "--num-sessions", "8", "--turns", "4", "--workload", "agent-tools", "--time-scale", "0.1"),
        *("--seed", "5", "--output", run, "--require", "errors == 0", "--max-num-seqs", "16"),
        cwd=tmp_path,
        ABATCH_API_KEY="for another server",
    )
    assert result.returncode == 0, result.stderr
    assert "PASS         errors == 0" in result.stdout
    summary = summary_of(run)
    assert summary["is_complete"] is True
    assert summary["succeeded"] == 32
    assert summary["seed"] == 5
    assert summary["target"] == "abatch serve, async batching (runs as continuous on CPU)"
    assert summary["workload"] == "agent-tools"
    assert summary["metrics"]["resume_ttft"]["agent"]["count"] > 0
    assert summary["tokens_per_chunk"] >= 0.95  # on a busy machine tokens come several at once
    config = json.loads((run / "config.json").read_text())
    assert config["provenance"]["torch"]
    assert config["options"]["max_num_seqs"] == 16
    assert "context 32768" in (run / "server.log").read_text()
    again = abatch("report", run)
    assert again.returncode == 0
    assert again.stdout.splitlines()[0] == result.stdout.splitlines()[0]
    assert "PASS         errors == 0" in again.stdout


def test_a_server_given_by_url_and_secrets_that_stay_out_of_the_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with running_server("--model", "tiny", "--api-key", "s3cret", log=tmp_path / "log") as server:
        result = abatch(
            *("bench", "--url", server.url + "/v1", "--api-key", "s3cret", "--header", "X-Token: t0ken"),
            *("--workload", "chat-short", "--request-rate", "20", "--arrival", "constant", "--turns", "1"),
            *("--osl", "8", "--num-sessions", "40", "--output", run),
        )
        refused = abatch("bench", "--url", server.url, "--duration", "1", "--output", tmp_path / "refused")
    assert result.returncode == 0, result.stderr
    summary = summary_of(run)
    assert summary["succeeded"] == 40
    assert 0 < summary["achieved_rate"] <= summary["offered_rate"] <= 20.5
    assert summary["output_tokens"] == 8 * 40
    for path in run.iterdir():
        assert "s3cret" not in path.read_text()
        assert "t0ken" not in path.read_text()
    assert refused.returncode == 1
    assert "--api-key" in refused.stderr


def test_exit_codes_of_rules(tiny_server: str, tmp_path: Path) -> None:
    def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
        return abatch(
            *("bench", "--url", tiny_server.replace("//", "//user:passw0rd@"), "--workload", "chat-short"),
            *("--turns", "1", "--osl", "2", "--isl", "5"),
            *("--request-rate", "100", "--num-sessions", "350", *arguments),
            cwd=tmp_path,
        )

    passed = bench("--require", "errors < 5%", "--output", "a")
    assert passed.returncode == 0, passed.stdout
    assert bench("--require", "errors > 10%", "--require", "resume_ttft.p99 < 1s", "--output", "b").returncode == 3
    assert bench("--require", "resume_ttft.p99 < 1s", "--output", "c").returncode == 4
    for path in (tmp_path / "a").iterdir():
        assert "passw0rd" not in path.read_text()


class _Failing(BaseHTTPRequestHandler):
    """Answers the two requests of the calibration, then nothing but 500."""

    num_requests = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).num_requests += 1
        if self.num_requests > 2:
            self.send_error(500)
            return
        events = [
            b'{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}',
            b'{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":1}}' % (100 * self.num_requests),
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"".join(b"data: " + event + b"\n\n" for event in events))

    def log_message(self, *_: object) -> None:
        pass


def test_a_run_in_which_nothing_succeeds_is_exit_1(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        result = abatch("bench", "--url", url, "-m", "x", "--num-sessions", "5", "--output", tmp_path / "run")
        server.shutdown()
    assert result.returncode == 1
    assert "NO VERDICT" in result.stdout
    assert "5 x http_500" in result.stdout
    assert summary_of(tmp_path / "run")["errors"] == {"http_500": 5}


def _start_bench(run: Path, *arguments: str, least_bytes: int = 5000) -> subprocess.Popen[str]:
    """A bench of which some results are on disk."""
    process = subprocess.Popen(
        command("bench", "--output", run, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    results = run / "results.jsonl"

    def are_there() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        return results.exists() and results.stat().st_size > least_bytes

    wait_until(are_there, "no results")
    return process


_A_MINUTE = (*PROCESSES_ONLY, "--real-time", "--duration", "60", "--osl", "20", "--time-scale", "0.05", "--warmup", "0")


def test_ctrl_c_saves_what_there_is_and_is_exit_130(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = _start_bench(run, *_A_MINUTE)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert stdout.splitlines()[1].startswith("INTERRUPTED: no verdict"), stdout
    assert "Traceback" not in stderr
    summary = summary_of(run)
    assert summary["is_complete"] is False
    assert summary["succeeded"] > 5
    assert abatch("report", run).returncode == 0


def test_kill_9_leaves_a_run_that_can_be_reported_and_no_server(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = _start_bench(run, *_A_MINUTE)
    url = re.search(r"http://127.0.0.1:(\d+)", (run / "server.log").read_text())
    assert url is not None
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert not (run / "summary.json").exists()
    report = abatch("report", run)
    assert report.returncode == 0, report.stderr
    assert report.stdout.splitlines()[1].startswith("INTERRUPTED: no verdict"), report.stdout
    assert "ttft" in report.stdout
    port = int(url[1])
    wait_until(lambda: not _listens(port), "the server outlived the bench")


def _listens(port: int) -> bool:
    tables = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in tables)


def test_kill_9_of_the_engine_under_load_ends_the_run_with_counted_errors(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with running_server(*PROCESSES_ONLY, log=tmp_path / "log") as server:
        process = _start_bench(
            run,
            *("--url", server.url, "--workload", "chat-short", "--session-rate", "20"),
            *("--duration", "6", "--warmup", "0", "--osl", "50"),
            least_bytes=1000,
        )
        os.kill(server.engine_pid(), signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, "more than 5% failed, and no rule allows it"
    assert stdout.splitlines()[1].startswith("ERRORS: "), stdout
    summary = summary_of(run)
    assert summary["is_complete"] is True
    assert summary["succeeded"] > 0
    assert set(summary["errors"]) <= {"http_503", "server_error"}
    assert sum(summary["errors"].values()) > 0
    assert "the engine process ended" in stdout
    assert "Traceback" not in stderr
