"""The options that write the report to files: for people, spreadsheets and CI servers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from rich.console import Console
from typer import Option

from ...engine.errors import AbatchError, ConfigurationError
from ...reports.atomic_file import cannot_write, write_atomically
from ...reports.renderings.console import print_notes
from ...reports.renderings.csv_table import render_csv
from ...reports.renderings.github import github_annotations, has_step_summary, is_github, write_step_summary
from ...reports.renderings.hgrm import safe_file_name, write_hgrm
from ...reports.renderings.json_report import render_json
from ...reports.renderings.junit import render_junit
from ...reports.renderings.markdown import render_markdown
from ...reports.renderings.shown_run import ShownRun
from ...reports.renderings.terminal import terminal
from ...reports.run.folder import COMPARISON, CONFIG, HISTOGRAMS, SERVER_LOG, STEPS, SUMMARY
from ...reports.run.result_log import RESULTS
from ...reports.run.server_log import SERVER

_STDOUT = Path("-")
_OWN_FILES = re.compile(
    "|".join(
        [
            *map(re.escape, (COMPARISON, CONFIG, HISTOGRAMS, SERVER, SERVER_LOG, STEPS, SUMMARY)),
            rf"{Path(RESULTS).stem}.*\.jsonl",
        ]
    )
)


def _html(runs: Sequence[ShownRun]) -> str:
    from ...reports.renderings.html.page import render_html  # large, and needed only here

    return render_html(runs)


Renderers = Mapping[str, Callable[[Sequence[ShownRun]], str]]
RENDERERS: Renderers = {
    "html": _html,
    "markdown": render_markdown,
    "junit": render_junit,
    "csv": render_csv,
    "json": render_json,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingOptions:
    """Where else the report goes: a file each, a folder for `hgrm`, `-` for stdout."""

    panel: ClassVar[str] = "Rendering"

    quiet: Annotated[
        bool,
        Option("--quiet", "-q", help="Print only what was found, rules that do not hold, and where files are."),
    ] = False
    html: Annotated[
        Path | None, Option(metavar="FILE", help="Write the report as one self-contained page with charts.")
    ] = None
    markdown: Annotated[
        Path | None, Option(metavar="FILE", help="Write it for a pull request; - is stdout, here and below.")
    ] = None
    junit: Annotated[
        Path | None, Option(metavar="FILE", help="Write the rules as JUnit test cases, for a CI server's test page.")
    ] = None
    csv: Annotated[Path | None, Option(metavar="FILE", help="Write one row per metric and class.")] = None
    json: Annotated[Path | None, Option(metavar="FILE", help="Write summary.json and the judgements on the rules.")] = (
        None
    )
    hgrm: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Write HdrHistogram percentile distributions, one file per metric and class."),
    ] = None

    def places(self) -> dict[str, Path]:
        """Where each rendering that was asked for goes, by the name of its option."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in values.items() if isinstance(path, Path)}

    @property
    def takes_stdout(self) -> bool:
        """Whether one of the renderings goes to stdout. What people read belongs on stderr then."""
        return _STDOUT in self.places().values()

    def console(self) -> Console:
        """Where the report for people goes."""
        return terminal(stderr=self.takes_stdout, is_brief=self.quiet)


def check_renderings(options: RenderingOptions, run: Path | None = None) -> None:
    """Find out before a run what could not be written after it.

    Args:
        options: Which renderings, and where to.
        run: The run's folder, which need not exist yet.

    Raises:
        ConfigurationError: a file cannot be written, or two renderings are to go to one place.
    """
    places: dict[Path, str] = {}
    for name, path in options.places().items():
        flag = f"--{name}"
        if path == _STDOUT and name in ("html", "hgrm"):
            raise ConfigurationError(f"{flag} cannot go to stdout: name a {'file' if name == 'html' else 'folder'}")
        place = path if path == _STDOUT else path.resolve()
        if (other := places.setdefault(place, flag)) != flag:
            where = "stdout" if path == _STDOUT else str(path)
            raise ConfigurationError(f"{other} and {flag} both go to {where}: give one of them another file")
        if path != _STDOUT:
            _check_place(flag, path, place, run, is_folder=name == "hgrm")


def _check_place(flag: str, path: Path, place: Path, run: Path | None, *, is_folder: bool) -> None:
    if path.exists() and (not path.is_dir() if is_folder else path.is_dir()):
        what = "is a file; name a folder" if is_folder else "is a folder; name a file"
        raise ConfigurationError(f"{flag} {path} {what}")
    if path.exists() and not is_folder and not path.is_file():
        # Written atomically, a file would take the place of the device.
        raise ConfigurationError(f"{flag} {path} is not a regular file; name one, or - for stdout")
    folder = place if is_folder and place.is_dir() else place.parent
    is_of_run = run is not None and folder == run.resolve()
    if not is_of_run and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ConfigurationError(f"cannot write {flag} {path}: the folder {folder} does not exist or is not writable")
    if _OWN_FILES.fullmatch(place.name) and (is_of_run or (folder / CONFIG).exists()):
        raise ConfigurationError(f"{flag} {path} would overwrite a part of the run itself; name another file")


def write_renderings(
    options: RenderingOptions, runs: Sequence[ShownRun], console: Console, renderers: Renderers = RENDERERS
) -> None:
    """Write what was asked for, and say where it is.

    Args:
        options: Which renderings, and where to.
        runs: What to show.
        console: For people; where one of the renderings goes to stdout, they are told on stderr.
        renderers: By option; a comparison has some of its own.

    Raises:
        AbatchError: a file cannot be written after all (see `cannot_write`). The others are.
    """
    problem: AbatchError | None = None
    if options.takes_stdout and not console.stderr:
        console = options.console()
    for name, path in options.places().items():
        if path == _STDOUT:
            typer.echo(renderers[name](runs).encode(), nl=False)
            continue
        try:
            if name == "hgrm":
                _write_hgrm(path, runs)
            else:
                write_atomically(path.resolve(), renderers[name](runs).encode())
        except OSError as error:
            problem = problem or cannot_write(f"--{name} {path}", error)
            continue
        console.print(f"{name} in {path}", soft_wrap=True)
    if problem is not None:
        raise problem


def _write_hgrm(folder: Path, runs: Sequence[ShownRun]) -> None:
    """Of several runs, each has a folder of its own in it."""
    folder.mkdir(exist_ok=True)
    for run in runs:
        write_hgrm(run, folder if len(runs) == 1 else folder / safe_file_name(run.name))


def tell_github(
    runs: Sequence[ShownRun], environment: Mapping[str, str], console: Console, renderers: Renderers = RENDERERS
) -> None:
    """In a job of GitHub Actions, annotate it and add to its summary. This never fails a run."""
    if not is_github(environment):
        return
    for command in github_annotations(runs):
        typer.echo(command, err=console.stderr)  # escaped already; the console would break it up
    if has_step_summary(environment) and not write_step_summary(environment, renderers["markdown"](runs)):
        print_notes(console, ["the summary of this step could not be written, or is full"])
