"""`compare --vary`: what is compared, and what it is called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from abatch.cli.comparing.variations import variations
from abatch.cli.options.engine import EngineOptions
from support.cli import abatch


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["park=keep,auto"], ["park=keep", "park=auto"]),
        (["batching=window,async"], ["window", "async"]),
        (["max-num-batched-tokens=512,2048"], ["512", "2048"]),
        (["prefix-cache=on,off"], ["prefix-cache", "no-prefix-cache"]),
        (["max-num-batched-tokens=512,2048", "park=keep,auto"], ["512 keep", "512 auto", "2048 keep", "2048 auto"]),
        (
            ["max-num-seqs=default,8", "compile=off,on"],
            ["default no-compile", "default compile", "8 no-compile", "8 c"],
        ),
        (["batching=async", "park=keep,drop"], ["park=keep", "park=drop"]),
        (["kv-memory=1GiB,2GiB"], ["kv-memory=1GiB", "kv-memory=2GiB"]),
        (["tokenizer=/a/b,../c"], ["tokenizer=-a-b", "tokenizer=..-c"]),
        (["tokenizer=comparison.json,.", "seed"], None),
    ],
)
def test_targets_are_called_by_what_sets_them_apart(texts: Sequence[str], names: Sequence[str] | None) -> None:
    """Names are those of folders, too."""
    if names is None:
        found = list(variations(texts[:1], EngineOptions()))
        assert found == ["tokenizer=comparison.json", "tokenizer=."]
        return
    found = list(variations(texts, EngineOptions()))
    assert [name[: len(one)] for name, one in zip(found, names, strict=True)] == names
    assert not [name for name in found if "/" in name or name.startswith(".")]


def test_values_are_those_that_the_options_of_the_command_line_have() -> None:
    texts = ["max-num-seqs=default,8", "window-timeout=0.5", "prefix-cache=off", "kv-memory=1GiB", "policy=fcfs"]
    first, other = variations(texts, EngineOptions()).values()
    assert first.engine == EngineOptions(window_timeout_s=0.5, prefix_cache=False, kv_memory="1GiB")
    assert other.engine.max_num_seqs == 8
    assert other.note == "max-num-seqs 8, window-timeout 0.5, no-prefix-cache, kv-memory 1GiB, policy fcfs"


def test_what_was_varied_is_measured_saved_and_shown_again(tmp_path: Path) -> None:
    """The first is the reference. Each engine has its own values, and says so."""
    result = abatch(
        *("compare", "--device", "simulated:5ms", "--vary", "max-num-batched-tokens=512,2048"),
        *("--vary", "park=keep,drop", "--workload", "agent-tools", "-d", "20", "--rounds", "1"),
        *("-o", tmp_path / "runs"),
        *("--timeline", tmp_path / "traces", "--goodput", "ttft:50", "--percentiles", "50,90,99.9"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    names = ["512 keep", "512 drop", "2048 keep", "2048 drop"]
    assert json.loads((tmp_path / "runs" / "comparison.json").read_text())["first"] == names[0]
    assert "2048 drop: abatch, async batching" in result.stdout
    assert "max-num-batched-tokens 2048, park drop" in " ".join(result.stdout.split())
    for name in names:
        options = json.loads((tmp_path / "runs" / name / "round-1" / "config.json").read_text())["options"]
        assert [str(options["max_num_batched_tokens"]), options["park"]] == name.split()
        assert (tmp_path / "runs" / name / "round-1" / "steps.jsonl").exists(), "a timeline implies --step-log"
    rows = {line[:16].strip() for line in result.stdout.splitlines()}
    assert {"ttft p90", "ttft p99.9", "goodput"} <= rows
    traces = sorted(path.name for path in (tmp_path / "traces").iterdir())
    assert traces == sorted(f"{name.replace(' ', '%20')}-round-1.json" for name in names)
    command = json.loads((tmp_path / "runs" / "comparison.json").read_text())["command"]["words"]
    assert command[:5] == ["compare", "--vary", "max-num-batched-tokens=512,2048", "--vary", "park=keep,drop"]
    assert "--text-salt" not in command, "an engine that is new has seen nothing"
    repeat = result.stdout.splitlines()[-1]
    assert repeat.startswith("repeat: abatch compare --vary ")
    assert "--duration 20" in repeat
    again = abatch("compare", tmp_path / "runs", "--goodput", "ttft:1", "--percentiles", "95")
    assert again.returncode == 0, again.stderr
    assert [line for line in again.stdout.splitlines() if line.startswith("512 drop: ")]
    again_rows = {line[:16].strip(): line[16:].split() for line in again.stdout.splitlines()}
    assert "ttft p95" in again_rows
    assert again_rows["goodput"][0] == "0.0%", "counted again, by other objectives"
