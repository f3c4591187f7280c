"""Servers of other projects, started from environments of their own, all with the same small model."""

from __future__ import annotations

import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.cli import command
from support.peer_environments import LLAMA_CPP, OURS, TRANSFORMERS, VLLM, PeerEnvironment
from support.smollm2 import smollm2_folder, smollm2_gguf
from support.waiting import wait_until

_START_S = 400.0
"""vLLM compiles for minutes when it starts for the first time."""


@dataclass(frozen=True, slots=True)
class PeerServer:
    """A kind of server.

    Attributes:
        command: What starts it on a port.
        path: Answers once the server is ready.
        model: Its name there.
        metrics: What its metrics are known as; None: it has no page of them.
        apis: What `abatch bench --api` can be.
        reports_usage: Whether its streams say how many tokens there were.
        reports_cached: Whether it says how much of a prompt its cache had.
        takes_ignore_eos: Whether answers can be made as long as asked for.
    """

    name: str
    environment: PeerEnvironment
    command: Callable[[int], Sequence[str]]
    path: str
    model: str
    variables: Mapping[str, str] = field(default_factory=dict)
    metrics: str | None = None
    apis: Sequence[str] = ("chat", "completions")
    reports_usage: bool = True
    reports_cached: bool = False
    takes_ignore_eos: bool = False


def _vllm(port: int) -> Sequence[str]:
    return (
        *(VLLM.command("python"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(smollm2_folder())),
        *("--served-model-name", "smollm2", "--dtype", "bfloat16", "--max-model-len", "2048", "--enforce-eager"),
        *("--enable-prompt-tokens-details", "--host", "127.0.0.1", "--port", str(port)),
    )


def _transformers(port: int) -> Sequence[str]:
    return (
        *(TRANSFORMERS.command("transformers"), "serve", str(smollm2_folder()), "--continuous-batching"),
        *("--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)),
    )


def _llama_cpp(port: int) -> Sequence[str]:
    return (
        *(LLAMA_CPP.command("python"), "-m", "llama_cpp.server", "--model", str(smollm2_gguf())),
        *("--model_alias", "smollm2", "--n_ctx", "2048", "--host", "127.0.0.1", "--port", str(port)),
    )


def _abatch(port: int) -> Sequence[str]:
    return command("serve", "--model", smollm2_folder(), "--served-model-name", "smollm2", "--port", str(port))


PEERS = {
    peer.name: peer
    for peer in (
        PeerServer(
            "vllm",
            VLLM,
            _vllm,
            "/health",
            "smollm2",
            # Threads that are bound to processors, and wait for each other there, stand still where others work too.
            {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"},
            metrics="vLLM",
            apis=("chat", "completions", "responses", "messages"),
            reports_cached=True,
            takes_ignore_eos=True,
        ),
        PeerServer(
            "transformers",
            TRANSFORMERS,
            _transformers,
            "/health",
            str(smollm2_folder()),
            apis=("chat", "completions", "responses"),
        ),
        PeerServer("llama-cpp", LLAMA_CPP, _llama_cpp, "/v1/models", "smollm2", reports_usage=False),
        PeerServer(
            "abatch",
            OURS,
            _abatch,
            "/health",
            "smollm2",
            metrics="abatch",
            apis=("chat", "completions", "responses", "messages"),
            reports_cached=True,
            takes_ignore_eos=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class RunningPeer:
    """A server of a kind, that runs."""

    kind: PeerServer
    url: str


@contextmanager
def running_peer(kind: PeerServer, log: Path) -> Iterator[RunningPeer]:
    """Start a server, until the context is left. Without its environment the test is skipped."""
    if (reason := kind.environment.reason_why_not()) is not None:
        pytest.skip(reason)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        **kind.variables,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(kind.command(port), stdout=output, stderr=output, env=environment)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, f"{kind.name} has ended: {log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(url + kind.path, timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    try:
        wait_until(answers, lambda: f"{kind.name} does not answer: {log.read_text()[-2000:]}", patience_s=_START_S)
        yield RunningPeer(kind, url)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
