"""Our engine beside continuous batching of transformers: the same weights, token ids, limits and KV memory.

A: transformers as it comes. B: the same, made to prepare steps ahead and to record CUDA graphs. C: with torch's
FlashAttention-2 as its attention, ahead and with graphs: the one that counts. D: ours, then with a part of it taken
away or added.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from benchmarks.gpu.driving import EngineBench, Served, random_prompts
from benchmarks.gpu.floor import step_floor_s
from benchmarks.gpu.machine import bandwidth
from benchmarks.gpu.setting import Setting, SkippedError, spread
from benchmarks.gpu.transformers_bench import TransformersBench

_REPEATS = 3
_BATCHED_TOKENS, _DRY_BATCHED_TOKENS = 2048, 48
_KV_TOKENS, _FEW_KV_TOKENS, _DRY_KV_TOKENS = 393_216, 163_840, 1024
"""52 GB, so that nobody runs out of it; less for A and B, whose dense masks grow with it, and whose load is small."""
_SHOWN_TOKENS = 8
"""Of each answer, kept to see whether all computed the same."""

_OURS: dict[str, dict[str, Any]] = {
    "D-continuous": {"batching": "continuous"},
    "D-nofusion": {"fusion": False},
    "D-nograph": {"cuda_graphs": False},
    "D-varlen": {"attention": "varlen", "block_size": 256},
    "D-compile": {"compile": True},
}
_THEIRS: dict[str, dict[str, Any]] = {
    "A": {"attention": "sdpa", "is_async": None, "graphs": None},
    "B": {"attention": "sdpa", "is_async": True, "graphs": True},
    "C": {"attention": "varlen", "is_async": True, "graphs": True},
}


@dataclass(frozen=True, slots=True)
class Load:
    """Prompts and how many tokens each is answered with.

    Attributes:
        context: Of a decode step while all decode, on average; None where they never do for long.
        share: Of the time that is left when it begins, for its repeats. What it does not take is for those behind it.
        num_steps: What so many of these steps would take is told as well.
    """

    name: str
    lengths: list[int]
    limits: list[int]
    context: float | None
    share: float
    num_steps: int | None = None


Serve = Callable[[Sequence[list[int]], Sequence[int]], Served]


def run(setting: Setting, name: str) -> None:
    """One contender, all its loads."""
    if name in _THEIRS:
        _measure_theirs(setting, name)
        return
    bytes_per_s = bandwidth(setting)
    loads = loads_of(setting)[:1]  # what a part of ours is worth shows in one of them
    try:
        bench = EngineBench(setting, engine_config(setting, loads, _OURS[name]))
    except ConfigurationError as error:
        if name == "D-varlen":  # torch's attention over pages is younger than what we run on
            raise SkippedError(str(error)) from error
        raise
    measure_ours(setting, bench, loads, bytes_per_s)


def _measure_theirs(setting: Setting, name: str) -> None:
    figures = setting.figures
    bytes_per_s = bandwidth(setting)
    is_straw_man = name in ("A", "B")
    loads = loads_of(setting, is_straw_man=is_straw_man)
    theirs = TransformersBench(
        setting,
        **_THEIRS[name],
        num_kv_tokens=setting.choose(_FEW_KV_TOKENS if is_straw_man else _KV_TOKENS, _DRY_KV_TOKENS),
        **_limits(setting, loads),
    )
    figures.add("chosen", value=theirs.chosen)
    figures.add("build_s", value=theirs.build_s)

    def serve(prompts: Sequence[list[int]], limits: Sequence[int]) -> Served:
        return theirs.serve(prompts, limits, within_s=setting.left_s)

    try:
        # Graphs are recorded as their shapes come up: a whole run of the load has seen all of them.
        _measure_all(setting, loads, serve, bytes_per_s, warms_up_whole=any(theirs.chosen["graphs"]))
    except TimeoutError as error:
        figures.add("skipped", value=f"what was not done by then: {error}")
    finally:
        theirs.close()


def engine_config(setting: Setting, loads: Sequence[Load], options: dict[str, Any] | None = None) -> EngineConfig:
    """Our engine's, under the limits that the others have."""
    return setting.engine_config(
        **{"batching": "async"} | (options or {}),
        **_limits(setting, loads),
        num_kv_tokens=setting.choose(_KV_TOKENS, _DRY_KV_TOKENS),
        max_model_len=max(sum(sizes) for load in loads for sizes in zip(load.lengths, load.limits, strict=True)),
        prefix_cache=False,
    )


def measure_ours(setting: Setting, bench: EngineBench, loads: Sequence[Load], bytes_per_s: float) -> None:
    """These loads, by an engine that `engine_config` describes."""
    setting.figures.add("build_s", value=bench.build_s)
    # Graphs were recorded when it was built: a few tokens compile what is left.
    _measure_all(setting, loads, bench.serve, bytes_per_s, warms_up_whole=False)


def _limits(setting: Setting, loads: Sequence[Load]) -> dict[str, Any]:
    return {
        "max_num_seqs": max(len(load.lengths) for load in loads),
        "max_num_batched_tokens": setting.choose(_BATCHED_TOKENS, _DRY_BATCHED_TOKENS),
    }


def loads_of(setting: Setting, *, is_straw_man: bool = False) -> list[Load]:
    """What matters most first.

    `32 at 4096` stands for 32 sequences that generate 8,192 tokens each: that many steps would take minutes, and their
    time grows evenly with the context, so that they take 8,192 times as long as one at its middle.
    """
    # Prompts take 32 steps, in which those that came first decode already: an answer must be longer than that.
    size, count, short = setting.choose((512, 128, 48), (24, 3, 8))
    same = Load(f"{count} x ({size} -> {size})", [size] * count, [size] * count, 1.5 * size, 0.5)
    if is_straw_man:
        return [Load(f"{count} x ({size} -> {short})", [size] * count, [short] * count, size + short / 2, 1.0)]
    context, num_long, tokens = setting.choose((4096, 32, 128), (64, 2, 8))
    before = context - tokens // 2
    long = Load(f"{num_long} at {context}", [before] * num_long, [tokens] * num_long, context, 0.5, 2 * context)
    random = Random("peers/mixed")
    low, high, num_mixed = setting.choose((100, 1024, 256), (8, 40, 4))
    lengths = [random.randint(low, high) for _ in range(num_mixed)]
    limits = [random.randint(low, high) for _ in range(num_mixed)]
    return [same, long, Load(f"{num_mixed} x ({low}-{high} -> {low}-{high})", lengths, limits, None, 1.0)]


def _measure_all(
    setting: Setting, loads: Sequence[Load], serve: Serve, bytes_per_s: float, *, warms_up_whole: bool
) -> None:
    for load in loads:
        if setting.left_s < _expected_s(setting, load):
            setting.figures.add(load.name, value={"skipped": f"{max(0.0, setting.left_s):.0f} s were left"})
            continue
        warm_up = load.limits if warms_up_whole else [min(8, limit) for limit in load.limits]
        _measure(setting.within(share=load.share), load, warm_up, serve, bytes_per_s)


def _measure(setting: Setting, load: Load, warm_up_limits: Sequence[int], serve: Serve, bytes_per_s: float) -> None:
    """Warm up, then once and as often again as there is time. Every repeat has prompts of its own."""
    figures, vocab_size = setting.figures, setting.shape.vocab_size

    def prompts(repeat: int) -> list[list[int]]:
        return random_prompts(f"peers/{load.name}/{repeat}", load.lengths, vocab_size)

    began_s = time.monotonic()
    first = serve(prompts(-1), warm_up_limits)
    warm_up_s = time.monotonic() - began_s
    is_whole = list(warm_up_limits) == load.limits
    if is_whole:  # if there is no time for another one, this is better than nothing, and is marked
        figures.add(load.name, value=_figures(setting, load, [first], bytes_per_s) | {"is_warm": False})
    figures.add(load.name, "warm_up_s", value=warm_up_s)
    done: list[Served] = []
    took_s = warm_up_s if is_whole else 0.0
    while len(done) < _REPEATS and setting.left_s > 1.2 * took_s + 1:
        began_s = time.monotonic()
        done.append(serve(prompts(len(done)), load.limits))
        took_s = time.monotonic() - began_s
        figures.add(load.name, value=_figures(setting, load, done, bytes_per_s) | {"warm_up_s": warm_up_s})


def _expected_s(setting: Setting, load: Load) -> float:
    """Time below which a load is not begun: 10,000 tokens a second out and 25,000 in."""
    return 1.0 if setting.is_dry else sum(load.limits) / 10_000 + sum(load.lengths) / 25_000


def _figures(setting: Setting, load: Load, runs: Sequence[Served], bytes_per_s: float) -> dict[str, Any]:
    found: dict[str, Any] = {"tokens_per_s": spread([run.num_tokens / run.elapsed_s for run in runs])}
    decode = [period_s * 1e3 for run in runs if (period_s := decode_period_s(run)) is not None]
    if decode:
        found["decode_ms"] = spread(decode)
    if decode and load.context is not None:
        floor_s = step_floor_s(
            setting.shape,
            len(load.lengths),
            load.context,
            bytes_per_s,
            bytes_per_number=setting.bytes_per_number,
        )
        found["floor_ms"] = floor_s * 1e3
        found["share_of_floor"] = floor_s * 1e3 / found["decode_ms"]["median"]
        if load.num_steps is not None:
            found["many_steps"] = {"count": load.num_steps, "s": load.num_steps * found["decode_ms"]["median"] / 1e3}
    if all(run.busy_s is not None for run in runs):
        found["idle"] = spread([max(0.0, 1 - (run.busy_s or 0.0) / run.elapsed_s) for run in runs])
    waits = [wait for run in runs for times in run.times_s for wait in _differences(times)]
    found["ttft_ms"] = _percentiles([times[0] for run in runs for times in run.times_s if times])
    found["itl_ms"] = _percentiles(waits)
    found["first_tokens"] = [tokens[:_SHOWN_TOKENS] for tokens in runs[0].tokens]
    return found


def decode_period_s(run: Served) -> float | None:
    """Time of a step while all requests decode: from the last one's first token to the first one's last.

    Seen from the outside, so that it is the same for everybody.
    """
    if not all(run.times_s):
        return None
    from_s, to_s = max(times[0] for times in run.times_s), min(times[-1] for times in run.times_s)
    within = [time_s for time_s in run.times_s[0] if from_s <= time_s <= to_s]
    if len(within) < 4:
        return None
    return (within[-1] - within[0]) / (len(within) - 1)


def _differences(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def _percentiles(values_s: Sequence[float]) -> dict[str, float] | None:
    if not values_s:
        return None
    ordered = sorted(values_s)
    last = len(ordered) - 1
    return {f"p{share}": ordered[round(last * share / 100)] * 1e3 for share in (50, 99)}
