"""From an engine's configuration to its scheduler."""

from __future__ import annotations

from ..config import EngineConfig
from ..errors import ConfigurationError
from ..kv.block_manager import BlockManager
from ..scheduling.scheduler import Scheduler


def build_scheduler(
    config: EngineConfig, num_blocks: int, *, block_bytes: int, max_position: int | None, on_cpu: bool
) -> Scheduler:
    """The scheduler of an engine with `num_blocks` KV blocks. `max_position` is the model's limit; None for none.

    Raises:
        ConfigurationError: the limits contradict each other or the model's.
    """
    capacity = num_blocks * config.block_size
    max_model_len = config.max_model_len or min(max_position or capacity, capacity)
    if max_position is not None and max_model_len > max_position:
        raise ConfigurationError(
            f"--max-model-len {max_model_len} is above this model's limit of {max_position} positions; lower it"
        )
    blocks = BlockManager(num_blocks, config.block_size, prefix_cache=config.prefix_cache)
    parking = config.parking_config(block_bytes=block_bytes, on_cpu=on_cpu)
    return Scheduler(config.scheduler_config(max_model_len=max_model_len, on_cpu=on_cpu), blocks, parking)
