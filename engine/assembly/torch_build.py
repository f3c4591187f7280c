"""Build an engine that computes: torch, a model of transformers, paged KV."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..attention.choose import choose_attention
from ..attention.kv_cache import KVCache
from ..attention.paged_native import NativeBackend
from ..attention.paged_triton import TritonBackend
from ..attention.transfer import fill_pinned_memory
from ..config import DEFAULT_KV_BYTES_ON_CPU, EngineConfig
from ..device.memory import kv_budget_bytes, most_blocks, out_of_memory_says, use_expandable_segments
from ..device.recorded_steps import GraphRecorder
from ..device.torch_runner import TorchRunner
from ..errors import ConfigurationError
from ..integers import ceil_div
from ..loop.engine import Engine
from ..loop.messages import MemoryReport, Ready
from ..loop.step_log import OnStep
from ..models.loader import LoadedModel, compile_layers, device_named, load_model
from ..native.library import library_problem
from ..scheduling.limits import SchedulerConfig
from ..scheduling.scheduler import Scheduler
from ..timing.clock import RealClock
from .scheduler import build_scheduler
from .trial import FEWER_GRAPHS, LESS_A_STEP, TrialResult, try_out, warm_up_batches

_LONGEST_UNKNOWN = 1 << 20
"""Tokens of a sequence where neither the user nor the model bounds them."""

_SMALLER_MODEL = "take a smaller model, or --dtype bfloat16"
_LESS_KV = "lower --kv-memory or --num-blocks"

OnProgress = Callable[[str], None]
"""Called with a few words about what takes time."""


def build_torch_engine(
    config: EngineConfig, *, on_step: OnStep | None = None, on_progress: OnProgress = lambda _: None
) -> tuple[Engine, Ready]:
    """Load the model, size the KV cache, wire scheduler, runner and loop; on CUDA, record decode steps.

    Raises:
        ConfigurationError: the model, the device or the limits do not go together, or not into its memory.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    device = device_named(config.device)
    with out_of_memory_says(f"the weights of {config.model}", _SMALLER_MODEL):
        if device.type == "cuda":
            use_expandable_segments(device)
        model = load_model(config)
    if config.compile:
        compile_layers(model.module)
    is_cuda = _is_cuda(model)
    weight_bytes = 0
    if is_cuda:
        torch.cuda.set_device(model.device)  # events and streams are of the current device
        weight_bytes = torch.cuda.memory_allocated()
        _tell_of_host_looks(config, model, on_progress)
    elif config.attention == "auto":
        _tell_of_missing_kernels(model, on_progress)
    trial = _trial(config, model, on_progress)
    num_blocks = _num_blocks(config, model, trial)
    with out_of_memory_says(f"{num_blocks} KV blocks", _LESS_KV):
        cache = KVCache(model.kv_shape, num_blocks, config.block_size, dtype=model.dtype, device=model.device)
    scheduler = build_scheduler(
        config,
        num_blocks,
        block_bytes=model.kv_shape.bytes_per_token(model.dtype) * config.block_size,
        max_position=model.max_position,
        on_cpu=not is_cuda,
    )
    clock = RealClock().time
    runner = _runner(config, model, cache, scheduler, clock)
    if is_cuda or config.compile:
        on_progress("warming up")
        _warm_up(runner, scheduler.config, config.block_size)
    if runner.shapes:
        _record(runner, on_progress)
        # Replayed now, and whatever recording has taken back from steps that are not.
        _warm_up(runner, scheduler.config, config.block_size)
    if is_cuda:
        fill_pinned_memory()
    engine = Engine(scheduler, runner, clock, on_step=on_step)
    ready = Ready(
        max_model_len=scheduler.config.max_model_len,
        max_num_seqs=scheduler.config.max_num_seqs,
        vocab_size=model.vocab_size,
        eos_token_ids=sorted(model.eos_token_ids),
        num_blocks=num_blocks,
        block_size=config.block_size,
        kv_bytes=cache.data.nbytes,
        num_host_blocks=scheduler.parking.num_host_blocks,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        batching=config.batching,
        steps_ahead=engine.steps_ahead,
        attention=runner.attention.name,
        num_graphs=len(runner.shapes),
        layers=model.layers,
        memory=_report(weight_bytes, trial, cache, len(runner.shapes)) if is_cuda else None,
    )
    return engine, ready


def _tell_of_missing_kernels(model: LoadedModel, on_progress: OnProgress) -> None:
    problem = library_problem(model.dtype)
    if problem is not None:
        on_progress(f"warning: no kernels in C++ for this CPU ({problem}): steps take two to three times as long")


def _tell_of_host_looks(config: EngineConfig, model: LoadedModel, on_progress: OnProgress) -> None:
    """A step that waits for the device can be neither recorded nor launched ahead of another.

    Raises:
        ConfigurationError: recording was not ruled out.
    """
    if not model.host_looks:
        return
    where = ", ".join(model.host_looks)
    if config.cuda_graphs:
        raise ConfigurationError(
            f"{config.model} reads device values on the host in {where}, so its steps cannot be recorded as CUDA "
            "graphs; give --no-cuda-graphs"
        )
    on_progress(
        f"warning: {config.model} waits for the device in every step, in {where}; no step can be launched ahead"
    )


def _is_cuda(model: LoadedModel) -> bool:
    return model.device.type == "cuda"


def _runner(
    config: EngineConfig, model: LoadedModel, cache: KVCache, scheduler: Scheduler, clock: Callable[[], float]
) -> TorchRunner:
    limits = scheduler.config
    attention = choose_attention(
        config.attention,
        cache,
        num_slots=limits.num_slots + 1,
        max_num_pages=ceil_div(limits.max_model_len, config.block_size),
        softcap=model.softcap,
    )
    if config.poison:
        # What no step may read. The sdpa backend multiplies it by weights of 0, which a NaN would survive.
        cache.data.fill_(float("nan") if isinstance(attention, TritonBackend | NativeBackend) else 1e4)
    return TorchRunner(
        model,
        attention,
        num_slots=limits.num_slots,
        num_host_blocks=scheduler.parking.num_host_blocks,
        clock=clock,
        seed=config.seed,
        record=GraphRecorder() if config.cuda_graphs and _is_cuda(model) else None,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        poison=config.poison,
    )


def _warm_up(runner: TorchRunner, limits: SchedulerConfig, block_size: int) -> None:
    with out_of_memory_says("a step", LESS_A_STEP):
        for batch in warm_up_batches(limits, block_size):
            runner.launch(batch).collect()


def _record(runner: TorchRunner, on_progress: OnProgress) -> None:
    """Record every shape, and report how far it is."""
    for done, shape in enumerate(runner.shapes):
        on_progress(f"recording CUDA graph {done + 1} of {len(runner.shapes)}, of {shape}")
        with out_of_memory_says("CUDA graphs", FEWER_GRAPHS):
            runner.record(shape)


def _trial(config: EngineConfig, model: LoadedModel, on_progress: OnProgress) -> TrialResult:
    """What steps will take, where that decides how much is left for KV."""
    is_told = config.num_blocks is not None or config.kv_memory_bytes is not None
    if not _is_cuda(model) or is_told:
        return TrialResult(0, 0)
    on_progress("trying the largest step, to see what memory is left for KV")
    _, max_model_len = _longest(config, model)
    return try_out(config, config.scheduler_config(max_model_len=max_model_len, on_cpu=False), model)


def _longest(config: EngineConfig, model: LoadedModel) -> tuple[int, int]:
    """Sequences that may run at once on a GPU, and the most tokens of one, as far as can be told before KV is sized."""
    max_model_len = config.max_model_len or model.max_position or _LONGEST_UNKNOWN
    return config.scheduler_config(max_model_len=max_model_len, on_cpu=False).max_num_seqs, max_model_len


def _num_blocks(config: EngineConfig, model: LoadedModel, trial: TrialResult) -> int:
    if config.num_blocks is not None:
        return config.num_blocks
    block_bytes = model.kv_shape.bytes_per_token(model.dtype) * config.block_size
    if config.kv_memory_bytes is not None:
        budget, advice = config.kv_memory_bytes, "raise --kv-memory"
    elif _is_cuda(model):
        free_bytes = kv_budget_bytes(
            *torch.cuda.mem_get_info(), trial.step_bytes, trial.graph_bytes, gathered_share=trial.gathered_share
        )
        budget = min(free_bytes, most_blocks(*_longest(config, model), config.block_size) * block_bytes)
        advice = f"{LESS_A_STEP}, or take a smaller model"
    else:
        budget, advice = DEFAULT_KV_BYTES_ON_CPU, "raise --kv-memory"
    if budget < block_bytes:
        raise ConfigurationError(
            f"{max(0, budget)} bytes of KV memory are less than one KV block ({block_bytes} bytes); {advice}"
        )
    return budget // block_bytes


def _report(weight_bytes: int, trial: TrialResult, cache: KVCache, num_graphs: int) -> MemoryReport:
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    return MemoryReport(
        total_bytes=total_bytes,
        weight_bytes=weight_bytes,
        step_bytes=trial.step_bytes,
        graph_bytes=trial.graph_bytes,
        kv_bytes=cache.data.nbytes,
        free_bytes=free_bytes,
        num_graphs=num_graphs,
    )
