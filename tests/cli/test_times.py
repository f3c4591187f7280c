"""Options that are times: one grammar in every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from abatch.cli.main import app
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.groups import words
from abatch.cli.options.times import TIME
from abatch.engine.timing.durations import parse_duration
from support.cli import abatch


def _options() -> Iterator[tuple[str, Any]]:
    """Each option of each command, with the command's words."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        for name, one in getattr(command, "commands", {}).items():
            yield from walk(one, f"{path} {name}".strip())
        yield from ((path, option) for option in command.params if option.param_type_name == "option")

    yield from walk(typer.main.get_command(app), "")


def _times() -> list[tuple[str, Any]]:
    return [(path, option) for path, option in _options() if option.metavar == TIME]


def test_every_option_that_is_a_time_is_one_of_these() -> None:
    """An option whose help speaks of seconds would have another grammar."""
    others = [option for _, option in _options() if option.metavar != TIME]
    assert not [option.name for option in others if re.search(r"seconds\b", option.help or "", re.IGNORECASE)]
    assert {(path, option.opts[0]) for path, option in _times()} >= {
        ("bench", "--duration"),
        ("bench", "--timeout"),
        ("bench", "--rare"),
        ("compare", "--floor-ms"),
        ("serve", "--drain-timeout"),
        ("calibrate", "--duration"),
        ("null-server", "--freeze-at"),
        ("workload show", "--tool-pause"),
        ("workload export", "--pause-cap"),
    }


def test_a_time_that_is_wrong_is_one_line_with_an_example() -> None:
    for path, option in _times():
        done = abatch(*path.split(), option.opts[0], "5 apples")
        assert (done.returncode, done.stdout) == (2, "")
        line = rf"abatch: {option.opts[0]} must be a time, such as \d.* or [\d.]+m?s, not '5 apples'\n"
        assert re.fullmatch(line, done.stderr), (path, done.stderr)


@pytest.mark.parametrize("text", ["-1s", "nan", "inf", "", "1m30"])
def test_a_time_that_makes_no_sense_is_refused(text: str) -> None:
    done = abatch("bench", "--duration", text)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"abatch: --duration must be a time.*, not '{text}'\n", done.stderr)


def test_the_help_names_the_default_of_a_time_with_its_unit() -> None:
    for path, option in _times():
        if option.default and not option.hidden:
            default = r"Default: [\dhms.]*\d(us|ms|s|m|h)\b|milliseconds\). Default: [\d.]+\."
            assert re.search(default, option.help), (path, option.help)


def test_a_time_below_the_least_is_refused() -> None:
    done = abatch("bench", "--startup-timeout", "900ms")
    assert done.stderr == "abatch: --startup-timeout must be at least 1s, not '900ms'\n"


def test_times_arrive_as_seconds() -> None:
    run = abatch(*"workload show chat-short -d 1m30s --pause-cap inf --sessions 1".split())
    assert (run.returncode, run.stderr) == (0, "")
    assert "90 s" in run.stdout


def test_a_group_as_words_is_understood_again() -> None:
    """`serve` gets its options from `bench` as words."""
    for seconds in (0.00005, 90.0, 1e-9, 86_400.5):
        flag, word = words(EngineOptions(window_timeout_s=seconds))
        assert (flag, parse_duration(word)) == ("--window-timeout", seconds)
