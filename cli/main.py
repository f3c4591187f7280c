"""The command line's entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import CompletionItem  # type: ignore[attr-defined]  # whichever click it has

from .. import __version__
from ..engine.errors import AbatchError, ConfigurationError
from .exit_codes import ExitCode
from .listing import COMMANDS
from .parser import PARSER_ERROR, Command, Group, usage_error
from .settings.defaults import DefaultMap
from .settings.environment import PREFIX
from .settings.file import FILE_NAME, NO_FILE, find_settings
from .unread_output import outliving_readers

_CONFIG = "--config"
_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
TAKE_OPTIONS = ("rerun",)
"""Those that leave options to another command."""


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is asked for: a server need not wait for what reports are made of."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _command(name: str) -> Any:
    """A command whose help is its docstring, without the line breaks within paragraphs: Typer would keep them."""
    identifier = name.replace("-", "_")
    module = import_module(f"{__package__}.commands.{identifier}")
    made_of = getattr(module, identifier)
    if not isinstance(made_of, typer.Typer):
        paragraphs = (made_of.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        function, made_of = made_of, typer.Typer(add_completion=False, rich_markup_mode=None)
        settings = {"ignore_unknown_options": name in TAKE_OPTIONS, **_HELP}
        made_of.command(name, cls=Command, help=text, context_settings=settings)(function)
    command = typer.main.get_command(made_of)
    command.name = name
    # A command keeps the help option that it is first asked for: without the group, that might have no -h.
    command.get_help_option(command.context_class(command, info_name=name, **_HELP))
    return command


class _Abatch(Group):
    """`abatch` itself."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = cast(MutableMapping[str, Any], _Commands())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind `abatch`. --config may stand behind the command as well."""
        for place, word in enumerate(args):
            if word == _CONFIG or word.startswith(f"{_CONFIG}="):
                end = place + (2 if word == _CONFIG else 1)
                args = [*args[place:end], *(args[:place] if end <= len(args) else ()), *args[end:]]
                break
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command, with what a file of settings says about it."""
        settings = find_settings(ctx.params["config"])
        ctx.default_map = DefaultMap(settings, self.commands)
        with settings.in_use():
            return super().invoke(ctx)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names of commands, with what they are for: none of them is loaded."""
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name].summary) for name in names]
        return items or super().shell_complete(ctx, incomplete)

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names. Help need not load every command."""
        return list(COMMANDS)

    def summary(self, ctx: Any, name: str) -> str:
        """What a command is for, without loading it."""
        return COMMANDS[name].summary


app = typer.Typer(
    cls=_Abatch,
    name="abatch",
    help="Is my tail latency the price of the work, or an artifact of how the server schedules it?",
    epilog="An option can also be set in abatch.toml or by a variable, such as ABATCH_BENCH_DURATION=2m: "
    "docs/configuration.md. --install-completion makes your shell complete all of this.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": PREFIX, **_HELP},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"abatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            _CONFIG,
            metavar="FILE",
            help=f"Options of commands, and targets by name. Default: {FILE_NAME} in this folder; {NO_FILE}: no file.",
        ),
    ] = None,
) -> None:
    pass


def main() -> None:
    """Run a command. A mistake of the user's is one line on stderr; anything unexpected is a traceback.

    What nobody reads any more, as behind `| head`, changes neither what is done nor the exit code.
    """
    with outliving_readers():
        _main()


def _main() -> None:
    try:
        try:
            code = app(prog_name="abatch", standalone_mode=False)  # which is to say: errors are raised
        finally:
            sys.stdout.flush()  # where that fails, it is said, and not only when everything is over
    except PARSER_ERROR as error:
        _complain(usage_error(error))
        sys.exit(ExitCode.USAGE)
    except AbatchError as error:
        _complain(str(error))
        sys.exit(ExitCode.USAGE if isinstance(error, ConfigurationError) else ExitCode.FAILED)
    except OSError as error:
        from ..reports.atomic_file import NO_ROOM

        if error.errno not in NO_ROOM:
            raise
        _complain(f"cannot write {error.filename or 'the output'}: {error.strerror}")
        with suppress(OSError), open(os.devnull, "wb") as nothing:  # for what Python still has to write there
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        sys.exit(ExitCode.FAILED)
    if code:
        sys.exit(code)


def _complain(text: str) -> None:
    from rich.text import Text  # no help needs them, and no server

    from ..reports.renderings.terminal import terminal
    from ..reports.text import clean

    line = Text("abatch: ", style="bold") + Text(clean(text), style="red")
    with suppress(OSError):  # a terminal that was closed
        terminal(stderr=True, soft_wrap=True).print(line)


if __name__ == "__main__":
    main()
