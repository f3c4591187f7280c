"""Run folders come by mail and from CI servers: whatever was done to one, it is shown, or refused in one line.

`tests/benchmarks/attack/mutated_folders.py` is the long form.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from support.fixed_run import write_fixed_run
from support.folder_use import USES, outcome_of
from support.mutants import mutate
from support.run_profile import IS_NIGHTLY

_MUTANTS = 5000 if IS_NIGHTLY else 150
"""By day the first of them: a seed makes the same mutant each time."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fixed_run(tmp_path_factory.mktemp("whole") / "run", num_sessions=40).folder


def draw_use(seed: int) -> str:
    """Pages and files take long and are drawn less often."""
    return USES[seed % len(USES)] if seed % 5 == 0 else USES[seed % 7]


def test_a_whole_folder_is_shown(whole: Path) -> None:
    assert [outcome_of(whole, whole, use) for use in USES] == ["shown"] * len(USES)


def test_a_mutated_folder_is_shown_or_refused_in_one_line(whole: Path, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(_MUTANTS):
        folder = tmp_path / "run"
        shutil.copytree(whole, folder)
        what = mutate(folder, seed)
        use = draw_use(seed)
        try:
            outcomes[outcome_of(folder, whole, use)] += 1
        except Exception as error:
            error.add_note(f"mutant {seed}, {what}, {use}")
            raise
        shutil.rmtree(folder)
    assert min(outcomes["shown"], outcomes["refused"]) > _MUTANTS / 10, "a mutant that is all of one kind tests nothing"
