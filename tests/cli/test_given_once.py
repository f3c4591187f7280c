"""An option of one value that is given two: no command takes the last of them without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from abatch.cli.main import app
from abatch.engine.errors import ConfigurationError
from support.cli import abatch

_GROUP: Any = typer.main.get_command(app)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


_COMMANDS = dict(_commands(_GROUP, "abatch"))


@pytest.mark.parametrize("path", _COMMANDS)
def test_every_option_of_one_value_takes_one(path: str) -> None:
    command = _COMMANDS[path]
    context = command.context_class(command, info_name=command.name)
    for option in command.params:
        if option.param_type_name != "option" or option.is_flag:
            continue
        names = option.opts * 2 if len(option.opts) == 1 else option.opts
        words = [word for number, name in enumerate(names) for word in (name, str(number))]
        if option.multiple:
            found, *_ = command.make_parser(context).parse_args(args=[*words])
            assert found[option.name] == [str(number) for number in range(len(names))]
            continue
        with pytest.raises(ConfigurationError, match=r"^--[\w-]+ is given twice, with different values: give it once"):
            command.make_parser(context).parse_args(args=[*words])
        found, *_ = command.make_parser(context).parse_args(args=[words[0], "x", words[0], "x"])
        assert found[option.name] == "x"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bench", "-d", "5", "--duration", "6"], "--duration is given twice, with different values: give it once"),
        (["bench", "--api-key", "s3cret1", "--api-key", "s3cret2"], "--api-key is given twice, with different values"),
        (
            ["bench", "--url", "http://a", "--base-url", "http://b"],
            "--url is given twice, with different values: give it once (abatch compare measures several servers)",
        ),
        (["workload", "show", "mixed", "--seed", "1", "--seed", "2"], "--seed is given twice, with different values"),
    ],
)
def test_that_is_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    result = abatch(*words, cwd=tmp_path)
    assert (result.returncode, result.stderr.startswith(f"abatch: {line}")) == (2, True), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "s3cret" not in result.stderr
