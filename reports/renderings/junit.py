"""Rules as JUnit test cases, for the test pages of CI servers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree

from ..gates.judge import Judgement, Outcome
from ..summary.findings import findings
from ..text import clean
from .layout import plain_line
from .shown_run import ShownRun


def render_junit(runs: Sequence[ShownRun]) -> str:
    """A test suite for each run, in it a case for each rule and one that says whether the run was measured at all.

    A FLAGGED tail without a rule about it is not a failure here, just as in the exit code; it is in `system-out`.
    """
    root = _element("testsuites", name="abatch")
    for run in runs:
        root.append(_suite(run))
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    root.set("time", f"{sum(run.summary.measured_s for run in runs):.3f}")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(run: ShownRun) -> ElementTree.Element:
    suite = _element("testsuite", name=run.name)
    properties = _element("properties")
    properties.extend(_element("property", name=name, value=value) for name, value in _properties(run).items())
    suite.append(properties)
    cases = [_completed(run), *(_case(run, judgement) for judgement in run.judgements)]
    suite.extend(cases)
    suite.append(_element("system-out", *map(plain_line, findings(run.summary))))
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    suite.set("skipped", "0")
    suite.set("time", f"{run.summary.measured_s:.3f}")
    if timestamp := _timestamp(run.config.started_at):
        suite.set("timestamp", timestamp)
    return suite


def _properties(run: ShownRun) -> dict[str, str]:
    summary = run.summary
    labels = {
        "target": summary.target,
        "model": summary.model,
        "workload": summary.workload,
        "seed": str(summary.seed),
        "simulated": str(summary.simulated).lower(),
        "started_at": run.config.started_at,
    }
    return {**labels, **{f"provenance.{name}": value for name, value in run.config.provenance.items()}}


def _completed(run: ShownRun) -> ElementTree.Element:
    # The measured time is this case's alone: CI servers add up the times of a suite's cases.
    case = _new_case(run, "run completed", run.summary.measured_s)
    if run.summary.succeeded == 0:
        _add(case, "error", "no request succeeded", "no success")
    elif not run.summary.is_complete:
        _add(case, "error", "the run was interrupted; rules are judged by the part that was saved", "interrupted")
    return case


def _case(run: ShownRun, judgement: Judgement) -> ElementTree.Element:
    case = _new_case(run, judgement.rule, 0.0)
    if judgement.outcome is Outcome.FAIL:
        _add(case, "failure", judgement.reason, "rule failed")
    elif judgement.outcome is Outcome.INCONCLUSIVE:
        # An error, which turns a build red, and not `skipped`, which leaves it green: a rule that could not be
        # judged is never a pass.
        _add(case, "error", judgement.reason, "rule inconclusive")
    return case


def _new_case(run: ShownRun, name: str, time_s: float) -> ElementTree.Element:
    return _element("testcase", classname=f"abatch.{run.summary.workload}", name=name, time=f"{time_s:.3f}")


def _add(case: ElementTree.Element, kind: str, message: str, what: str) -> None:
    case.append(_element(kind, f"{case.get('name')}: {message}", message=message, type=what))


def _element(tag: str, *lines: str, **attributes: str) -> ElementTree.Element:
    """Nothing gets into the file but through here: a reader refuses all of it for one character that XML lacks."""
    made = ElementTree.Element(tag, {name: clean(value) for name, value in attributes.items()})
    made.text = "\n".join(map(clean, lines)) or None
    return made


def _timestamp(started_at: str) -> str | None:
    """In UTC and without its zone: the schema of Ant and Jenkins knows none."""
    try:
        at = datetime.fromisoformat(started_at)
    except ValueError:
        return None
    return (at if at.tzinfo is None else at.astimezone(UTC)).replace(tzinfo=None).isoformat(timespec="seconds")
