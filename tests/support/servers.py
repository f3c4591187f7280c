"""Real servers in real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cli import command
from support.waiting import PATIENCE_S, wait_until

PROCESSES_ONLY = ("--device", "simulated:1ms")
"""Where the model does not matter: processes and signals are the same, and it starts in half the time."""


@dataclass(slots=True)
class RunningServer:
    """An `abatch serve` or `abatch null-server` process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def engine_pid(self) -> int:
        """The engine's process: the only child of the server's."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = children
        return int(pid)

    def num_descriptors(self) -> int:
        """That it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def metric(self, name: str) -> float:
        """One value of /metrics."""
        text = self._metrics()
        match = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        assert match is not None, f"no {name} in {text}"
        return float(match[1])

    def num_ended(self, outcome: str) -> int:
        """Requests that ended like this, by /metrics, which leaves out what has not happened yet."""
        match = re.search(rf'^abatch_requests_total\{{outcome="{outcome}"\}} (\S+)$', self._metrics(), re.MULTILINE)
        return int(float(match[1])) if match else 0

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_S) as response:
            return str(response.read().decode())

    def wait_for_metric(self, name: str, value: float) -> None:
        """Until a value of /metrics is what it should be."""
        wait_until(lambda: self.metric(name) == value, lambda: f"{name} is {self.metric(name)}, not {value}")


def unless_given(arguments: Sequence[str], option: str, value: str) -> list[str]:
    """The words of an option, where a test has not given it another value."""
    return [] if option in arguments else [option, value]


@contextmanager
def running_server(*arguments: str, log: Path, most_files: int | None = None) -> Iterator[RunningServer]:
    """`abatch serve` with these arguments on a free port, until the context is left. `most_files`: its hard limit."""
    # One thread: on a busy machine two of them spend their time waiting for each other at every small operation.
    words = [*unless_given(arguments, "--num-threads", "1"), *arguments]
    with _running("serve", *words, log=log, most_files=most_files) as server:
        yield server


@contextmanager
def null_server(*arguments: str, log: Path, most_files: int | None = None) -> Iterator[RunningServer]:
    """`abatch null-server` with these arguments on a free port, until the context is left; then its --log is whole."""
    with _running("null-server", *arguments, log=log, most_files=most_files) as server:
        yield server


@contextmanager
def _running(subcommand: str, *arguments: str, log: Path, most_files: int | None) -> Iterator[RunningServer]:
    words = command(subcommand, *unless_given(arguments, "--port", "0"), *arguments)
    if most_files is not None:
        words = ["sh", "-c", f'ulimit -n {most_files} && exec "$@"', "sh", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    with interrupted_at_end(process):
        yield RunningServer(wait_for_url(process, log), process, log)


@contextmanager
def interrupted_at_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C for a process that still runs when the context is left; one that does not end then is killed."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def wait_for_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where a server listens, once its log says so."""

    def url() -> re.Match[str] | None:
        has_ended = process.poll() is not None
        found = re.search(r" at (http://\S+) ", log.read_text())
        assert found or not has_ended, log.read_text()
        return found

    wait_until(url, lambda: f"no server: {log.read_text()}")
    found = url()
    assert found is not None
    return found[1]


def post(url: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any], dict[str, str]]:
    """POST JSON (or bytes as they are); status, decoded answer, headers."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    return _answer(request)


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any], dict[str, str]]:
    """GET; status, decoded answer, headers."""
    return _answer(urllib.request.Request(url, headers=headers or {}))


def _answer(request: urllib.request.Request) -> tuple[int, dict[str, Any], dict[str, str]]:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, json.loads(response.read()), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)
