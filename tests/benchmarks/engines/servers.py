"""The servers that are compared, each as it runs best on a CPU, and how one is started and ended with all of its
processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.engines.closed_loop import OUTPUT_TOKENS

_START_S = 420.0
"""vLLM compiles for minutes when it starts for the first time."""
_END_S = 20.0
_NAME = "smollm2"


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server.

    Attributes:
        command: Of a model's folder, a dtype and a port.
        fields: Of each request, beside prompt and length. Greedy, and answers as long as asked for.
        dtypes: That it can compute in.
        variables: Of its environment.
    """

    name: str
    command: Callable[[Path, str, int], Sequence[str]]
    fields: dict[str, Any]
    dtypes: Sequence[str]
    variables: dict[str, str] = field(default_factory=dict)


def vllm(python: Path) -> Server:
    """Compiled, with all cores."""

    def command(model: Path, dtype: str, port: int) -> list[str]:
        words = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--dtype", dtype]
        return [*words, "--served-model-name", _NAME, "--max-model-len", "4096", *_at(port)]

    variables = {
        "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    return Server("vLLM", command, _fields(_NAME, ignore_eos=True), ("float32", "bfloat16"), variables)


def transformers(executable: Path, model: Path) -> Server:
    """`transformers serve` with continuous batching. It knows no `ignore_eos`, but a generation config."""

    def command(model: Path, dtype: str, port: int) -> list[str]:
        words = [str(executable), "serve", str(model), "--continuous-batching", "--device", "cpu", "--dtype", dtype]
        return [*words, *_at(port)]

    whole = json.dumps({"eos_token_id": -1, "do_sample": False, "max_new_tokens": OUTPUT_TOKENS})
    return Server("transformers", command, _fields(str(model), generation_config=whole), ("float32", "bfloat16"))


def abatch(arguments: str) -> Server:
    """Ours, with its defaults and these arguments."""

    def command(model: Path, dtype: str, port: int) -> list[str]:
        words = [sys.executable, "-P", "-m", "abatch.cli", "serve", "--model", str(model), "--dtype", dtype]
        return [*words, "--served-model-name", _NAME, *_at(port), *shlex.split(arguments)]

    return Server("abatch", command, _fields(_NAME, ignore_eos=True), ("float32", "bfloat16"))


def _fields(model: str, **others: Any) -> dict[str, Any]:
    return {"model": model, "temperature": 0, "stream_options": {"include_usage": True}, **others}


def _at(port: int) -> list[str]:
    return ["--host", "127.0.0.1", "--port", str(port)]


@contextlib.contextmanager
def running(server: Server, model: Path, dtype: str, log: Path) -> Iterator[tuple[str, float]]:
    """Start it, until the context is left.

    Returns:
        Its URL, and the seconds that it took to answer.

    Raises:
        RuntimeError: it ended, or does not answer after minutes.
    """
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **server.variables}
    started_s = time.monotonic()
    with log.open("wb") as output:
        # A group of its own: it has processes that outlive it if it is killed.
        process = subprocess.Popen(
            server.command(model, dtype, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            if process.poll() is not None or time.monotonic() - started_s > _START_S:
                raise RuntimeError(f"{server.name} does not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield url, time.monotonic() - started_s
    finally:
        _end(process)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have it end, kill what is left of its group after a while, and return when none is."""
    process.terminate()
    with contextlib.suppress(ProcessLookupError):  # none is left
        for is_last in (False, True):
            until_s = time.monotonic() + _END_S
            while time.monotonic() < until_s:
                process.poll()
                os.killpg(process.pid, signal.SIGKILL if is_last else 0)
                time.sleep(0.05)
    process.wait()
