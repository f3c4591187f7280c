"""Put an engine together that computes: torch, a model of transformers, paged KV."""

from __future__ import annotations

import torch

from .attention.kv_cache import KVCache
from .build_scheduler import build_scheduler
from .clock import RealClock
from .config import EngineConfig
from .engine import Engine
from .errors import ConfigurationError
from .messages import Ready
from .model_loader import LoadedModel, load_model
from .step_log import OnStep
from .torch_runner import TorchRunner

_DEFAULT_KV_BYTES_ON_CPU = 1 << 30
_SHARE_OF_FREE_DEVICE_MEMORY = 0.85
"""The rest is for activations, which grow with the token budget."""


def build_torch_engine(config: EngineConfig, *, on_step: OnStep | None = None) -> tuple[Engine, Ready]:
    """Load the model, size the KV cache, wire scheduler, runner and loop.

    Raises:
        ConfigurationError: the model, the device or the limits do not go together.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    model = load_model(config)
    if model.device.type == "cuda":
        torch.cuda.set_device(model.device)  # events and streams are of the current device
    num_blocks = _num_blocks(config, model)
    scheduler = build_scheduler(
        config,
        num_blocks,
        block_bytes=model.kv_shape.bytes_per_token(model.dtype) * config.block_size,
        max_position=model.max_position,
        on_cpu=model.device.type == "cpu",
    )
    cache = KVCache(model.kv_shape, num_blocks, config.block_size, dtype=model.dtype, device=model.device)
    clock = RealClock().time
    runner = TorchRunner(
        model,
        cache,
        num_slots=scheduler.num_slots,
        num_host_blocks=scheduler.parking.host.num_blocks,
        clock=clock,
        seed=config.seed,
    )
    engine = Engine(scheduler, runner, clock, on_step=on_step)
    ready = Ready(
        max_model_len=scheduler.config.max_model_len,
        max_num_seqs=scheduler.config.max_num_seqs,
        vocab_size=model.vocab_size,
        eos_token_ids=sorted(model.eos_token_ids),
        num_blocks=num_blocks,
        block_size=config.block_size,
        kv_bytes=cache.data.nbytes,
        num_host_blocks=scheduler.parking.host.num_blocks,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        batching=config.batching,
        steps_ahead=engine.steps_ahead,
    )
    return engine, ready


def _num_blocks(config: EngineConfig, model: LoadedModel) -> int:
    if config.num_blocks is not None:
        return config.num_blocks
    block_bytes = model.kv_shape.bytes_per_token(model.dtype) * config.block_size
    if config.kv_memory_bytes is not None:
        budget = config.kv_memory_bytes
    elif model.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(model.device)
        budget = int(free * _SHARE_OF_FREE_DEVICE_MEMORY)
    else:
        budget = _DEFAULT_KV_BYTES_ON_CPU
    if budget < block_bytes:
        raise ConfigurationError(f"KV memory of {budget} bytes holds no block ({block_bytes} bytes); raise --kv-memory")
    return budget // block_bytes
