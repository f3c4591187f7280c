"""Other load generators against our server: they get through, and count as we do."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.peer_environments import AIPERF, GUIDELLM, PeerEnvironment

_LIMIT_S = 300.0


def _run(environment: PeerEnvironment, command: Sequence[str], folder: Path, **variables: str) -> None:
    if (reason := environment.reason_why_not()) is not None:
        pytest.skip(reason)
    surroundings = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | variables
    done = subprocess.run(
        ["nice", environment.command(command[0]), *command[1:]],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_guidellm(smollm2_server: str, smollm2: Path, tmp_path: Path) -> None:
    command = (
        *("guidellm", "run", "--backend", f"kind=openai_http,target={smollm2_server},model=smollm2"),
        *("--tokenizer", f"kind=hf_auto,model={smollm2}", "--disable-console"),
        *("--data", "kind=synthetic_text,prompt_tokens=30,output_tokens=6", "--profile", "kind=constant,rate=1"),
        *("--constraint", "kind=max_duration,seconds=8", "--output", "kind=json,path=out.json"),
    )
    _run(GUIDELLM, command, tmp_path, HF_HUB_OFFLINE="1")
    (benchmark,) = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    totals = benchmark["metrics"]["request_totals"]
    assert totals["successful"] >= 2
    assert totals["errored"] == 0
    output = benchmark["metrics"]["output_token_count"]["successful"]
    assert (output["min"], output["max"]) == (6, 6)


def test_aiperf(smollm2_server: str, smollm2: Path, tmp_path: Path) -> None:
    command = (
        *("aiperf", "profile", "-m", "smollm2", "--endpoint-type", "chat", "--streaming", "-u", smollm2_server),
        *("--tokenizer", str(smollm2), "--request-rate", "1", "--arrival-pattern", "constant"),
        *("--benchmark-duration", "8", "--isl", "30", "--osl", "6", "--ui", "none", "--no-gpu-telemetry"),
        *("--no-server-metrics", "--artifact-dir", "out"),
    )
    _run(AIPERF, command, tmp_path)
    report: dict[str, Any] = json.loads((tmp_path / "out" / "profile_export_aiperf.json").read_text())
    assert report["request_count"]["avg"] >= 2
    assert report["error_summary"] == []
    output = report["output_sequence_length"]
    assert (output["min"], output["max"]) == (6, 6)
    # Of prompts it counts the text alone, and not the chat template around it.
    assert report["usage_completion_tokens_diff_pct"]["max"] == 0, "its own tokenizer counts what our usage says"
