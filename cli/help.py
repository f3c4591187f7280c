"""What `--help` looks like: the options that most people need, then panels of the others, at any width."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

import typer

from .listing import COMMANDS, LAST_PANELS, long_name
from .settings.file import current_settings

_WIDEST = 100
"""Longer lines are hard to read."""
_NARROW = 60
"""Below, there is no room for two columns."""
_FIRST_COLUMN = 26
_IN_THE_EPILOGUE = ("install-completion", "show-completion")
_OPTIONS, _OTHERS = "Options", "Other options"


def help_text(command: Any, ctx: Any) -> str:
    """The help of a command, at the width of the terminal."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    formatter = ctx.formatter_class(width=width)
    command.format_help(ctx, formatter)
    text: str = formatter.getvalue()
    return text.rstrip("\n")


def write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """What is behind a command's name: its arguments, and its options in panels."""
    shown = [one for one in command.get_params(ctx) if not getattr(one, "hidden", False)]
    shown = [one for one in shown if one.name.replace("_", "-") not in _IN_THE_EPILOGUE]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    write_table(formatter, "Arguments", [(one.metavar, one.help or "") for one in arguments])
    panels: dict[str, list[tuple[str, str]]] = {_OPTIONS: []}
    first = COMMANDS[command.name].first if command.name in COMMANDS else ()
    options = [one for one in shown if one.param_type_name == "option"]
    for option in sorted(options, key=lambda one: _place(one, first)):
        is_first = not first or long_name(option) in first or long_name(option) == "help"
        panel = _OPTIONS if is_first else getattr(option, "rich_help_panel", None) or _OTHERS
        panels.setdefault(panel, []).append((_names(option), _explained(option, ctx)))
    for heading in sorted(panels, key=_panel_place):
        write_table(formatter, heading, panels[heading])


def _place(option: Any, first: tuple[str, ...]) -> int:
    return first.index(long_name(option)) if long_name(option) in first else len(first)


def _panel_place(heading: str) -> int:
    order = (_OTHERS, *LAST_PANELS)
    return order.index(heading) + 1 if heading in order else 0


def _names(option: Any) -> str:
    """Short names first, then the long one, then what its value is called."""
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    shown = [name for name in names if not name.startswith("--")] + [f"--{long_name(option)}"]
    text = ", ".join(shown)
    return text if option.is_flag else f"{text} {option.metavar or 'VALUE'}"


def _explained(option: Any, ctx: Any) -> str:
    """What an option is for, and its default unless that is told already."""
    text: str = option.help or ""
    if (value := ctx.lookup_default(option.name, call=False)) is not None:
        return f"{text} [{current_settings().file}: {value}]"
    default = option.get_default(ctx, call=False)
    if default is None or not option.show_default or option.is_flag or "efault:" in text:
        return text
    return f"{text} [default: {default}]"


def write_table(formatter: Any, heading: str, rows: Iterable[tuple[str, str]]) -> None:
    """Names and what they are for, in two columns or, where it is narrow, below each other."""
    if not (rows := list(rows)):
        return
    column = _FIRST_COLUMN if formatter.width >= _NARROW else 4
    with formatter.section(_bold(heading)):
        formatter.write_dl(rows, col_max=column)


def _bold(text: str) -> str:
    return typer.style(text, bold=True) if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
