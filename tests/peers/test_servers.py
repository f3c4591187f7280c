"""Servers of other projects, and our own, as targets of `bench` and `compare`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import abatch_process
from support.peer_servers import PEERS, RunningPeer, running_peer

# Few requests, far apart: on a busy machine these servers need seconds for one.
_TRAFFIC = (
    *("--workload", "chat-short", "--turns", "1", "--isl", "20", "--osl", "6", "--request-rate", "0.5"),
    *("--arrival", "constant"),
    *("--duration", "8", "--warmup", "0", "--idle-probe", "2", "--timeout", "120", "--drain", "120"),
)
_LEAST_REQUESTS = 3  # all of them but one


@pytest.fixture(scope="module", params=sorted(PEERS))
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPeer]:
    with running_peer(PEERS[request.param], tmp_path_factory.mktemp("peer") / "log") as running:
        yield running


def _results(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("api", ["chat", "completions", "responses", "messages"])
def test_bench(peer: RunningPeer, api: str, tmp_path: Path) -> None:
    """Every API of a server can be measured, and what it says of tokens and of itself is read."""
    if api not in peer.kind.apis:
        pytest.skip(f"{peer.kind.name} has no such API: {api}")
    run = tmp_path / "run"
    done = abatch_process("bench", "--url", peer.url, "--api", api, *_TRAFFIC, "-o", run)
    assert done.returncode == 0, done.stdout + done.stderr
    # Too few requests to judge a p99 by, and perhaps a client that had to wait for a processor: the first line says so.
    assert done.stdout.startswith(("NOT ENOUGH DATA: ", "NOT TRUSTED: ")), done.stdout
    summary = json.loads((run / "summary.json").read_text())
    assert summary["errors"] == {}, done.stdout
    assert summary["model"] == peer.kind.model
    results = _results(run)
    assert len(results) >= _LEAST_REQUESTS
    for result in results:
        assert "malformed_events" not in result
        assert not result.get("has_odd_usage")
        assert result["finish_reason"]
        assert ("output_tokens" in result) == peer.kind.reports_usage
        assert 0 < result.get("output_tokens", 6) <= 6
        assert result.get("prompt_tokens", 20) >= 18, "as near to 20 as whole words come"
        assert ("cached_tokens" in result) >= peer.kind.reports_cached
        if peer.kind.takes_ignore_eos:
            assert result["output_tokens"] == 6
    assert ("no token counts" in done.stdout) != peer.kind.reports_usage
    server = summary["server"]
    assert (None if server is None else server["kind"]) == peer.kind.metrics
    if server is not None:
        assert server["left_out"] == []
        assert server["samples"] >= 3


def test_what_the_server_refuses_is_said_in_its_own_words(peer: RunningPeer, tmp_path: Path) -> None:
    done = abatch_process("bench", "--url", peer.url, "--model", "nope", *_TRAFFIC, "-o", tmp_path / "run")
    if done.returncode == 0:
        pytest.skip(f"{peer.kind.name} takes every name for its only model")
    assert "nope" in done.stderr
    assert "{" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_compare(peer: RunningPeer, tmp_path: Path) -> None:
    """A server is no worse than itself."""
    done = abatch_process(
        *("compare", "--url", f"one={peer.url}", "--url", f"two={peer.url}", *_TRAFFIC, "--rounds", "2"),
        *("-o", tmp_path / "both"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "worse" not in done.stdout.splitlines()[0]
    for run in sorted((tmp_path / "both").glob("*/*/results.jsonl")):
        assert not [result for result in _results(run.parent) if "error" in result]
