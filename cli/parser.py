"""The parser's commands and groups of commands, with our help, settings and errors."""

from __future__ import annotations

import os
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..engine.errors import ConfigurationError
from .given_once import refuse_second_values
from .help import help_text
from .settings.environment import name_variables, readable_options, refuse_unknown_variables
from .settings.origin import notes_on_origin, with_origin
from .spellings import advice, modern

PARSER_ERROR: type[Any] = typer.BadParameter.__mro__[2]
"""What the parser raises where it cannot read a command line: the base of all such errors."""
_HELP = "help"


class Command(TyperCommand):
    """A command."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        for one in self.params:
            if one.param_type_name == "argument" and one.metavar is None:
                one.metavar = one.name.upper()  # as errors call it, too
        self._of_environment = readable_options(self)

    def make_parser(self, ctx: Any) -> Any:
        """What takes a command line apart."""
        parser = super().make_parser(ctx)
        if not ctx.resilient_parsing:  # as where a shell completes a line that is not finished
            refuse_second_values(parser)
        return parser

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind its name. An error knows the command that it is about."""
        if args == [_HELP] and not os.path.lexists(_HELP):
            args = [f"--{_HELP}"]
        name_variables(self._of_environment, ctx.auto_envvar_prefix)
        try:
            return super().parse_args(ctx, modern(self.name, args))
        except PARSER_ERROR as error:
            error.ctx = getattr(error, "ctx", None) or ctx
            raise
        except ConfigurationError as error:
            raise with_origin(error, ctx) from None

    def invoke(self, ctx: Any) -> Any:
        """Run it. What did not come from the command line is said."""
        refuse_unknown_variables(self._of_environment, os.environ, ctx.auto_envvar_prefix)
        for note in () if ctx.params.get("quiet") else notes_on_origin(ctx):
            typer.echo(f"abatch: {note}", err=True)
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise with_origin(error, ctx) from error

    def get_help(self, ctx: Any) -> str:
        """Its help, at the width of the terminal."""
        return help_text(self, ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What may stand behind its name: options, and its arguments as their metavars say it."""
        pieces: list[str] = []
        for one in self.params:
            if one.param_type_name == "argument":
                name = str(one.metavar)
                piece = name if one.required or name.startswith("[") else f"[{name}]"
                pieces.append(f"{piece}..." if one.nargs == -1 and not piece.endswith("...") else piece)
        return ["[OPTIONS]", *pieces]


class Group(TyperGroup):
    """A group of commands. Without any word behind it, it shows its help, as it does for `help`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind its name: `help bench` is `bench --help`."""
        if not args or args[0] == _HELP:
            args = [*args[1:], f"--{_HELP}"]
        return super().parse_args(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Its help, at the width of the terminal."""
        return help_text(self, ctx, [(name, self.summary(ctx, name)) for name in self.list_commands(ctx)])

    def summary(self, ctx: Any, name: str) -> str:
        """What one of its commands is for, in a line or two."""
        command = self.get_command(ctx, name)
        return "" if command is None else (command.help or "").partition("\n\n")[0]


def _advice(error: Any) -> str | None:
    """What to do in place of an option that other tools have."""
    option = getattr(error, "option_name", None)
    if option is None or error.ctx is None:
        return None
    return advice(option, {name for one in error.ctx.command.params for name in (*one.opts, *one.secondary_opts)})


def usage_error(error: Any) -> str:
    """What is wrong with a command line, in one line: the parser's words, the nearest name, and where help is."""
    words: str = error.message if (nearest := getattr(error, "possibilities", None)) else error.format_message()
    if (instead := _advice(error)) is not None:
        words = f"{error.message}: {instead}"
    elif nearest:
        words += f": did you mean {' or '.join(nearest[:2])}?"
    option = getattr(error, "param", None)
    if error.ctx is not None and option is not None and "env var" not in words:
        words = str(with_origin(ConfigurationError(words.rstrip(".")), error.ctx, option))
    where = "abatch" if error.ctx is None else error.ctx.command_path
    return f"{words[:1].lower()}{words[1:].rstrip('.')} (see {where} --help)"
