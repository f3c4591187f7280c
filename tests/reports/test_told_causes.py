"""What a reader is told of the causes of a tail, on scenes that the rules were not made on."""

from __future__ import annotations

import pytest
from abatch.reports.summary.causes import Cause
from support.tails import SCENES, Scene, play, report, said

pytestmark = pytest.mark.xdist_group("told causes")

_MOST_WRONG = 2
"""Of all scenes: no more than one in nine."""
_LEAST_NAMED = 16


@pytest.fixture(scope="module")
def told() -> dict[str, set[Cause]]:
    """By scene, every cause that its report names."""
    return {scene.name: said(report(scene, play(scene))) for scene in SCENES}


def test_no_wrong_cause_is_said(told: dict[str, set[Cause]]) -> None:
    wrong = {scene.name: told[scene.name] - scene.right for scene in SCENES if told[scene.name] - scene.right}
    assert len(SCENES) >= 18
    assert len(wrong) <= _MOST_WRONG, wrong


def test_most_causes_are_named(told: dict[str, set[Cause]]) -> None:
    """Silence is never wrong, and no use."""
    named = [scene.name for scene in SCENES if told[scene.name] & scene.right]
    assert len(named) >= _LEAST_NAMED, sorted(set(told) - set(named))


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.needed], ids=lambda scene: scene.name)
def test_of_two_causes_at_once_both_are_named(scene: Scene, told: dict[str, set[Cause]]) -> None:
    assert told[scene.name] >= scene.needed
