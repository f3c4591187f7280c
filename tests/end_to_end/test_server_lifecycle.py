"""Starting, draining, dying."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.servers import PROCESSES_ONLY, RunningServer, get, post, running_server
from support.waiting import PATIENCE_S, wait_until

_LONG = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4000, "ignore_eos": True, "min_tokens": 4000}


class LongRequests:
    """Requests that run in threads until the server ends them."""

    def __init__(self, server: RunningServer, count: int, body: dict[str, Any]) -> None:
        self.answers: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        url = f"{server.url}/v1/chat/completions"
        self._threads = [
            threading.Thread(target=lambda: self.answers.append(post(url, body)), daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()
        server.wait_for_metric("abatch_requests_running", count)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a request hangs"


def test_killing_the_engine_ends_every_request_with_an_error(tmp_path: Path) -> None:
    with running_server(*PROCESSES_ONLY, log=tmp_path / "log") as server:
        whole = LongRequests(server, 3, _LONG)
        streamed = urllib.request.urlopen(
            urllib.request.Request(
                f"{server.url}/v1/chat/completions",
                json.dumps({**_LONG, "stream": True}).encode(),
                {"Content-Type": "application/json"},
            ),
            timeout=PATIENCE_S,
        )
        assert streamed.readline().startswith(b"data: ")
        os.kill(server.engine_pid(), signal.SIGKILL)
        whole.join()
        assert [status for status, _, _ in whole.answers] == [503] * 3
        assert all(body["error"]["code"] == "engine_dead" for _, body, _ in whole.answers)
        with streamed:
            rest = streamed.read().decode()
        last = json.loads(rest.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["code"] == "engine_dead"
        assert "[DONE]" not in rest

        assert get(f"{server.url}/health")[0] == 503
        status, body, _ = post(f"{server.url}/v1/chat/completions", _LONG)
        assert (status, body["error"]["code"]) == (503, "engine_dead")
        assert server.metric("abatch_engine_alive") == 0
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 1, "it did not end well"


@pytest.mark.parametrize("to_group", [False, True], ids=["server alone", "whole process group"])
def test_sigterm_finishes_what_was_accepted_and_refuses_the_rest(tmp_path: Path, to_group: bool) -> None:
    with running_server(*PROCESSES_ONLY, log=tmp_path / "log") as server:
        accepted = LongRequests(server, 2, {**_LONG, "max_tokens": 2000, "min_tokens": 2000})
        if to_group:  # as service managers do
            os.kill(server.engine_pid(), signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        while (answer := post(f"{server.url}/v1/completions", {"prompt": "x", "max_tokens": 1}))[0] == 200:
            assert time.monotonic() < deadline
        assert answer[0] == 503
        assert answer[1]["error"]["code"] == "draining"
        assert get(f"{server.url}/health")[0] == 503
        accepted.join()
        assert [status for status, _, _ in accepted.answers] == [200] * 2
        assert all(body["usage"]["completion_tokens"] == 2000 for _, body, _ in accepted.answers)
        assert server.process.wait(PATIENCE_S) == 0


def test_draining_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with running_server(*PROCESSES_ONLY, "--drain-timeout", "0.2", log=tmp_path / "log") as server:
        stuck = LongRequests(server, 1, {**_LONG, "max_tokens": 30_000, "min_tokens": 30_000})
        engine_pid = server.engine_pid()
        server.process.send_signal(signal.SIGTERM)
        stuck.join()
        ((status, body, _),) = stuck.answers
        assert status == 503
        assert "stopped" in body["error"]["message"]
        assert server.process.wait(PATIENCE_S) == 0
        assert not _is_running(engine_pid), "the engine outlived its server"


def test_killing_the_server_takes_the_engine_with_it(tmp_path: Path) -> None:
    with running_server(*PROCESSES_ONLY, log=tmp_path / "log") as server:
        engine_pid = server.engine_pid()
        server.process.kill()
        server.process.wait(PATIENCE_S)
        wait_until(lambda: not _is_running(engine_pid), "the engine outlived its server")


def test_an_inherited_socket_and_the_end_of_standard_input(tmp_path: Path) -> None:
    """How `abatch bench` runs its server: no race for the port, and no orphan when bench is killed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "abatch.cli",
            "serve",
            *PROCESSES_ONLY,
            "--fd",
            str(listener.fileno()),
            "--exit-on-eof",
        ]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=log, stdout=log, pass_fds=[listener.fileno()]
            )
    assert get(f"http://127.0.0.1:{port}/health")[0] == 200
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 0


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_takes_long_before_the_first_request_is_told(tmp_path: Path) -> None:
    """Compiling, here; on a GPU also the trial step and each recorded graph."""
    with running_server("--model", "tiny", "--compile", log=tmp_path / "log") as server:
        status, answer, _ = post(f"{server.url}/v1/completions", {"prompt": "a", "max_tokens": 5, "ignore_eos": True})
        assert status == 200
        assert answer["usage"]["completion_tokens"] == 5
    log = (tmp_path / "log").read_text()
    assert log.index("loading tiny") < log.index("engine: warming up") < log.index("serving tiny")
    assert "native attention" in log
    assert "layers:" not in log


def test_what_became_of_the_layers_is_told(tmp_path: Path) -> None:
    with running_server("--model", "tiny", log=tmp_path / "log"):
        assert "\nabatch: layers: 2 of 2 rewritten\n" in (tmp_path / "log").read_text()
