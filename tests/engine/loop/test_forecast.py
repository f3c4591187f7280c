"""How long the next step will take: close, and rather too short than too long."""

from __future__ import annotations

from random import Random

import pytest
from abatch.engine.loop.forecast import StepForecast
from abatch.engine.request import Batch, Request, SamplingParams, ScheduledChunk


def batch(num_prefill: int = 0, num_decodes: int = 8) -> Batch:
    return Batch(num_tokens=num_prefill + num_decodes, num_decode_tokens=num_decodes)


def learned(*steps: tuple[int, float]) -> StepForecast:
    forecast = StepForecast()
    for num_prefill, device_s in steps:
        forecast.learn(batch(num_prefill), is_recorded=False, device_s=device_s, launch_s=0.0005)
    return forecast


def step_s(forecast: StepForecast, num_prefill: int = 0, num_decodes: int = 8, *, is_recorded: bool = False) -> float:
    return forecast.step_s(batch(num_prefill, num_decodes), is_recorded=is_recorded)


def test_nothing_is_promised_before_anything_is_known() -> None:
    assert step_s(StepForecast()) == 0.0


def test_steady_steps_are_forecast_just_below_their_length() -> None:
    forecast = learned(*[(0, 0.01)] * 50)
    assert 0.0095 < step_s(forecast) < 0.01
    assert 0.0005 < forecast.lead_s(0, has_prefill=False) < 0.0009


def test_prefill_tokens_add_their_time() -> None:
    forecast = learned(*[(0, 0.01), (1000, 0.03)] * 50)
    assert 0.018 < step_s(forecast, 520) < 0.0205
    assert step_s(forecast, 30) == 0.0, "few prefill tokens ride along for nothing, which many say nothing of"
    assert 0.0095 < step_s(forecast) < 0.01, "a noisy kind of step takes nothing from a steady one"


def test_noise_makes_it_cautious() -> None:
    random = Random(1)
    steps = [(0, random.uniform(0.008, 0.012)) for _ in range(300)]
    forecast = StepForecast()
    late_s = 0.0
    for num_prefill, device_s in steps:
        late_s += max(0.0, step_s(forecast) - device_s)
        forecast.learn(batch(num_prefill), is_recorded=False, device_s=device_s, launch_s=0.0005)
    assert late_s < 0.02 * sum(device_s for _, device_s in steps)


def test_one_stall_is_forgotten_within_some_steps() -> None:
    """A step that took a second must not make the loop sleep through the short ones behind it."""
    forecast = learned(*[(0, 0.01)] * 50, (0, 1.0))
    slept_s = 0.0
    for _ in range(40):
        slept_s += max(0.0, step_s(forecast) - 0.01)
        forecast.learn(batch(), is_recorded=False, device_s=0.01, launch_s=0.0005)
    assert slept_s < 0.5
    assert step_s(forecast) == pytest.approx(0.0098, rel=0.1)


def mixed_batch(num_seqs: int, num_prefill: int = 0) -> Batch:
    chunks = [ScheduledChunk(Request("r", [1], SamplingParams(max_tokens=1)), 0, 1, True, 0)] * num_seqs
    return Batch(chunks=chunks, num_tokens=num_seqs + num_prefill, num_decode_tokens=num_seqs)


def test_steps_launched_in_one_piece_and_kernel_by_kernel_are_learned_apart() -> None:
    forecast = StepForecast()
    for _ in range(30):
        forecast.learn(mixed_batch(8), is_recorded=True, device_s=0.006, launch_s=0.0004)
        forecast.learn(mixed_batch(8, 1500), is_recorded=False, device_s=0.036, launch_s=0.010)
    assert 0.0055 < forecast.step_s(mixed_batch(8), is_recorded=True) < 0.006
    assert 0.034 < forecast.step_s(mixed_batch(8, 1500), is_recorded=False) < 0.036
    assert forecast.step_s(mixed_batch(8, 1500), is_recorded=True) == 0.0, "which nobody has seen"
    assert forecast.lead_s(8, has_prefill=False) < 0.001
    assert 0.010 < forecast.lead_s(8, has_prefill=True) < 0.012


def test_steps_of_few_sequences_say_nothing_of_many() -> None:
    forecast = StepForecast()
    for _ in range(30):
        forecast.learn(mixed_batch(2), is_recorded=True, device_s=0.005, launch_s=0.0001)
        forecast.learn(mixed_batch(200), is_recorded=True, device_s=0.012, launch_s=0.0008)
    assert 0.0045 < step_s(forecast, num_decodes=2, is_recorded=True) < 0.005
    assert 0.0115 < step_s(forecast, num_decodes=200, is_recorded=True) < 0.012
    assert step_s(forecast, num_decodes=20, is_recorded=True) == 0.0
    assert forecast.lead_s(2, has_prefill=False) < 0.0005 < 0.0008 < forecast.lead_s(200, has_prefill=False)
    assert forecast.least_s(mixed_batch(150, 9)) > 0.0115, "with prompts beside them as well"
    assert forecast.lead_s(1000, has_prefill=False) == forecast.lead_s(200, has_prefill=False), (
        "the nearest that is known"
    )


def test_a_launch_that_may_have_waited_for_the_device_is_not_what_the_host_needs() -> None:
    forecast = StepForecast()
    for _ in range(20):
        forecast.learn(mixed_batch(8), is_recorded=False, device_s=0.03, launch_s=0.008)
    lead_s = forecast.lead_s(8, has_prefill=False)
    for _ in range(20):
        forecast.learn(mixed_batch(8), is_recorded=False, device_s=0.03, launch_s=0.025, may_have_waited=True)
    assert forecast.lead_s(8, has_prefill=False) <= lead_s
    for _ in range(20):
        forecast.learn(mixed_batch(8), is_recorded=False, device_s=0.03, launch_s=0.012)
    assert forecast.lead_s(8, has_prefill=False) > 0.012, "one that did not wait is"
