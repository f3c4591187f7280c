"""At any width of a terminal numbers are whole, lines break between words, and what is no terminal has whole lines."""

from __future__ import annotations

import io
import re

import pytest
from abatch.reports.renderings.console import print_summary
from abatch.reports.renderings.fitted_table import Column, Row, print_table
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.renderings.terminal import Terminal, terminal, wrapped
from abatch.reports.run.folder import RunReader
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text
from support.fixed_run import write_fixed_run
from support.shown import shown_run

WIDTHS = st.integers(20, 200)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    folder = tmp_path_factory.mktemp("terminal") / "run"
    write_fixed_run(folder)
    return shown_run(RunReader(folder))


def printed(width: int, show: object, encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    show(Terminal(file=out, width=width, highlight=False, markup=False, color_system=None))  # type: ignore[operator]
    out.flush()
    return raw.getvalue().decode(encoding).splitlines()


@given(
    WIDTHS,
    st.lists(st.lists(st.integers(0, 10**7).map("{:,}".format), min_size=4, max_size=4), min_size=1, max_size=4),
    st.text("abc", min_size=1, max_size=30),
)
def test_a_table_cuts_no_number(width: int, numbers: list[list[str]], label: str) -> None:
    columns = [Column("", is_text=True), *(Column(f"c{place}", rank=place) for place in range(4))]
    rows = [Row([label, *cells]) for cells in numbers]
    lines = printed(width, lambda console: print_table(console, columns, rows, elsewhere="elsewhere"))
    shown = [name for name in lines[0].split() if name.startswith("c")]
    assert shown == [f"c{place}" for place in range(len(shown))], "those of the highest rank are left out first"
    for line, cells in zip(lines[1:], numbers, strict=False):
        assert line.split()[-len(shown) :] == cells[: len(shown)]
        assert cell_len(line) <= max(width, 4 + 1 + len("10,000,000"))
    left_out = re.findall(r"c\d", " ".join(lines[1 + len(rows) :]))
    assert [*shown, *left_out] == [column.name for column in columns[1:]]


@pytest.mark.parametrize("width", [20, 33, 40, 58, 79, 120, 200])
def test_a_report_cuts_no_number(run: ShownRun, width: int) -> None:
    """Whatever number stands in it at some width stands in it when it is wide."""

    def numbers(columns: int) -> set[str]:
        lines = printed(columns, lambda console: print_summary(console, run.summary, run.judgements))
        words = " ".join(line for line in lines if not line.startswith("not shown at")).split()
        return {word for word in words if re.fullmatch(r"[\d.,:]+(ms|%|x|s)?", word)}

    assert numbers(width) - numbers(1000) <= {f"{width}"}


def test_sentences_in_a_table_are_wrapped_between_words() -> None:
    columns = [Column("rate"), Column("why", is_text=True, wraps=True)]
    rows = [Row(["12.5", "98.7% met the objectives, of 99.0% required"])]
    lines = printed(30, lambda console: print_table(console, columns, rows, elsewhere=""))
    assert " ".join(" ".join(lines[1:]).split()) == "12.5 98.7% met the objectives, of 99.0% required"
    assert max(map(len, lines)) <= 30


@given(st.lists(st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1), min_size=1), WIDTHS)
def test_a_line_breaks_between_words_only(words: list[str], width: int) -> None:
    lines = wrapped(Text(" ".join(words)), width).plain.split("\n")
    assert [word for line in lines for word in line.split(" ")] == words
    assert all(cell_len(line) <= width or " " not in line for line in lines)


def test_a_path_is_not_broken() -> None:
    path = "/a/very/long/path/" + "x" * 50
    assert printed(40, lambda console: console.print(f"saved in {path} as asked")) == ["saved in", path, "as asked"]


def test_what_is_no_terminal_has_whole_lines(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "word " * 60
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal().print(text)
    assert capfd.readouterr().out.count("\n") == 1
    monkeypatch.setenv("COLUMNS", "40")
    terminal().print(text)
    assert capfd.readouterr().out.count("\n") > 5


def test_an_encoding_without_braille_gets_stars(run: ShownRun) -> None:
    lines = printed(80, lambda console: print_summary(console, run.summary, (), run.histograms), encoding="ascii")
    assert any("|*" in line or "*|" in line or "**" in line for line in lines)
