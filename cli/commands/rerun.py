"""`abatch rerun`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.errors import ConfigurationError
from ...reports.renderings.terminal import terminal
from ...reports.run.command import Command
from ...reports.run.folder import RunReader
from ...reports.text import clean
from ...workloads.traces.trace import content_digest
from ..comparing.saved_targets import read_comparison
from ..measuring.sweep import read_sweep
from ..naming.bare_words import is_named_address
from ..options.engine import EngineOptions
from ..options.groups import options_of
from ..options.target import TargetOptions
from .delegating import context_of, do
from .saved_folder import SHOWN, Kind, kind_of, named, why_not

_INSTEAD = (
    {"--concurrency", "--request-rate", "--session-rate"},
    {"--workload", "--trace", "--trace-format", "--trace-speed", "--skip-bad-rows"},
    {"--cache", "--text-salt"},
    {"--api-key", "--api-key-file"},
)
"""Options that exclude each other: one that is given takes the place of all of them."""

_OF_A_TARGET = {option.flag for group in (TargetOptions, EngineOptions) for option in options_of(group)}
"""A server at a URL and our own engine have hardly one in common: none is kept where one takes the other's place."""


def rerun(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="A folder of abatch bench or compare. Default: the latest in runs/. Then options of that command.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Do a saved run, sweep or comparison again: same traffic and texts, same target, same rules.

    Options after RUN take the place of the run's own, as in abatch rerun RUN -d 300 --html report.html.

    Keys, header values and passwords are not saved with a run: give them again.
    """
    words = words or []
    has_name = bool(words) and not words[0].startswith("-")
    folder = named(Path(words[0]) if has_name else None, SHOWN)
    given = words[has_name:]
    command = _saved_command(folder)
    name, *saved = command.words
    with context_of(context, name, given) as parsed:
        options = _Options(parsed)
    _check_secrets(folder, command, options)
    if ("--url" in saved) != options.has_server(otherwise="--url" in saved):
        options.replace(_OF_A_TARGET)
    kept = options.left_of(saved)
    _check_trace(folder, command, kept)
    again = [*kept, *given]
    shown = str(Command(words=(name, *again)))
    terminal(stderr=True, soft_wrap=True).print(clean(f"again: {shown}"))
    do(context, name, again)


def _saved_command(folder: Path) -> Command:
    kind = kind_of(folder)
    if kind is Kind.RUN:
        command = RunReader(folder).config.command
    elif kind is Kind.SWEEP:
        command = read_sweep(folder).command
    elif kind is Kind.COMPARISON:
        command = read_comparison(folder).command
    else:
        raise ConfigurationError(why_not(folder) or str(folder))
    if command is None or not command.words:
        whole = folder.resolve().parent.parent
        if kind is Kind.RUN and kind_of(whole) is Kind.COMPARISON:
            raise ConfigurationError(f"{folder} is a round of a comparison: abatch rerun {whole} does all of it again")
        raise ConfigurationError(
            f"{folder} was saved by a version of abatch that kept no command; the options in its config.json say what "
            "to give abatch bench"
        )
    return command


class _Options:
    """The options of a command that were given by hand, by all their names."""

    def __init__(self, parsed: Any) -> None:
        self._parameters = {
            flag: one for one in parsed.command.params for flag in (*one.opts, *one.secondary_opts) if flag[:1] == "-"
        }
        self._sources = {one.name: parsed.get_parameter_source(one.name) for one in parsed.command.params}
        self._replaced = {flag for flag, one in self._parameters.items() if self._comes_from(one, "COMMANDLINE")}
        for word in parsed.params.get("words") or ():
            self._replaced.add("--url" if is_named_address(word) else "--model")
        for flags in _INSTEAD:
            if flags & self._replaced:
                self._replaced |= flags

    def has(self, flag: str) -> bool:
        """Whether the option has a value, from the command line or the environment."""
        return flag in self._replaced or self._comes_from(self._parameters[flag], "COMMANDLINE", "ENVIRONMENT")

    def has_server(self, *, otherwise: bool) -> bool:
        """Whether what is measured is a server at a URL, by what was given; `otherwise`: where that says nothing."""
        return "--url" in self._replaced or (otherwise and "--device" not in self._replaced)

    def replace(self, flags: Collection[str]) -> None:
        """Let what was given take the place of these, too."""
        self._replaced |= set(flags)

    def left_of(self, saved: Sequence[str]) -> list[str]:
        """Saved words without those whose options were given by hand."""
        kept, rest = [], list(saved)
        while rest:
            parameter = self._parameters.get(rest[0])
            if parameter is None:
                raise ConfigurationError(f"this run was given {rest[0]}, which this version of abatch does not know")
            length = 1 if parameter.is_flag else 2
            if rest[0] not in self._replaced:
                kept += rest[:length]
            rest = rest[length:]
        return kept

    def _comes_from(self, parameter: Any, *sources: str) -> bool:
        source = self._sources[parameter.name]
        return source is not None and source.name in sources


def _check_secrets(folder: Path, command: Command, options: _Options) -> None:
    """Raise `ConfigurationError` where something secret was given then and is not given now."""
    for secret in command.secrets:
        flag, _, name = secret.partition(" ")
        if options.has(flag):
            continue
        if flag == "--api-key":
            what = "was sent a key, which is not saved: give --api-key-file, or set ABATCH_API_KEY"
        elif name:
            what = f"was sent the header {name}, whose value is not saved: give {flag} '{name}: VALUE'"
        else:
            what = f"had a {flag} with a user, a password or a query, which is not saved: give all of {flag}"
        raise ConfigurationError(f"{folder} {what}")


def _check_trace(folder: Path, command: Command, kept: Collection[str]) -> None:
    """Raise `ConfigurationError` where the trace is not what it was. One that is given now is not asked."""
    words = list(kept)
    if not command.trace_digest or "--trace" not in words:
        return
    path = Path(words[words.index("--trace") + 1]).expanduser()
    if content_digest(path) != command.trace_digest:
        raise ConfigurationError(
            f"the trace {path} is not what it was when {folder} was made: abatch rerun {folder} --trace {path} replays "
            "it as it is now"
        )
