"""What GitHub shows of runs: annotations of a job, its summary, and text that does nothing in its Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..gates.judge import Outcome
from ..summary.finding import Finding, Label
from ..summary.findings import findings
from ..text import clean
from .layout import plain_line
from .shown_run import ShownRun

MOST_OF_A_KIND = 10
"""GitHub shows no more errors, warnings or notices of one step, and does not mention the others."""
MOST_SUMMARY_BYTES = 1024 * 1024
"""Of one step. GitHub drops the whole summary of a step that writes more."""

_SUMMARY_FILE = "GITHUB_STEP_SUMMARY"
_KINDS = {
    Label.NO_VERDICT: "error",
    Label.INTERRUPTED: "warning",
    Label.ERRORS: "warning",
    Label.OVERLOADED: "warning",
    Label.NOT_STEADY: "warning",
    Label.FLAGGED: "warning",
    Label.NOT_TRUSTED: "warning",
    Label.NOT_STREAMED: "warning",
    Label.EVENLY_SLOW: "warning",
    Label.BORDERLINE: "notice",
    Label.UNEVEN_WORK: "notice",
    Label.NOT_ENOUGH_DATA: "notice",
}
"""By a finding's label; the others make no annotation of their own."""
_EXPLANATIONS = (Label.CAUSE, Label.STALL, Label.ADVICE)

_BREAK = "&#8203;"
"""A space without width. GitHub looks for mentions, references and addresses in what it has rendered: escaping the
character itself does not stop it."""
_LINKED = r"[@#] | GH-(?=\d) | www(?=\.)"
"""Mentions, references and addresses, wherever they stand."""
_ACTIVE = re.compile(
    rf"""
    (?P<url> https?://[^\s`|\\<>()\[\]"']*[^\s`|\\<>()\[\]"'.,;:!?] )
    | (?P<escaped> [\\`*\[\]~|] | (?<![A-Za-z0-9])_ | _(?![A-Za-z0-9]) )  # emphasis, code, links, cells
    | (?P<html> [<&] )
    | (?P<dollar> \$ )  # mathematics
    | (?P<broken> {_LINKED} | :(?=//|(?!\d\d[:+])[a-z0-9_+-]+:) )  # mentions, emoji ...
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HTML = {"<": "&lt;", "&": "&amp;"}
"""`>` does nothing where no tag was opened, and `->` stays legible in the source, which mails show."""
_BROKEN_IN_HTML = re.compile(rf"\$ | {_LINKED} | :(?=//|[a-z0-9_+-]+:)", re.VERBOSE | re.IGNORECASE)
_NOT_IN_CODE = re.compile(r"[`|\\]")


def is_github(environment: Mapping[str, str]) -> bool:
    """Whether this process runs in a job of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS") == "true"


def has_step_summary(environment: Mapping[str, str]) -> bool:
    """Whether the job has a summary to add to."""
    return bool(environment.get(_SUMMARY_FILE))


def github_annotations(runs: Sequence[ShownRun]) -> list[str]:
    """Workflow commands, to be printed a line each: what exits with other than 0 is an error, a tail a warning."""
    found: dict[str, list[str]] = {"error": [], "warning": [], "notice": []}
    for run in runs:
        of_run = f"abatch, {clean(run.name)}" if len(runs) > 1 else "abatch"
        for judgement in run.judgements:
            if judgement.outcome is not Outcome.PASS:
                # Inconclusive is an error too: it exits with 4 and is never a pass.
                word = "failed" if judgement.outcome is Outcome.FAIL else "inconclusive"
                text = clean(f"{judgement.rule}: {judgement.reason}")
                command = _command("error", f"{of_run}: rule {word}", text)
                found["error"].append(command)
        of_summary = findings(run.summary)
        why = _explanation(of_summary)
        for finding in of_summary:
            if (kind := _KINDS.get(finding.label)) is None or finding.metric is not None:
                continue  # a metric's tail is in the verdict already
            text = clean(finding.words)
            if finding.label in (Label.FLAGGED, Label.BORDERLINE):
                text, why = f"{text}{why}", ""
            found[kind].append(_command(kind, f"{of_run}: {finding.label}", text))
    return [command for kind, commands in found.items() for command in _bounded(kind, commands)]


def _explanation(of_summary: Sequence[Finding]) -> str:
    """Causes and what to do about them, which belong to the first of the tails that is named."""
    return "".join(f"\n{plain_line(finding)}" for finding in of_summary if finding.label in _EXPLANATIONS)


def _bounded(kind: str, commands: Sequence[str]) -> Sequence[str]:
    if len(commands) <= MOST_OF_A_KIND:
        return commands
    shown = commands[: MOST_OF_A_KIND - 1]
    rest = f"{len(commands) - len(shown)} more like these are in the log of this step and in the report"
    return [*shown, _command(kind, "abatch: more", rest)]


def _command(kind: str, title: str, text: str) -> str:
    return f"::{kind} title={_property(title)}::{_data(text)}"


def _data(text: str) -> str:
    """As GitHub's own toolkit escapes the message of a command; the percent sign first, for the others make some."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def write_step_summary(environment: Mapping[str, str], markdown: str) -> bool:
    """Add to the summary of the job's step. False if there is none, it is full, or it cannot be written.

    Never an error: a measurement does not fail for its rendering.
    """
    name = environment.get(_SUMMARY_FILE)
    if not name:
        return False
    content = f"\n{markdown}\n".encode(errors="replace")
    try:
        with Path(name).open("ab", buffering=0) as file:
            size = file.tell()
            if size + len(content) > MOST_SUMMARY_BYTES:
                return False
            if file.write(content) < len(content):
                file.truncate(size)  # the disk is full, and half a table is none
                return False
    except (OSError, ValueError):
        return False
    return True


def escaped(text: str) -> str:
    """A text to stand within a line or a table's cell. Addresses become code: they can be copied, and are no links."""
    return _ACTIVE.sub(_escape, clean(text))


def escaped_in_html(text: str) -> str:
    """A text to stand where Markdown is not parsed, as in `<summary>`."""
    shown = html.escape(clean(text), quote=False)
    return _BROKEN_IN_HTML.sub(lambda match: f"{match[0]}{_BREAK}", shown)


def code(text: str) -> str:
    """The same as code, where it can be: `|` and backquotes have rules of their own there, which differ in tables."""
    shown = clean(text)
    return f"`{shown}`" if shown and not _NOT_IN_CODE.search(shown) else escaped(text)


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if match["url"]:
        return f"`{found}`"
    if match["escaped"]:
        return f"\\{found}"
    if match["html"]:
        return _HTML[found]
    return "<span>$</span>" if match["dollar"] else f"{found}{_BREAK}"
