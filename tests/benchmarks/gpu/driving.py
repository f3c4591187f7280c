"""Our engine in this process, driven to the end of some requests: no HTTP, no tokenizer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any

from abatch.engine.assembly.build import build_engine
from abatch.engine.assembly.scheduler import build_scheduler
from abatch.engine.config import EngineConfig
from abatch.engine.device.torch_runner import TorchRunner
from abatch.engine.loop.engine import Engine
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.request import Request, SamplingParams
from abatch.engine.timing.clock import RealClock
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.timing import settle


@dataclass(slots=True)
class Served:
    """What became of some requests. Seconds from the moment the first of them was submitted.

    Attributes:
        tokens: Output by request.
        times_s: When each of them was there.
        elapsed_s: Until the last was.
        busy_s: Time in which the device worked on a step; None where nobody knows.
    """

    tokens: list[list[int]]
    times_s: list[list[float]]
    elapsed_s: float
    busy_s: float | None
    steps: list[StepRecord] = field(default_factory=list)
    idle_s: float = 0.0
    host_s: float = 0.0

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.tokens))


class EngineBench:
    """An engine, built once; who is admitted, and when, may be changed."""

    def __init__(self, setting: Setting, config: EngineConfig) -> None:
        began_s = time.perf_counter()
        self._config = config
        self._steps: list[StepRecord] = []

        def tell(line: str) -> None:
            print(f"{time.perf_counter() - began_s:6.1f} s: {line}", flush=True)

        self.engine, self.ready = build_engine(config, on_step=self._steps.append, on_progress=tell)
        self._on_cpu = setting.is_dry
        self.build_s = time.perf_counter() - began_s
        settle()

    @property
    def runner(self) -> TorchRunner:
        """What runs the steps."""
        runner = self.engine._runner
        assert isinstance(runner, TorchRunner)
        return runner

    def reschedule(self, **changes: Any) -> None:
        """Another scheduler and another loop over the same device, weights, pages and graphs.

        Those of an asynchronous engine do for all: it has the most rows of state for running sequences.

        Args:
            changes: Fields of the configuration; limits may only become smaller.
        """
        ready, config = self.ready, replace(self._config, **changes)
        scheduler = build_scheduler(
            config,
            ready.num_blocks,
            block_bytes=ready.kv_bytes // ready.num_blocks,
            max_position=None,
            on_cpu=self._on_cpu,
        )
        self.engine = Engine(scheduler, self.engine._runner, RealClock().time, on_step=self._steps.append)

    def serve(self, prompts: Sequence[list[int]], limits: Sequence[int], *, within_s: float | None = None) -> Served:
        """Submit all, run until each has its `limits` tokens, or until the time is over. Greedy, no stop tokens."""
        engine, first_step = self.engine, len(self._steps)
        before = engine.totals_now()
        served = Served([[] for _ in prompts], [[] for _ in prompts], 0.0, None)
        began_s = time.perf_counter()
        for index, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
            engine.submit(Request(str(index), list(prompt), SamplingParams(max_tokens=limit, temperature=0.0)))
        while engine.has_work:
            if idle_s := engine.idle_s():
                time.sleep(idle_s)
            outputs = engine.step()
            now_s = time.perf_counter() - began_s
            for output in outputs:
                if output.token_id is not None:
                    served.tokens[int(output.request_id)].append(output.token_id)
                    served.times_s[int(output.request_id)].append(now_s)
            served.elapsed_s = now_s
            if within_s is not None and now_s > within_s:
                break
        after = engine.totals_now()
        served.steps = self._steps[first_step:]
        served.busy_s = after.device_busy_s - before.device_busy_s
        served.idle_s = after.device_idle_s - before.device_idle_s
        served.host_s = after.host_s - before.host_s
        self._clear(len(prompts))
        return served

    def _clear(self, count: int) -> None:
        for index in range(count):
            self.engine.cancel(str(index))
        while self.engine.has_work:
            self.engine.step()


@contextmanager
def unrecorded(runner: TorchRunner) -> Iterator[None]:
    """Every step is launched kernel by kernel."""
    graphs, runner._graphs = runner._graphs, None
    try:
        yield
    finally:
        runner._graphs = graphs


def random_prompts(seed: str, lengths: Sequence[int], vocab_size: int) -> list[list[int]]:
    """The same for everybody who gives the same seed; a prompt does not depend on those behind it."""
    prompts = []
    for index, length in enumerate(lengths):
        random = Random(f"{seed}/{index}")
        prompts.append([random.randrange(vocab_size) for _ in range(length)])
    return prompts


@dataclass(frozen=True, slots=True)
class DecodeSteps:
    """Steps in a row in which every one of `num_seqs` requests got a token and nobody a prompt.

    Attributes:
        device_s: What the device took for one, on average.
        period_s: With the gap before it.
        idle: Share of the time in which the device did not work.
    """

    num_seqs: int
    num_steps: int
    device_s: float
    period_s: float
    idle: float


def decode_steps(steps: Sequence[StepRecord], num_seqs: int) -> DecodeSteps | None:
    """The pure decode steps among those recorded; None where there are fewer than four in a row."""
    pure = [step for step in steps if step.num_prefill_tokens == 0 and step.num_decode_tokens == num_seqs]
    # The first of a run waits for the step that brought the last prompt in.
    counted = [step for before, step in pairwise(pure) if step.step == before.step + 1]
    if len(counted) < 3:
        return None
    device_s = sum(map(_device_s, counted)) / len(counted)
    gap_s = sum(step.gap_s for step in counted) / len(counted)
    return DecodeSteps(num_seqs, len(counted), device_s, device_s + gap_s, gap_s / (device_s + gap_s))


def idle_of(steps: Sequence[StepRecord]) -> float:
    """Share of the time behind the first step in which the device did not work, by its own events."""
    counted = steps[1:]
    idle_s = sum(step.gap_s for step in counted)
    return idle_s / max(1e-9, idle_s + sum(map(_device_s, counted)))


def _device_s(step: StepRecord) -> float:
    return step.device_end_s - step.device_start_s
