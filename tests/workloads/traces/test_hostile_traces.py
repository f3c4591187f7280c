"""Traces that were made to cost time or memory, or that are no files."""

from __future__ import annotations

from pathlib import Path

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.traces.parsing.format import Sample
from abatch.workloads.traces.parsing.trace_error import BadRow
from abatch.workloads.traces.trace import FORMATS, open_trace
from support.special_files import SPECIAL, make_special

_MEGABYTE = 2**20


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        b'[{"a": "' + b'\\"' * (_MEGABYTE // 2),
        b'{"a": "' + b'\\"' * (_MEGABYTE // 2),
        b'{\n"a": "' + b'\\"' * (_MEGABYTE // 2) + b"\\",
        b'[{"a"' + b" " * _MEGABYTE + b'"b"',
        b'[{"a" ' * (_MEGABYTE // 6),
        b'"a","' * (_MEGABYTE // 5),
    ],
    ids=["quotes in a list", "quotes in an object", "quotes over lines", "blanks", "brackets", "columns"],
)
def test_recognition_takes_time_in_proportion(text: bytes) -> None:
    """A string that breaks off, full of escaped quotes, took the square: an hour for this megabyte. It takes 20 ms."""
    assert Sample.of(text).keys <= {"a", "b"}


@pytest.mark.parametrize(("rest", "more"), [(b'"', []), (b'"\\', []), (b'"b', []), (b'"b": "c', ["b"])])
def test_a_sample_may_break_off_anywhere(rest: bytes, more: list[str]) -> None:
    assert Sample.of(b'{"a": {"x": 1}, "it\\"s" : 2, ' + rest).keys == {"a", 'it\\"s', *more}


@pytest.mark.parametrize("text", [b'"' + b"x" * 200_000 + b'"\n', b"\xff,\xfe\n"])
@pytest.mark.parametrize("trace_format", FORMATS)
def test_a_file_that_is_called_what_it_is_not_is_one_line(tmp_path: Path, trace_format: str, text: bytes) -> None:
    path = tmp_path / "trace"
    path.write_bytes(text)
    with pytest.raises(ConfigurationError) as caught:
        list(open_trace(path, trace_format=trace_format).sessions())
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is a directory|is not a regular file") as caught:
        open_trace(make_special(kind, tmp_path / "trace.jsonl"))
    assert "\n" not in str(caught.value)


def test_what_is_wrong_with_a_row_is_said_in_bounded_words() -> None:
    assert len(str(BadRow("field", "x" * _MEGABYTE))) < 400
