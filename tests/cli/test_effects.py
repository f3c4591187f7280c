"""An option that can change nothing in the traffic is refused, whichever it is; one that can is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from abatch.cli.forecast.effects import _EITHER, refuse_without_effect
from abatch.cli.options.groups import options_of
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.errors import ConfigurationError
from support.cli import abatch

_FLAGS = {option.flag: option for option in options_of(TrafficOptions) if option.name in _EITHER}
_WITHOUT_EFFECT = {
    "chat-short": {"--tool-pause", "--sub-agents", "--synchronised"},
    "agent-coding": {"--synchronised"},
    "agent-tools": {"--sub-agents", "--synchronised"},
    "always-on": {"--sub-agents"},
    "hol-probe": {"--turns", "--tool-pause", "--time-scale", "--pause-cap", "--sub-agents", "--synchronised"},
    "mixed": set(),
}


@pytest.mark.parametrize("workload", _WITHOUT_EFFECT)
def test_each_option_of_the_sessions_shape(workload: str) -> None:
    assert {flag for flag in _FLAGS if _is_refused(workload, flag)} == _WITHOUT_EFFECT[workload]


def _is_refused(workload: str, flag: str) -> bool:
    option = _FLAGS[flag]
    value: Any = True if option.kind is bool else 0.5 if flag == "--sub-agents" else 3
    try:
        refuse_without_effect(TrafficOptions(workload=workload, **{option.name: value}))
    except ConfigurationError as error:
        return str(error).startswith(f"{flag} does not apply to the workload {workload}: leave it out")
    return False


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "--device", "simulated:h100", "-w", "chat-short", "--tool-pause", "2"],
        ["bench", "http://127.0.0.1:9", "-w", "chat-short", "--tool-pause", "2"],
        ["compare", "--device", "simulated:h100", "-w", "chat-short", "--tool-pause", "2"],
        ["workload", "show", "chat-short", "--tool-pause", "2"],
        ["workload", "export", "chat-short", "--tool-pause", "2", "-o", "-"],
    ],
)
def test_every_command_that_has_traffic_refuses_it(words: list[str], tmp_path: Path) -> None:
    result = abatch(*words, cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line == (
        "abatch: --tool-pause does not apply to the workload chat-short: leave it out (its sessions are the same, "
        "whatever the value)"
    )


@pytest.mark.parametrize(
    ("rows", "flag", "is_refused"),
    [
        (3, "--tool-pause", True),
        (3, "--turns", True),
        (3, "--context-scale", False),
        (50, "--tool-pause", False),
    ],
)
def test_a_trace_is_judged_if_it_can_be_seen_whole(rows: int, flag: str, is_refused: bool, tmp_path: Path) -> None:
    row = '{"session_id": "%d", "traffic_class": "x", "turns": [{"new_tokens": 9, "output_tokens": 9}]}\n'
    trace = tmp_path / "t.jsonl"
    trace.write_text("".join(row % number for number in range(rows)))
    result = abatch("workload", "show", "--trace", trace, flag, "2")
    assert (result.returncode == 2) is is_refused, result.stderr
