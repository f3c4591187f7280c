"""What a CUDA device's memory is used for: weights, the largest step, recorded steps, and KV with what is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import ConfigurationError
from ..integers import ceil_div

_RESERVE_SHARE = 0.03
"""Of the whole memory: for the allocator's fragments, cuBLAS workspaces and what drivers take later."""


def use_expandable_segments(device: torch.device) -> None:
    """Have PyTorch's allocator grow its pieces of memory, unless the user's environment says how it is to work.

    Steps are of many sizes. Of pieces of fixed sizes some would always be too small, until the allocator runs out and
    gives back all it holds, which stops the device. To be called before the first tensor. Where the driver does not
    support this, as in some containers, everything stays as it is.
    """
    if {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        return
    # Not by the environment: some versions of torch read it before anyone could set it, some ignore the newer name.
    change = getattr(torch._C, "_accelerator_setAllocatorSettings", None) or torch.cuda.memory._set_allocator_settings
    change("expandable_segments:True")
    try:
        torch.empty(1, device=device)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        change("expandable_segments:False")


def kv_budget_bytes(
    free_bytes: int, total_bytes: int, step_bytes: int, graph_bytes: int, *, gathered_share: float = 0.0
) -> int:
    """What is left for KV blocks when weights are loaded: below 0 if nothing is.

    Args:
        free_bytes: Of the device, with the weights on it.
        total_bytes: Of the device.
        step_bytes: What the largest step takes at its peak.
        graph_bytes: What recorded steps take.
        gathered_share: Share of all KV that attention may hold a second time, gathered.
    """
    left_bytes = free_bytes - step_bytes - graph_bytes - int(total_bytes * _RESERVE_SHARE)
    return int(left_bytes / (1 + gathered_share))


def most_blocks(max_num_seqs: int, max_model_len: int, block_size: int) -> int:
    """KV blocks beyond which none would ever be used: all sequences at their longest, and as much again for what the
    prefix cache and parked sessions keep. A small model on a large device would get millions, and the host lists them.
    """
    return 2 * max_num_seqs * ceil_div(max_model_len, block_size)


def graph_bytes(first_bytes: int, second_bytes: int, num_graphs: int) -> int:
    """What `num_graphs` recorded steps take, from what the largest and the next took.

    All but the largest share its memory, and add what a graph itself needs.
    """
    if num_graphs == 0:
        return 0
    return max(0, first_bytes) + max(0, second_bytes) * (num_graphs - 1)


@contextmanager
def out_of_memory_says(what: str, advice: str) -> Iterator[None]:
    """Turn an out-of-memory error into one line that says what to lower.

    Raises:
        ConfigurationError: there was not enough memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info() if torch.cuda.is_available() else (0, 0)
        raise ConfigurationError(
            f"out of device memory for {what} ({free / 2**30:.1f} of {total / 2**30:.1f} GiB are free); {advice}"
        ) from error
