"""An option that has no effect with another is refused, in one wording: each entry of the table."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from abatch.cli.main import app
from abatch.cli.options.applies import INAPPLICABLE
from abatch.cli.options.situations import Situation
from abatch.engine.errors import ConfigurationError
from typer.testing import CliRunner

_URL = ("--url", "http://127.0.0.1:9")
_WHERE = {
    Situation.SERVER_AT_URL: ("bench", *_URL),
    Situation.OWN_ENGINE: ("bench",),
    Situation.NULL_SERVER: ("calibrate", "-r", "5"),
    Situation.VIRTUAL_TIME: ("bench", "--device", "simulated:h100"),
    Situation.SIMULATED_DEVICE: ("compare", "--device", "simulated:h100"),
    Situation.REAL_DEVICE: ("bench",),
    Situation.NO_TRACE: ("bench", "--device", "simulated:h100"),
    Situation.NO_SERVER_METRICS: ("bench", *_URL, "--server-metrics-interval", "0"),
    Situation.SWEEP: ("bench", "--sweep"),
    Situation.SAVED_RUNS: ("compare", "a", "b"),
    Situation.RATE_SEARCH: ("calibrate",),
    Situation.SINGLE_RATE: ("calibrate", "-r", "5"),
    Situation.SEVERAL_RUNS: ("report", "a", "b"),
    Situation.TEXTS_AS_IS: ("bench", "--device", "simulated:h100", "--cache", "as-is"),
    Situation.NO_FREEZE: ("null-server",),
    Situation.NO_STALL: ("null-server",),
    Situation.NO_PREFILL: ("null-server",),
    Situation.NO_WINDOW: ("serve", "--batching", "continuous"),
    Situation.NO_GRAPHS: ("serve", "--device", "cpu"),
    Situation.NO_HOST_TIER: ("serve", "--park", "drop"),
    Situation.NO_SWEEP: ("bench",),
    Situation.NO_RULES: ("bench",),
    Situation.DEVICE: ("calibrate", "--device", "cpu"),
    Situation.NO_DEVICE: ("calibrate",),
    Situation.NO_TLS: ("bench", *_URL),
}
"""A command for each situation."""
_ELSEWHERE = [
    (("serve",), Situation.REAL_DEVICE, "--host-overhead"),
    (("compare", *_URL, "--url", "http://127.0.0.1:8"), Situation.SERVER_AT_URL, "--park"),
    (("compare", "--device", "simulated:h100"), Situation.VIRTUAL_TIME, "--attention"),
    (("compare",), Situation.OWN_ENGINE, "--header"),
    (("workload", "show", "mixed"), Situation.NO_TRACE, "--trace-speed"),
    (("bench", "--device", "simulated:h100"), Situation.NO_WINDOW, "--window-size"),
    (("bench", "--device", "simulated:h100", "--park", "drop"), Situation.NO_HOST_TIER, "--host-kv-memory"),
    (("calibrate", "-r", "5", *_URL), Situation.NO_TLS, "--insecure"),
    (("bench",), Situation.OWN_ENGINE, "--api-key"),
]
"""Other commands where the same holds."""
_ENTRIES = [(_WHERE[situation], situation, flag) for situation, flags in INAPPLICABLE.items() for flag in sorted(flags)]
_VALUES = {"--sweep-share": "0.5"}
"""Where 7 is none."""
_GROUP: Any = typer.main.get_command(app)


def _words(command: tuple[str, ...], flag: str) -> list[str]:
    """The option, with a value where it takes one."""
    one = _GROUP.commands[command[0]]
    one = one.commands[command[1]] if hasattr(one, "commands") else one
    (option,) = (option for option in one.params if flag in (*option.opts, *option.secondary_opts))
    return [flag] if option.is_flag else [flag, _VALUES.get(flag, "7")]


@pytest.mark.parametrize(("command", "situation", "flag"), [*_ENTRIES, *_ELSEWHERE])
def test_what_does_not_apply_is_refused(command: tuple[str, ...], situation: Situation, flag: str) -> None:
    result = CliRunner().invoke(app, [*command, *_words(command, flag)])
    assert isinstance(result.exception, ConfigurationError), result.output
    words, advice = situation.value
    assert str(result.exception) == f"{flag} does not apply {words}: leave it out ({advice})"


@pytest.mark.parametrize("situation", Situation)
def test_each_situation_is_in_the_table(situation: Situation) -> None:
    assert INAPPLICABLE[situation]


def test_what_is_left_at_its_default_is_not_refused() -> None:
    given = ["--park", "auto", "--block-size", "16", "--rounds", "4", "--seed", "0"]
    result = CliRunner().invoke(app, ["compare", "no-such-run", "other", *given])
    assert "there is no folder no-such-run" in str(result.exception)
