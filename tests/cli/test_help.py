"""Help is readable at any width: whole words, the options that people need first, experts' last."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import typer
from abatch.cli.listing import COMMANDS, LAST_PANELS, long_name
from abatch.cli.main import app
from support.cli import abatch

_SUBCOMMANDS = [f"workload {name}" for name in ("list", "show", "export")]
_MOST_FIRST = 11
"""Options that head a help: about ten, and --help."""


@cache
def _help(command: str, columns: int) -> str:
    result = abatch(*command.split(), "--help", COLUMNS=str(columns))
    assert result.returncode == 0, result.stderr
    return result.stdout


def _panels(text: str) -> dict[str, list[str]]:
    """The lines of each panel below its heading."""
    panels: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.endswith(":") and line[:1].isupper():
            lines = panels.setdefault(line[:-1], [])
        elif panels and line:
            lines.append(line)
    return panels


def _options(command: str) -> list[Any]:
    found: Any = typer.main.get_command(app)
    for word in command.split():
        found = found.commands[word]
    return [one for one in found.params if one.param_type_name == "option" and not one.hidden]


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("command", ["", *COMMANDS, *_SUBCOMMANDS])
def test_lines_fit_and_words_are_whole(command: str, columns: int) -> None:
    text = _help(command, columns)
    too_long = [line for line in text.splitlines() if len(line) > columns and len(line.split()) > 2]
    assert not too_long
    assert not re.search(r"\u2026|<\w|\brange\b", text)
    words = text.replace(",", " ").split()
    names = [f"--{long_name(one)}" for one in _options(command) if "completion" not in one.name]
    assert set(names) <= set(words)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "workload"])
def test_the_first_panel_is_short_and_experts_panels_are_last(command: str) -> None:
    panels = _panels(_help(command, 80))
    first = [line for line in panels["Options"] if line.startswith(("  -", "  --"))]
    assert len(first) <= _MOST_FIRST
    assert first[-1].startswith("  -h, --help")
    named = [line.split("--")[1].split()[0] for line in first[:-1]]
    assert named == [name for name in COMMANDS[command].first if name in named]
    headings = list(panels)
    experts = [heading for heading in headings if heading in LAST_PANELS]
    assert headings[len(headings) - len(experts) :] == experts


@pytest.mark.parametrize(
    ("words", "same_as"),
    [
        (["help"], ["--help"]),
        ([], ["--help"]),
        (["help", "gate"], ["gate", "--help"]),
        (["gate", "help"], ["gate", "--help"]),
        (["help", "workload", "show"], ["workload", "show", "--help"]),
        (["workload", "help", "show"], ["workload", "show", "--help"]),
        (["workload"], ["workload", "--help"]),
    ],
)
def test_help_is_a_word_too(words: list[str], same_as: list[str]) -> None:
    shown, expected = abatch(*words), abatch(*same_as)
    assert (shown.returncode, shown.stdout) == (0, expected.stdout)


def test_what_is_called_help_is_not_taken_for_it(tmp_path: Any) -> None:
    (tmp_path / "help").mkdir()
    assert "help is empty" in abatch("gate", "help", cwd=tmp_path).stderr
