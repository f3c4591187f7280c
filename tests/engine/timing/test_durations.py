"""Durations as people write them."""

from __future__ import annotations

import pytest
from abatch.engine.timing.durations import format_duration, match_duration, parse_duration
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("1e3", 1000),
        ("5e-05", 0.00005),
        ("90s", 90),
        ("90 sec", 90),
        (" 90S ", 90),
        (".5s", 0.5),
        ("5.s", 5),
        ("2m", 120),
        ("2min", 120),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("50us", 0.00005),
        ("50\u00b5s", 0.00005),
        ("50\u03bcs", 0.00005),
        ("1m30s", 90),
        ("1h 30 m", 5400),
        ("1h1ms", 3600.001),
        ("0.1s", 0.1),
        ("2s500ms", 2.5),
    ],
)
def test_each_spelling(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "milliseconds"), [("200", 200), ("200ms", 200), ("1.5s", 1500), ("50us", 0.05)])
def test_a_bare_number_has_the_unit_of_its_place(text: str, milliseconds: float) -> None:
    assert parse_duration(text, "ms") == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "fast",
        "5x",
        "5 days",
        "1m30",
        "30s1m",
        "5s5s",
        "1,5s",
        "5s.",
        "1mm",
        "5e3s",
        "nan",
        "inf",
        "+5",
        "0x10",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a time, such as 90, 90s, 2m or 500ms, not "):
        parse_duration(text)


@pytest.mark.parametrize("text", ["-5", "-5s", "-inf"])
def test_no_time_is_negative(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a time from 0 on, such as 200, 200ms or 1\.5s, not '-"):
        parse_duration(text, "ms")


@pytest.mark.parametrize("text", ["1e999", f"{'9' * 400}s"])
def test_a_time_ends(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a time that ends"):
        parse_duration(text)


@given(st.floats(0, 1e9))
def test_a_formatted_duration_is_parsed_into_the_same_number(seconds: float) -> None:
    text = format_duration(seconds)
    assert parse_duration(text) == seconds
    assert match_duration(text) is not None, "it has a unit"


@given(st.integers(0, 100), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_sum_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    total_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
    assert parse_duration(f"{hours}h{minutes}m{seconds}s{milliseconds}ms") == total_ms / 1000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (30, "30s"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (3600, "1h"),
        (2.5, "2.5s"),
        (0.05, "50ms"),
        (8e-6, "8us"),
    ],
)
def test_a_duration_is_formatted_as_people_would(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
