"""Chooses the attention backend."""

from __future__ import annotations

import torch

from ..config import AttentionName
from ..errors import ConfigurationError
from ..native.library import library_problem, load_library
from .base import AttentionBackend
from .kv_cache import KVCache
from .paged_native import NativeBackend
from .paged_triton import TritonBackend, triton_problem
from .sdpa import SdpaBackend
from .triton_compiler import compiler_problem


def choose_attention(
    name: AttentionName, cache: KVCache, *, num_slots: int, max_num_pages: int, softcap: float | None = None
) -> AttentionBackend:
    """The backend of that name over `cache`.

    `auto`: our kernels, in Triton on CUDA and in C++ on a CPU, if they run there, else torch's SDPA.

    Args:
        name: `--attention`.
        cache: The pages.
        num_slots: Sequences that may run at once.
        max_num_pages: Most pages of a sequence.
        softcap: The model's bound on its attention scores; None without soft-capping.

    Raises:
        ConfigurationError: that backend cannot attend here.
    """
    if name == "auto":
        name = _best(cache)
    if name == "triton":
        _refuse_if("triton", triton_problem(cache))
        if cache.data.device.type == "cuda":
            _refuse_without_compiler(cache)
        return TritonBackend(cache, num_slots=num_slots, max_num_pages=max_num_pages)
    if name == "varlen":
        from .varlen import VarlenBackend, varlen_problem  # a part of torch that is young: only where it is asked for

        device, dtype = cache.data.device, cache.data.dtype
        _refuse_if("varlen", varlen_problem(device, dtype, cache.block_size, cache.shape.head_size, softcap))
        return VarlenBackend(cache)
    if name == "native":
        _refuse_if("native", _native_problem(cache))
        return NativeBackend(
            cache,
            load_library(cache.data.dtype),
            num_slots=num_slots,
            max_num_pages=max_num_pages,
            num_threads=torch.get_num_threads(),
        )
    return SdpaBackend(cache)


def _best(cache: KVCache) -> AttentionName:
    if cache.data.device.type == "cuda":
        return "triton" if triton_problem(cache) is None else "sdpa"
    return "native" if _native_problem(cache) is None else "sdpa"


def _native_problem(cache: KVCache) -> str | None:
    """Why our kernels in C++ cannot attend over such pages, in one line; None if they can."""
    if cache.data.device.type != "cpu":
        return f"it needs a CPU, and the KV is on {cache.data.device}"
    return library_problem(cache.data.dtype)


def _refuse_without_compiler(cache: KVCache) -> None:
    """Also where `auto` chose Triton: a package is soon installed, and attention without it is several times slower."""
    from .kernel_calls import store_nothing  # Triton: only where it is used

    problem = compiler_problem(lambda: store_nothing(cache))
    if problem is not None:
        raise ConfigurationError(
            f"Triton cannot compile attention: {problem}; or give --attention sdpa, which is slower"
        )


def _refuse_if(name: str, problem: str | None) -> None:
    if problem is not None:
        raise ConfigurationError(f"--attention {name} cannot be used: {problem}; choose auto or sdpa")
