"""Text from outside: what is left of it, whatever it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from abatch.reports import text as text_module
from abatch.reports.renderings.json_report import json_text
from abatch.reports.text import clean
from support.measured import write_run
from support.results import make_result


def test_long_text_keeps_its_end_and_takes_no_time() -> None:
    text = clean(f"class {'x' * 50_000_000}: FLAGGED")
    assert len(text) == text_module.MOST_CHARACTERS
    assert text.startswith("class xxx")
    assert text.endswith("xxx: FLAGGED")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two\r\n words\t", "two words"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("a\u202eb\u2066c\u200bd\ud800", "a\ufffdb\ufffdc\ufffdd\ufffd"),
        ("\u3164\u2800", "\ufffd\ufffd"),
        ("::error::x", ": :error::x"),
        ("a ::error::x", "a ::error::x"),
        ("a ##[error]b ##vso[x]", "a # #[error]b # #vso[x]"),
        ("## heading", "## heading"),
        ("日本語 é", "日本語 é"),
    ],
)
def test_what_is_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_json_of_what_is_no_unicode() -> None:
    assert json.loads(json_text({"\ud800": ["##[error]\udfff"]})) == {"?": ["##[error]?"]}


def test_a_run_whose_names_are_no_unicode_is_saved(tmp_path: Path) -> None:
    """The name of a trace's file may be any bytes."""
    reader = write_run(tmp_path / "run", [make_result()], workload="tr\udcff", target="\ud800")
    assert (reader.config.workload, reader.summary().target) == ("tr?", "?")
