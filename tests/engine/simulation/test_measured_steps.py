"""Profiles that were measured: what is fitted, what a simulated device makes of it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from abatch.engine.assembly.build import build_simulated_engine
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.request import Request, SamplingParams
from abatch.engine.simulation.device_profile import DeviceProfile, HostOverhead, load_device
from abatch.engine.simulation.fit import MeasuredStep, StepsOf, fit_steps
from abatch.engine.simulation.least_squares import non_negative_least_squares
from abatch.engine.simulation.measured_steps import on_line, quantile
from abatch.engine.simulation.served_fit import ServedStep, as_served, fit_host
from abatch.engine.simulation.step_work import StepWork
from abatch.engine.timing.clock import SteppedClock
from msgspec.structs import replace
from support.measured_profiles import SHAPE, made_profile, made_steps, saved

_OF = StepsOf(model=SHAPE, dtype="float32", version="0", attention="sdpa", is_synchronous=True)
_WORK = [
    *(StepWork(count, count, count * context, count * context) for count in (1, 4, 16, 64) for context in (32, 1024)),
    *(StepWork(tokens, 1, tokens, tokens**2 / 2) for tokens in (4, 16, 32, 64, 128, 256)),
    *(StepWork(tokens, samples, 2048, 2048 * tokens) for tokens in (64, 256) for samples in (0, 1)),
    *(StepWork(tokens + count, 1 + count, 256 * count, 256 * count) for tokens in (64, 192) for count in (8, 32)),
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_what_steps_cost_is_found_in_steps_that_vary(seed: int, noise: float) -> None:
    truth, random = made_steps(context_token_s=3e-6, pair_s=4e-8), Random(seed)
    steps = [MeasuredStep("", work, truth.seconds(work) * random.gauss(1, noise)) for work in _WORK]
    fitted = fit_steps(steps, _OF)
    others = [StepWork(30, 30, 3000, 3000), StepWork(100, 3, 2000, 9000), StepWork(1, 1, 500, 500)]
    for work in [*_WORK, *others]:
        assert fitted.seconds(work) == pytest.approx(truth.seconds(work), rel=max(1e-3, 2.5 * noise))
    assert fitted.largest_error <= max(1e-3, 4 * noise)
    assert fitted.median_error <= fitted.largest_error


def test_more_work_never_takes_less_time() -> None:
    steps = [MeasuredStep("", StepWork(count, 1, 0, 0), seconds) for count, seconds in ((1, 2.0), (2, 1.0), (4, 3.0))]
    fitted = fit_steps(steps, _OF)
    seconds = [fitted.seconds(step.work) for step in steps]
    assert seconds == sorted(seconds)
    assert 1.0 < seconds[0] < 2.0


@pytest.mark.parametrize("steps", [[], [MeasuredStep("", StepWork(1, 1, 1, 1), 0.0)]])
def test_nothing_is_fitted_to_no_time(steps: list[MeasuredStep]) -> None:
    with pytest.raises(ValueError, match="must take time"):
        fit_steps(steps, _OF)


@pytest.mark.parametrize(
    ("rows", "targets", "expected"),
    [
        ([[1, 0], [0, 2]], [3, 4], [3, 2]),
        ([[1, 0], [0, 1]], [3, -4], [3, 0]),
        ([[1, 1], [1, 2], [1, 3]], [3, 2, 1], [2, 0]),
        ([[1, 1], [1, 1]], [2, 2], None),
        ([[0, 1]], [5], [0, 5]),
        ([[1, 0]], [-1], [0, 0]),
    ],
)
def test_least_squares_without_negative_coefficients(
    rows: list[list[float]], targets: list[float], expected: list[float] | None
) -> None:
    found = non_negative_least_squares(rows, targets)
    if expected is None:  # two columns that are the same: any split of them will do
        assert sum(found) == pytest.approx(2, rel=1e-6)
    else:
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("count", "expected"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 3.5), (9, 6.0)])
def test_a_line_is_level_before_its_first_point_and_goes_on_behind_its_last(count: int, expected: float) -> None:
    assert on_line([(1, 1.0), (3, 3.0), (5, 4.0)], count) == pytest.approx(expected)
    assert on_line([(4, 2.0)], count) == 2.0


@pytest.mark.parametrize("usual_s", [0.01, 1.0, 4.0])
def test_a_spread_is_drawn_from_as_it_is(usual_s: float) -> None:
    random = Random(0)
    steps = made_steps(spread=[-0.02, 0.0, 0.0, 0.03, 0.2])
    drawn = sorted((steps.draw(usual_s, random) - usual_s) / usual_s**0.5 for _ in range(4000))
    found = [quantile(drawn, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == pytest.approx(steps.spread, abs=6e-3)
    assert made_steps().draw(usual_s, random) == usual_s
    assert made_steps(spread=[-5.0]).draw(usual_s, random) == usual_s / 2


@pytest.mark.parametrize("is_synchronous", [True, False])
def test_what_serving_adds_is_found_by_the_number_of_sequences(is_synchronous: bool) -> None:
    steps = made_steps(is_synchronous=is_synchronous)
    served = []
    for count in (1, 2, 8, 16):
        work = StepWork(count, count, 100 * count, 100 * count)
        alone_s, host_s = steps.seconds(work), 1e-3 + 1e-4 * count
        # On a CPU a part of it makes the step longer.
        inside_s = 0.7 * host_s if is_synchronous else 0.0
        beyond_s = [beyond * alone_s**0.5 for beyond in (-0.01, 0.0, 0.05)]
        served += [ServedStep(count, work, alone_s + inside_s + one_s, host_s - inside_s) for one_s in beyond_s]
    host = fit_host(steps, served, 0.005)
    assert host.step_s == pytest.approx(1e-3, rel=1e-3)
    assert host.sequence_s == pytest.approx(1e-4, rel=1e-3)
    assert host.request_s == 0.005
    fitted = as_served(steps, host, served)
    assert fitted.seconds(StepWork(8, 8, 800, 800)) == pytest.approx(steps.seconds(StepWork(8, 8, 800, 800)), rel=1e-3)
    assert [fitted.spread[place] for place in (0, 50, -1)] == pytest.approx((-0.01, 0.0, 0.05), abs=1e-4)
    assert fit_host(steps, [], 0.001) == HostOverhead(request_s=0.001)
    assert as_served(steps, host, []) == steps


def test_of_two_numbers_of_sequences_no_growth_is_foretold() -> None:
    steps, served = made_steps(), list[ServedStep]()
    for count in (1, 2):
        work = StepWork(count, count, 0, 0)
        served += [ServedStep(count, work, 1.5 * steps.seconds(work), 1e-3)] * 5
    host = fit_host(steps, served, 0.0)
    assert host.of(32) == pytest.approx(1e-3, rel=1e-3)
    many = StepWork(32, 32, 0, 0)
    assert as_served(steps, host, served).seconds(many) == pytest.approx(1.5 * steps.seconds(many), rel=1e-3)


def test_steps_that_are_shorter_when_served_are_shorter_in_the_simulation() -> None:
    steps, work = made_steps(), StepWork(2, 2, 100, 100)
    served = [ServedStep(2, work, 0.8 * steps.seconds(work), 0.0)] * 5
    fitted = as_served(steps, fit_host(steps, served, 0.0), served)
    for one in (work, StepWork(256, 1, 256, 256**2 / 2)):
        assert fitted.seconds(one) == pytest.approx(0.8 * steps.seconds(one))


def test_a_number_of_sequences_that_was_hardly_there_says_nothing() -> None:
    steps, work = made_steps(), StepWork(1, 1, 0, 0)
    usual = [ServedStep(1, work, steps.seconds(work), 1e-3) for _ in range(5)]
    odd = ServedStep(2, StepWork(2, 2, 0, 0), 9.0, 0.0)
    host = fit_host(steps, [*usual, odd], 0.0)
    assert host.of(1) == pytest.approx(1e-3, rel=1e-3)


def _engine(profile: DeviceProfile, folder: Path, **fields: Any) -> tuple[Any, Any, list[StepRecord], SteppedClock]:
    device = saved(profile, folder)
    clock, records = SteppedClock(), list[StepRecord]()
    config = EngineConfig(model=load_device(device).default_model, device=device, **fields)
    engine, ready = build_simulated_engine(config, clock, profile.host, on_step=records.append)
    return engine, ready, records, clock


def _run(profile: DeviceProfile, folder: Path, **fields: Any) -> list[StepRecord]:
    engine, _, records, _ = _engine(profile, folder, **fields)
    for number in range(3):
        engine.submit(Request(str(number), [number] * 40, SamplingParams(max_tokens=20)))
    while engine.has_work:
        engine.step()
    return records


def test_a_profile_of_a_cpu_is_served_as_a_cpu(tmp_path: Path) -> None:
    engine, ready, _, _ = _engine(made_profile(), tmp_path)
    limits = engine.scheduler.config
    assert (engine.steps_ahead, limits.max_num_seqs, limits.max_num_batched_tokens) == (0, 64, 256)
    assert (ready.dtype, ready.simulated, ready.kv_bytes // 2**20) == ("float32", True, 1023)
    engine, ready, _, _ = _engine(made_profile(is_synchronous=False, dtype="bfloat16"), tmp_path)
    assert (engine.steps_ahead, engine.scheduler.config.max_num_seqs, ready.dtype) == (1, 256, "bfloat16")


def test_steps_follow_each_other_with_the_host_between_them(tmp_path: Path) -> None:
    host = HostOverhead(2e-3, 1e-4)
    records = _run(made_profile(host=host), tmp_path)
    steps = made_steps()
    assert records[0].device_end_s - records[0].device_start_s == pytest.approx(
        steps.seconds(StepWork(120, 3, 120, 3 * 40 * 41 / 2))
    )
    for before, step in pairwise(records):
        assert step.device_start_s - before.device_end_s == pytest.approx(host.of(3))
        assert step.launched_s == step.device_end_s, "launching is the work"


def test_what_is_drawn_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    profile = made_profile(spread=[-0.02, 0.0, 0.1])
    first, second, other = (_run(profile, tmp_path, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda steps: steps["token_s"].reverse(), "the counts of token_s must rise"),
        (lambda steps: steps.update(sample_s=[[1, -1.0]]), "sample_s"),
        (lambda steps: steps.update(token_s=[]), "token_s"),
        (lambda steps: steps.update(spread=[2.0, 1.0]), "spread must rise"),
        (lambda steps: steps.update(spread=[1e9]), "spread"),
        (lambda steps: steps.update(dtype="int4"), "dtype must be float32, bfloat16 or float16"),
        (lambda steps: steps.update(pair_s=1e9), "pair_s"),
        (lambda steps: steps.update(layers=3), "layers"),
        (lambda steps: steps.pop("model"), "model"),
    ],
)
def test_steps_that_cannot_be_are_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = tmp_path / "bad.json"
    profile = msgspec.to_builtins(made_profile())
    change(profile["steps"])
    path.write_bytes(msgspec.json.encode(profile))
    with pytest.raises(ConfigurationError, match=f"is not a device profile: .*{message}"):
        load_device(f"simulated:{path}")


def test_a_profile_is_of_one_model_and_one_dtype(tmp_path: Path) -> None:
    profile = load_device(saved(made_profile(), tmp_path))
    assert profile == made_profile()
    assert profile.default_model == "small"
    assert profile.shape_of("small") == profile.shape_of("smollm2-135m") == SHAPE, "alike under another name"
    with pytest.raises(ConfigurationError, match="holds steps of small, which say nothing about llama-3"):
        profile.shape_of("llama-3.1-8b")
    assert profile.dtype_of("auto") == profile.dtype_of("float32") == "float32"
    with pytest.raises(ConfigurationError, match="holds steps in float32: leave --dtype bfloat16 out"):
        profile.dtype_of("bfloat16")


def test_a_profile_without_steps_is_a_roofline_as_before(tmp_path: Path) -> None:
    profile = load_device(saved(replace(made_profile(), steps=None), tmp_path))
    assert (profile.default_model, profile.is_synchronous) == ("llama-3.1-8b", False)
    assert profile.shape_of("llama-3.1-8b").num_layers == 32
    assert (profile.dtype_of("auto"), profile.dtype_of("float16")) == ("bfloat16", "float16")
