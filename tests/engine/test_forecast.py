"""How long the next step will take: close, and rather too short than too long."""

from __future__ import annotations

from random import Random

import pytest
from abatch.engine.forecast import StepForecast
from abatch.engine.request import Batch


def batch(num_prefill: int = 0) -> Batch:
    return Batch(num_tokens=num_prefill + 8, num_decode_tokens=8)


def learned(*steps: tuple[int, float]) -> StepForecast:
    forecast = StepForecast()
    for num_prefill, device_s in steps:
        forecast.learn(batch(num_prefill), device_s=device_s, launch_s=0.0005)
    return forecast


def test_nothing_is_promised_before_anything_is_known() -> None:
    assert StepForecast().step_s(batch()) == 0.0


def test_steady_steps_are_forecast_just_below_their_length() -> None:
    forecast = learned(*[(0, 0.01)] * 50)
    assert 0.0095 < forecast.step_s(batch()) < 0.01
    assert 0.0005 < forecast.lead_s < 0.0009


def test_prefill_tokens_add_their_time() -> None:
    forecast = learned(*[(0, 0.01), (1000, 0.03)] * 50)
    assert 0.018 < forecast.step_s(batch(520)) < 0.0205
    assert forecast.step_s(batch(30)) == 0.0, "few prefill tokens ride along for nothing, which many say nothing of"
    assert 0.0095 < forecast.step_s(batch()) < 0.01, "a noisy kind of step takes nothing from a steady one"


def test_noise_makes_it_cautious() -> None:
    random = Random(1)
    steps = [(0, random.uniform(0.008, 0.012)) for _ in range(300)]
    forecast = StepForecast()
    late_s = 0.0
    for num_prefill, device_s in steps:
        late_s += max(0.0, forecast.step_s(batch()) - device_s)
        forecast.learn(batch(num_prefill), device_s=device_s, launch_s=0.0005)
    assert late_s < 0.02 * sum(device_s for _, device_s in steps)


def test_one_stall_is_forgotten_within_some_steps() -> None:
    """A step that took a second must not make the loop sleep through the short ones behind it."""
    forecast = learned(*[(0, 0.01)] * 50, (0, 1.0))
    slept_s = 0.0
    for _ in range(40):
        slept_s += max(0.0, forecast.step_s(batch()) - 0.01)
        forecast.learn(batch(), device_s=0.01, launch_s=0.0005)
    assert slept_s < 0.5
    assert forecast.step_s(batch()) == pytest.approx(0.0098, rel=0.1)
