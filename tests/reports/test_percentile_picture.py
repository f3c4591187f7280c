"""HDR pictures in characters show what the histogram holds, in the space they are given."""

from __future__ import annotations

from random import Random

import pytest
from abatch.reports.recording.histograms import new_histogram
from abatch.reports.renderings.percentile_picture import percentile_picture, side_by_side
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st


def filled(values_us: list[int]) -> HdrHistogram:
    histogram = new_histogram()
    for value_us in values_us:
        histogram.record_value(value_us)
    return histogram


@given(
    st.lists(st.integers(1, 3_600_000_000), min_size=1, max_size=60),
    st.integers(20, 60),
    st.integers(2, 8),
    st.booleans(),
)
def test_every_line_is_as_long_as_it_may_be_and_every_column_has_a_dot(
    values_us: list[int], columns: int, rows: int, has_braille: bool
) -> None:
    lines = percentile_picture(filled(values_us), "ttft", columns=columns, rows=rows, has_braille=has_braille)
    assert len(lines) == rows + 2
    assert {len(line) for line in lines} == {columns}
    plot = [line[8:] for line in lines[1:-1]]
    blank = "\u2800" if has_braille else " "
    assert all(any(row[column] != blank for row in plot) for column in range(columns - 8))


def test_a_step_at_the_99th_percentile_is_where_the_axis_says() -> None:
    """1,000 requests, 2% of them a hundred times as slow: the curve leaves the ground between 90 and 99."""
    lines = percentile_picture(filled([10_000] * 980 + [1_000_000] * 20), "", columns=38, rows=4, has_braille=False)
    top, bottom, axis = lines[1][8:], lines[-2][8:], lines[-1][8:]
    step = top.index("*")
    assert bottom.rstrip() == "*" * step, "at the bottom up to the step"
    assert axis.index("90") < step <= axis.index("99", axis.index("90") + 2) + 1
    assert top[step:] == "*" * (30 - step)
    assert lines[1].split("|")[0].strip() == "1000"
    assert lines[-2].split("|")[0].strip().startswith("10.0")


def test_what_hardly_varies_looks_flat() -> None:
    random = Random(1)
    lines = percentile_picture(
        filled([round(random.uniform(9_990, 10_010)) for _ in range(500)]), "", columns=38, rows=5, has_braille=False
    )
    assert sum("*" in line for line in lines[1:-1]) == 1


@pytest.mark.parametrize(("count", "last"), [(10, "99"), (100, "99"), (1000, "99.9"), (10_000, "99.99")])
def test_the_axis_reaches_as_far_as_there_are_requests(count: int, last: str) -> None:
    histogram = new_histogram()
    histogram.record_value(5000, count)
    assert percentile_picture(histogram, "", columns=60)[-1].split()[-1] == last


def test_pictures_stand_side_by_side() -> None:
    picture = percentile_picture(filled([1000]), "itl", columns=25)
    assert [len(line) <= 79 for line in side_by_side([picture] * 3, gap=2)] == [True] * 6
