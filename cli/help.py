"""What people read who ask for help or mistype: the options that most need, then the others in panels, at any width."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .listing import COMMANDS, LAST_PANELS

_WIDEST = 100
"""Longer lines are hard to read."""
_NARROW = 60
"""Below, there is no room for two columns."""
_FIRST_COLUMN = 26
_OPTIONS, _OTHERS = "Options", "Other options"
PARSER_ERROR: type[Any] = typer.BadParameter.__mro__[2]
"""What the parser raises where it cannot read a command line: the base of all such errors."""


class HelpfulCommand(TyperCommand):
    """A command with that help."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        for one in self.params:
            if one.param_type_name == "argument" and one.metavar is None:
                one.metavar = one.name.upper()  # as errors call it, too

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind its name. An error knows the command that it is about."""
        try:
            return super().parse_args(ctx, args)
        except PARSER_ERROR as error:
            error.ctx = getattr(error, "ctx", None) or ctx
            raise

    def get_help(self, ctx: Any) -> str:
        """Its help, at the width of the terminal."""
        return _help(self, ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Its arguments, its options in panels, and the commands of a group."""
        _write_options(self, ctx, formatter)


class HelpfulGroup(TyperGroup):
    """A group of commands with that help. Without any word behind it, it shows that."""

    def get_help(self, ctx: Any) -> str:
        """Its help, at the width of the terminal."""
        return _help(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind its name; no word at all asks for help."""
        return super().parse_args(ctx, args or ctx.help_option_names[-1:])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """What its commands are for, and its own options."""
        rows = [(name, self.summary(ctx, name)) for name in self.list_commands(ctx)]
        _write_table(formatter, "Commands", rows)
        _write_options(self, ctx, formatter)

    def summary(self, ctx: Any, name: str) -> str:
        """What one of its commands is for, in a line or two."""
        command = self.get_command(ctx, name)
        return "" if command is None else (command.help or "").partition("\n\n")[0]


def _help(command: Any, ctx: Any) -> str:
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    formatter = ctx.formatter_class(width=width)
    command.format_help(ctx, formatter)
    text: str = formatter.getvalue()
    return text.rstrip("\n")


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    shown = [one for one in command.get_params(ctx) if not getattr(one, "hidden", False)]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    _write_table(formatter, "Arguments", [(one.metavar, one.help or "") for one in arguments])
    panels: dict[str, list[tuple[str, str]]] = {_OPTIONS: []}
    first = COMMANDS[command.name].first if command.name in COMMANDS else ()
    options = [one for one in shown if one.param_type_name == "option"]
    for option in sorted(options, key=lambda one: _place(one, first)):
        is_first = not first or long_name(option) in first or long_name(option) == "help"
        panel = _OPTIONS if is_first else getattr(option, "rich_help_panel", None) or _OTHERS
        panels.setdefault(panel, []).append((_names(option), _explained(option, ctx)))
    for heading in sorted(panels, key=_panel_place):
        _write_table(formatter, heading, panels[heading])


def _place(option: Any, first: tuple[str, ...]) -> int:
    return first.index(long_name(option)) if long_name(option) in first else len(first)


def _panel_place(heading: str) -> int:
    order = (_OTHERS, *LAST_PANELS)
    return order.index(heading) + 1 if heading in order else 0


def long_name(option: Any) -> str:
    """The name of an option, as `request-rate`; of a switch that only turns something off, as `no-prefix-cache`."""
    names: list[str] = [*option.opts, *option.secondary_opts]
    return next((name for name in names if name.startswith("--")), names[0]).lstrip("-")


def _names(option: Any) -> str:
    """Short names first, then the long one, then what its value is called."""
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    shown = [name for name in names if not name.startswith("--")] + [f"--{long_name(option)}"]
    text = ", ".join(shown)
    return text if option.is_flag else f"{text} {option.metavar or 'VALUE'}"


def _explained(option: Any, ctx: Any) -> str:
    """What an option is for, and its default unless that is told already."""
    default = option.get_default(ctx, call=False)
    text: str = option.help or ""
    if default is None or not option.show_default or option.is_flag or "efault:" in text:
        return text
    return f"{text} [default: {default}]"


def _write_table(formatter: Any, heading: str, rows: Iterable[tuple[str, str]]) -> None:
    if not (rows := list(rows)):
        return
    column = _FIRST_COLUMN if formatter.width >= _NARROW else 4
    with formatter.section(_bold(heading)):
        formatter.write_dl(rows, col_max=column)


def _bold(text: str) -> str:
    return typer.style(text, bold=True) if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def usage_error(error: Any) -> str:
    """What is wrong with a command line, in one line: the parser's words, the nearest name, and where help is."""
    words: str = error.message if (nearest := getattr(error, "possibilities", None)) else error.format_message()
    if nearest:
        words += f": did you mean {' or '.join(nearest[:2])}?"
    where = "abatch" if error.ctx is None else error.ctx.command_path
    return f"{words[:1].lower()}{words[1:].rstrip('.')} (see {where} --help)"
