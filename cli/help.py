"""What `--help` looks like: the options that most people need, then panels of the others, at any width.

Plain text, so that it can be searched and piped; words, such as the names of options, are never broken.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from .listing import COMMANDS, FIRST_PANELS, LAST_PANELS, long_name
from .settings.file import current_settings

_WIDEST = 100
"""Longer lines are hard to read."""
_NARROW = 60
"""Below, there is no room for two columns."""
_FIRST_COLUMN = 26
_IN_THE_EPILOGUE = ("install-completion", "show-completion")
_OPTIONS, _OTHERS = "Options", "Other options"


def help_text(command: Any, ctx: Any, commands: Iterable[tuple[str, str]] = ()) -> str:
    """The help of a command, at the width of the terminal. `commands`: of a group, each with what it is for."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    lines = _wrapped(f"Usage: {ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}", width, "", "    ")
    for paragraph in (command.help or "").split("\n\n"):
        lines += ["", *_wrapped(paragraph, width, "  ", "  ")]
    for heading, rows in (("Commands", list(commands)), *_panels(command, ctx)):
        if rows:
            lines += ["", _bold(f"{heading}:"), *_table(rows, width)]
    if command.epilog:
        lines += ["", *_wrapped(command.epilog, width, "  ", "  ")]
    return "\n".join(lines)


def _panels(command: Any, ctx: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Headings, and below each the names of options with what they are for."""
    shown = [one for one in command.get_params(ctx) if not getattr(one, "hidden", False)]
    shown = [one for one in shown if one.name.replace("_", "-") not in _IN_THE_EPILOGUE]
    yield "Arguments", [(one.metavar, one.help or "") for one in shown if one.param_type_name == "argument"]
    panels: dict[str, list[tuple[str, str]]] = {_OPTIONS: []}
    first = COMMANDS[command.name].first if command.name in COMMANDS else ()
    options = [one for one in shown if one.param_type_name == "option"]
    for option in sorted(options, key=lambda one: _place(one, first)):
        is_first = not first or long_name(option) in first or long_name(option) == "help"
        panel = _OPTIONS if is_first else getattr(option, "rich_help_panel", None) or _OTHERS
        panels.setdefault(panel, []).append((_names(option), _explained(option, ctx)))
    yield from sorted(panels.items(), key=lambda panel: _panel_place(panel[0]))


def _place(option: Any, first: tuple[str, ...]) -> int:
    return first.index(long_name(option)) if long_name(option) in first else len(first)


def _panel_place(heading: str) -> int:
    order = (_OPTIONS, *FIRST_PANELS, "", _OTHERS, *LAST_PANELS)
    return order.index(heading if heading in order else "")


def _names(option: Any) -> str:
    """Short names first, then the long one, then what its value is called."""
    names = [name for name in (*option.opts, *option.secondary_opts) if not name.startswith("--")]
    text = ", ".join([*names, f"--{long_name(option)}"])
    return text if option.is_flag else f"{text} {option.metavar or 'VALUE'}"


def _explained(option: Any, ctx: Any) -> str:
    """What an option is for, and its default unless that is told already."""
    text: str = option.help or ""
    if (value := ctx.lookup_default(option.name, call=False)) is not None:
        return f"{text} [{current_settings().file}: {value}]"
    default = option.get_default(ctx, call=False)
    if default is None or not option.show_default or option.is_flag or "efault:" in text:
        return text
    return f"{text} [default: {f'{default:g}' if isinstance(default, float) else default}]"


def _table(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """Names and what they are for, in two columns or, where it is narrow, below each other."""
    longest = max((len(name) for name, _ in rows if len(name) <= _FIRST_COLUMN), default=_FIRST_COLUMN)
    column = " " * (longest + 4 if width >= _NARROW else 6)
    for name, text in rows:
        head = f"  {name}  "
        if len(head) > len(column):
            yield head.rstrip()
            head = column
        yield from _wrapped(text, width, head.ljust(len(column)), column) or [head.rstrip()]


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _bold(text: str) -> str:
    return typer.style(text, bold=True) if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
