"""Which rounds are compared when not all went well."""

from __future__ import annotations

from pathlib import Path

import pytest
from abatch.cli.comparing.rounds import Rounds
from support.measured import noisy, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounds")
    for name in "abc":
        for number in (1, 2):
            write_run(folder / name / f"round-{number}", noisy(number, count=50))
    return folder


def rounds(folder: Path, failed: dict[str, str], **finished: tuple[int, ...]) -> dict[str, int]:
    runs = {name: {number: folder / name / f"round-{number}" for number in of} for name, of in finished.items()}
    return {name: len(one.rounds) for name, one in Rounds(runs, failed).measurements().items()}


def test_what_all_have_finished_is_compared(folder: Path) -> None:
    assert rounds(folder, {}, a=(1, 2), b=(1, 2)) == {"a": 2, "b": 2}
    assert rounds(folder, {}, a=(1, 2), b=(1,)) == {"a": 1, "b": 1}, "interrupted in the second round"
    assert rounds(folder, {}, a=(1,), b=()) == {}


def test_a_target_that_failed_takes_no_rounds_from_the_others(folder: Path) -> None:
    assert rounds(folder, {"b": "gone"}, a=(1, 2), b=(1,), c=(1, 2)) == {"a": 2, "c": 2}


def test_of_two_of_which_one_failed_later_the_first_rounds_are_compared(folder: Path) -> None:
    assert rounds(folder, {"b": "gone"}, a=(1, 2), b=(1,)) == {"a": 1, "b": 1}
    assert rounds(folder, {"b": "gone"}, a=(1, 2), b=()) == {"a": 2}
