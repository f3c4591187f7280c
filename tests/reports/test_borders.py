"""Text of others at every border: whatever a name or message is, each rendering is as well-formed as ever."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import tempfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from abatch.cli.commands.sweep import print_sweep
from abatch.cli.measuring.rate_search import Limit
from abatch.cli.measuring.sweep import SweepPoint, SweepReport
from abatch.reports import text as text_module
from abatch.reports.comparison.comparison import ComparedTarget, Comparison
from abatch.reports.comparison.difference import Difference, Floor, Verdict
from abatch.reports.renderings.calibration_console import print_point, search_line
from abatch.reports.renderings.comparison.console import print_comparison
from abatch.reports.renderings.comparison.markdown import render_comparison_markdown
from abatch.reports.renderings.comparison.opening import comparison_opening
from abatch.reports.renderings.console import print_repeat, print_summary
from abatch.reports.renderings.csv_table import COLUMNS, render_csv
from abatch.reports.renderings.github import github_annotations
from abatch.reports.renderings.hgrm import write_hgrm
from abatch.reports.renderings.html.page import render_html
from abatch.reports.renderings.json_report import render_json
from abatch.reports.renderings.junit import render_junit
from abatch.reports.renderings.markdown import render_markdown
from abatch.reports.renderings.terminal import Terminal, guarded
from abatch.reports.run.command import Command
from abatch.reports.traffic.console import summary_lines
from abatch.reports.traffic.summary import TrafficSummary
from abatch.workloads.session import Pause, Session, Turn
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.calibrations import make_point
from support.examples import examples
from support.html_pages import data_of
from support.outside import FORGED, TEXTS, endless, run_of, strings_of

ROOT = Path(text_module.__file__).parent.parent


class Outside:
    """Two runs and what is made of them, with others' texts in every place that has any."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = endless(texts)
        self.runs = [run_of(self.texts, next(self.texts)) for _ in range(2)]

    def comparison(self) -> tuple[Comparison, dict[str, Any]]:
        """Of the two runs, under names of others."""
        first, second = f"a{next(self.texts)}", f"b{next(self.texts)}"
        differences = [
            Difference(
                metric="ttft", statistic=statistic, first=1.0, other=2.0, change=1.0, low=0.5, high=2.0, verdict=one
            )
            for statistic, one in (("p50", Verdict.WORSE), ("p99/p50", Verdict.INCONCLUSIVE))
        ]
        target = ComparedTarget(
            name=second,
            differences=differences,
            verdict=next(self.texts),
            quote=next(self.texts),
            notes=[next(self.texts)],
        )
        comparison = Comparison(
            first=first,
            traffic_class=next(self.texts),
            rounds=2,
            confidence=0.95,
            interval_confidence=0.99,
            floor=Floor(),
            effect=0.1,
            targets=[target],
            failed={next(self.texts): next(self.texts)},
        )
        return comparison, {first: self.runs[0].summary, second: self.runs[1].summary}

    def sweep(self) -> SweepReport:
        """One try."""
        point = SweepPoint(
            request_rate=1.0,
            session_rate=0.5,
            goodput_share=0.5,
            achieved_rate=1.0,
            offered_rate=1.0,
            ttft_p99_ms=1.0,
            why_not=[next(self.texts)],
            folder=next(self.texts),
        )
        return SweepReport(
            objectives={next(self.texts): 1.0},
            required_share=0.9,
            highest_rate=1.0,
            requests_per_session=2.0,
            failed_rate=None,
            limit=Limit.MAX_RATE,
            cache="cold",
            warmup_s=1.0,
            ramp_s=0.0,
            points=[point],
        )

    def traffic(self) -> TrafficSummary:
        """Sessions of others' classes, with others' tools."""
        summary = TrafficSummary()
        for _ in range(3):
            turns = (Turn(10, 3), Turn(20, 4, pause=Pause.TOOL, pause_s=1.0, tool=next(self.texts)))
            summary.add(Session(next(self.texts), next(self.texts), turns))
        return summary


def printed(print_it: Callable[[Console], Any], width: int = 80, encoding: str = "utf-8") -> str:
    """What a terminal, or the log of a job, is given."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, newline="")
    print_it(guarded(Terminal(file=out, width=width, highlight=False, markup=False, emoji=False)))
    out.flush()
    return raw.getvalue().decode(encoding)


def check_terminal(shown: str) -> None:
    assert all(char.isprintable() or char == "\n" for char in shown)
    for line in shown.split("\n"):
        assert not line.lstrip().startswith("::")
        assert not re.search(r"##\w*\[", line)


def is_clean(text: str) -> bool:
    return text.isprintable() and len(text.strip()) <= text_module.MOST_CHARACTERS


def print_all(outside: Outside, console: Console) -> None:
    """Everything that is printed."""
    for run in outside.runs:
        print_summary(console, run.summary, run.judgements, run.histograms)
    comparison, summaries = outside.comparison()
    print_comparison(console, comparison, summaries)
    print_sweep(console, outside.sweep())
    print_repeat(console, Command(words=("bench", next(outside.texts)), secrets=(next(outside.texts),)))
    for line in summary_lines(outside.traffic()):
        console.print(line, soft_wrap=True)
    point = make_point(failed=[next(outside.texts)])
    console.print(search_line(point))
    print_point(console, point)


def check_printed(outside: Outside) -> None:
    """A terminal is only written to."""
    check_terminal(printed(lambda console: print_all(outside, console)))
    check_terminal(printed(lambda console: print_all(outside, console), width=24, encoding="ascii"))
    wide = printed(lambda console: print_all(outside, console), width=100_000)
    assert not [line for line in wide.split("\n") if line.startswith(FORGED)]


_TAGS = re.compile(r"</?(?:details|summary|sub|span)>")
_MENTION = re.compile(r"(?<!\\)@(?!&#8203;)\w|https?:(?!&#8203;)//|(?<!\\)\]\(|!(?<!\\)\[")


def check_markdown(shown: str) -> None:
    assert all(char.isprintable() or char == "\n" for char in shown)
    rest = _TAGS.sub("", shown)
    outside_code = re.sub(r"(?<!\\)`[^`\n]*`", "", rest)
    assert "<" not in outside_code
    assert not _MENTION.search(outside_code)
    num_columns = 0
    for line in shown.split("\n"):
        if not line.startswith("|"):
            assert line[:2] in ("##", "- ", "") or line[:1] in "_<CSRT", line
            num_columns = 0
            continue
        cells = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) - 1
        assert num_columns in (0, cells), line
        num_columns = cells


def check_all_markdown(outside: Outside) -> None:
    """Markdown has no more in it than it should."""
    check_markdown(render_markdown(outside.runs))
    comparison, summaries = outside.comparison()
    judgements = {name: list(run.judgements) for name, run in zip(summaries, outside.runs, strict=True)}
    check_markdown(render_comparison_markdown(comparison, summaries, judgements))


class _Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and all texts that are shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, tuple[str, ...]]] = set()
        self.texts: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.elements.add((tag, tuple(sorted(name for name, _ in attrs))))
        self.texts += [value or "" for _, value in attrs]

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        if self._tag not in ("script", "style"):
            self.texts += data.splitlines()


def page_of(outside: Outside) -> str:
    return render_html(outside.runs, comparison_opening(*outside.comparison()))


def check_page(outside: Outside) -> None:
    """A page has no other elements than that of harmless names."""
    page = page_of(outside)
    found = _Skeleton(page)
    assert found.elements <= _Skeleton(page_of(Outside(["chat", "agent"]))).elements
    assert all(map(is_clean, found.texts))
    assert all(map(is_clean, strings_of(data_of(page))))
    page.encode()


def check_files(outside: Outside) -> None:
    """Files for programs can be read, and hold what they should."""
    root = ElementTree.fromstring(render_junit(outside.runs).encode())
    tags = {"testsuites", "testsuite", "properties", "property", "testcase", "failure", "error", "system-out"}
    assert {element.tag for element in root.iter()} <= tags
    assert len(list(root.iter("testcase"))) == sum(1 + len(run.judgements) for run in outside.runs)
    assert all(is_clean(value) for element in root.iter() for value in element.attrib.values())

    annotations = github_annotations(outside.runs)
    assert all(re.match(r"::(error|warning|notice) title=[^:,\r\n]+::[^\r\n]*\Z", line) for line in annotations)

    table = render_csv(outside.runs)
    header, *rows = csv.reader(io.StringIO(table, newline=""))
    assert {len(row) for row in rows} == {len(header)} == {len(COLUMNS)}
    assert table.count("\n") == table.count("\r\n") == 1 + len(rows)
    for cell in (cell for row in rows for cell in row if not re.fullmatch(r"-?[\d.e+-]*", cell)):
        assert is_clean(cell.removeprefix("'"))
        assert cell[0] not in "=+-@\uff1d\uff0b\uff0d\uff20"


def check_json(outside: Outside) -> None:
    """JSON has every text as it is, if that is Unicode."""
    run = outside.runs[0]
    shown = render_json([run])
    assert json.loads(shown.encode())["summary"]["model"] == run.summary.model.encode(errors="replace").decode()
    assert not re.search(r"##\w*\[", shown)
    assert not [line for line in shown.splitlines() if line.lstrip().startswith("::")]


def check_hgrm(outside: Outside) -> None:
    """Files have names that every disk takes."""
    run = outside.runs[0]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_hgrm(run, Path(folder))
        assert {path.parent for path in paths} == {Path(folder)}
        assert len({path.name for path in paths}) == len(run.histograms)
        assert all(re.fullmatch(r"[\w.%~-]{1,230}\.hgrm", path.name, re.ASCII) for path in paths)


CHECKS = (check_printed, check_all_markdown, check_page, check_files, check_json, check_hgrm)


@settings(examples(0.04), phases=(Phase.generate,))
@given(st.lists(TEXTS, min_size=20, max_size=40))
def test_nothing_gets_through_a_border(texts: list[str]) -> None:
    outside = Outside(texts)
    for check in CHECKS:
        check(outside)


CHECKED = {
    *("render_html", "render_csv", "render_json", "render_junit", "render_markdown", "render_comparison_markdown"),
    *("print_summary", "print_judgements", "print_comparison", "print_point", "print_sweep", "search_line"),
    *(
        "comparison_opening",
        "interval_plots",
        "sortable_table",
        "github_annotations",
        "write_hgrm",
        "summary_lines",
        "json_text",
    ),
    *("print_repeat", "print_table", "print_findings", "print_notes"),
}
"""Whatever shows text of others, all of it tried above."""
HARMLESS = {
    "search_heading": "has no text of others",
    "render_hgrm": "has numbers only",
    "write_step_summary": "appends what render_markdown made",
    "write_timeline": "is JSON of a run folder, which is Unicode",
    "pace_lines": "has names of streams, which are cleaned, and numbers",
    "arrival_lines": "has numbers only",
}


def test_no_rendering_is_forgotten() -> None:
    """A new one is tried with others' texts too, or it is said here why it need not be."""
    places = [*(ROOT / "reports" / "renderings").rglob("*.py"), ROOT / "reports" / "traffic" / "console.py"]
    places.append(ROOT / "cli" / "commands" / "sweep.py")
    shape = re.compile(r"(render|print|write|search)_\w+|\w+_(annotations|sections|lines|text)")
    found = {
        node.name
        for path in places
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and shape.fullmatch(node.name)
    }
    own = {"plain_line", "styled_line", "markdown_line", "session_lines", "_verdict_lines"}
    assert found - own <= CHECKED | {*HARMLESS}


def test_everything_is_printed_through_the_one_console() -> None:
    """Any other one would print what moves cursors, and what CI logs take for commands."""
    makers = {
        str(path.relative_to(ROOT))
        for floor in ("engine", "workloads", "reports", "cli")
        for path in (ROOT / floor).rglob("*.py")
        if re.search(r"\b(?:Console|Terminal)\(", path.read_text())
    }
    assert makers == {"reports/renderings/terminal.py"}


def test_a_wrapped_line_is_no_command() -> None:
    text = f"{'w' * 78} ::add-mask::x"
    assert printed(lambda console: console.print(text)).splitlines()[1] == ": :add-mask::x"
