"""Which recorded steps an engine replays."""

from __future__ import annotations

from typing import Any

import pytest
from abatch.engine.device.recorded_steps import Decoded, RecordedSteps, WrittenStep
from abatch.engine.device.step_shapes import StepShape


def noted_replays(monkeypatch: pytest.MonkeyPatch) -> list[StepShape]:
    """The shape of each from now on."""
    shapes: list[StepShape] = []
    replay = RecordedSteps.replay

    def noted(steps: RecordedSteps, written: WrittenStep, *others: Any) -> Decoded:
        shapes.append(written.shape)
        return replay(steps, written, *others)

    monkeypatch.setattr(RecordedSteps, "replay", noted)
    return shapes
