"""The command line's entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from .. import __version__
from ..engine.errors import AbatchError, ConfigurationError
from .commands.bench import bench
from .commands.calibrate import calibrate
from .commands.compare import compare
from .commands.gate import gate
from .commands.null_server import null_server
from .commands.report import report
from .commands.serve import serve
from .commands.workload import workload
from .exit_codes import ExitCode
from .options.target import TAKES_WORDS

app = typer.Typer(
    name="abatch",
    help="Is my tail latency the price of the work, or an artifact of how the server schedules it?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(command: Callable[..., None], **settings: bool) -> None:
    """A command whose help is its docstring, without the line breaks within paragraphs: Typer would keep them."""
    paragraphs = (command.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(help=text, context_settings=settings)(command)


_add(serve, **TAKES_WORDS)
_add(bench, **TAKES_WORDS)
_add(compare)
_add(gate)
_add(report)
_add(calibrate)
_add(null_server)
app.add_typer(workload, name="workload")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"abatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command. A mistake of the user's is one line on stderr; anything unexpected is a traceback."""
    try:
        app(prog_name="abatch")  # usage errors are Typer's own: exit 2
    except AbatchError as error:
        line = Text("abatch: ", style="bold") + Text(str(error), style="red")
        Console(stderr=True, soft_wrap=True).print(line)
        sys.exit(ExitCode.USAGE if isinstance(error, ConfigurationError) else ExitCode.FAILED)


if __name__ == "__main__":
    main()
