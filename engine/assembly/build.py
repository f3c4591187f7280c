"""Build an engine from a configuration."""

from __future__ import annotations

from collections.abc import Callable

from ..config import DEFAULT_KV_BYTES_ON_CPU, EngineConfig
from ..errors import ConfigurationError
from ..loop.engine import Engine
from ..loop.messages import Ready
from ..loop.step_log import OnStep
from ..simulation.device_profile import DeviceProfile, HostOverhead, load_device, parse_host_overhead
from ..simulation.model_shape import ModelShape
from ..simulation.roofline import Roofline
from ..simulation.simulated_runner import SimulatedRunner
from ..timing.clock import Clock, RealClock
from .scheduler import build_scheduler

_LEAST_VOCABULARY = 512
"""Room for the tokens of the `tiny` tokenizer, which simulated models use."""


def build_engine(
    config: EngineConfig, *, on_step: OnStep | None = None, on_progress: Callable[[str], None] = lambda _: None
) -> tuple[Engine, Ready]:
    """Load the model, size the KV cache, wire scheduler, runner and loop, on the machine's clock.

    Args:
        config: What to build.
        on_step: Called with the record of every step.
        on_progress: Called with a few words about what takes time.

    Raises:
        ConfigurationError: the model, the device or the limits do not go together.
    """
    if config.is_simulated:
        # The host is real: what is simulated of it comes on top.
        host = HostOverhead() if config.host_overhead is None else simulated_host(config)
        return build_simulated_engine(config, RealClock(), host, on_step=on_step)
    from .torch_build import build_torch_engine  # torch and transformers: only where there is something to compute

    return build_torch_engine(config, on_step=on_step, on_progress=on_progress)


def simulated_host(config: EngineConfig) -> HostOverhead:
    """Time per step of a simulated host: as configured, else as in the device's profile."""
    if config.host_overhead is not None:
        return parse_host_overhead(config.host_overhead)
    return load_device(config.device).host


def build_simulated_engine(
    config: EngineConfig, clock: Clock, host: HostOverhead, *, on_step: OnStep | None = None
) -> tuple[Engine, Ready]:
    """An engine on a simulated device. Nothing is loaded; the model is a shape.

    Raises:
        ConfigurationError: there is no such device or shape, or the shape does not fit the device.
    """
    device = load_device(config.device)
    shape, dtype = device.shape_of(config.model), device.dtype_of(config.dtype)
    dtype_bytes = 4 if dtype == "float32" else 2
    roofline = Roofline(shape, device, dtype_bytes)
    num_blocks = _num_blocks(config, shape, device, dtype_bytes, roofline.weight_bytes)
    block_bytes = shape.kv_bytes_per_token(dtype_bytes) * config.block_size
    scheduler = build_scheduler(
        config, num_blocks, block_bytes=block_bytes, max_position=shape.max_position, on_cpu=device.is_synchronous
    )
    block_copy_s = block_bytes / (device.host_bandwidth_bytes_per_s * device.host_bandwidth_efficiency)
    runner = SimulatedRunner(roofline, clock, host, block_copy_s=block_copy_s, measured=device.steps, seed=config.seed)
    engine = Engine(scheduler, runner, clock.time, on_step=on_step)
    ready = Ready(
        max_model_len=scheduler.config.max_model_len,
        max_num_seqs=scheduler.config.max_num_seqs,
        vocab_size=max(shape.vocab_size, _LEAST_VOCABULARY),
        eos_token_ids=[],
        num_blocks=num_blocks,
        block_size=config.block_size,
        kv_bytes=num_blocks * block_bytes,
        num_host_blocks=scheduler.parking.num_host_blocks,
        device=f"simulated {device.name}",
        dtype=dtype,
        batching=config.batching,
        steps_ahead=engine.steps_ahead,
        simulated=True,
    )
    return engine, ready


def _num_blocks(
    config: EngineConfig, shape: ModelShape, device: DeviceProfile, dtype_bytes: int, weight_bytes: int
) -> int:
    block_bytes = shape.kv_bytes_per_token(dtype_bytes) * config.block_size
    free_bytes = int(device.usable_bytes) - weight_bytes
    what_is_there = (
        f"{shape.name} has {weight_bytes / 1e9:.1f} GB of weights; a simulated {device.name} has "
        f"{device.usable_bytes / 1e9:.0f} GB for weights and KV"
    )
    if free_bytes < block_bytes:
        raise ConfigurationError(f"{what_is_there}; choose a larger device, or describe one as JSON")
    if config.num_blocks is not None:
        num_blocks = config.num_blocks
    else:
        default_bytes = min(free_bytes, DEFAULT_KV_BYTES_ON_CPU) if device.is_synchronous else free_bytes
        num_blocks = (default_bytes if config.kv_memory_bytes is None else config.kv_memory_bytes) // block_bytes
    if num_blocks < 1:
        raise ConfigurationError(f"--kv-memory is smaller than one KV block ({block_bytes} bytes); raise it")
    if num_blocks * block_bytes > free_bytes:
        raise ConfigurationError(f"{what_is_there}; {num_blocks} KV blocks of {block_bytes} bytes do not fit")
    return num_blocks
