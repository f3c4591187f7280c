"""Measuring a device through the engine that will serve on it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..config import EngineConfig
from ..loop.messages import Ready
from ..simulation.fit import MeasuredStep
from ..simulation.model_shape import ModelShape, shape_of
from .step_grid import StepGrid, step_kinds

_TELL_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class MeasuredDevice:
    """The steps of a device, and what they are of.

    Attributes:
        ready: What its engine said of itself.
        shape: Of the model.
        memory_bytes: Of the device; of a CPU, that of the machine.
        is_synchronous: Launching a step is the work itself.
        steps: Medians.
    """

    ready: Ready
    shape: ModelShape
    memory_bytes: int
    is_synchronous: bool
    steps: Sequence[MeasuredStep]


def measure_device(config: EngineConfig, *, budget_s: float, say: Callable[[str], None]) -> MeasuredDevice:
    """Build the engine of a configuration in this process, measure its steps, and take it down again.

    Args:
        config: Of a real device.
        budget_s: What measuring may take about, once the model is loaded.
        say: Is told in a line what takes time.

    Raises:
        ConfigurationError: the model, the device or the limits do not go together.
        UnsupportedModelError: the model's shape is none that can be simulated.
    """
    import torch  # only where there is something to measure

    from ..device.torch_runner import TorchRunner
    from .torch_build import build_torch_engine

    engine, ready = build_torch_engine(config, on_progress=say)
    runner = engine.runner
    assert isinstance(runner, TorchRunner)
    of_model = {name: value for name, value in runner.model_config.items() if name != "quantization_config"}
    shape = shape_of(of_model.get("text_config", of_model), name=os.path.basename(os.path.normpath(config.model)))
    kinds = step_kinds(engine.scheduler.config, ready.num_blocks, ready.block_size)
    say(f"measuring {len(kinds)} kinds of steps, in about {budget_s:.0f} s")
    grid = StepGrid(runner, ready.vocab_size, shape, ready.block_size, kinds, budget_s)
    steps = grid.run(_telling(say))
    measured = MeasuredDevice(ready, shape, _memory_bytes(ready), runner.is_synchronous, steps)
    del engine, runner, grid
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return measured


def _telling(say: Callable[[str], None]) -> Callable[[int, float], None]:
    """Tells of rounds that are done, but not of each one where they are short."""
    told_s = 0.0

    def tell(number: int, elapsed_s: float) -> None:
        nonlocal told_s
        if elapsed_s - told_s >= _TELL_EVERY_S:
            told_s = elapsed_s
            say(f"{number + 1} rounds of steps done after {elapsed_s:.0f} s")

    return tell


def _memory_bytes(ready: Ready) -> int:
    if ready.memory is not None:
        return ready.memory.total_bytes
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
