"""What the processor of this machine computes in hardware."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")
_X86 = frozenset({"avx512_bf16", "amx_bf16"})
_ARM = frozenset({"bf16", "sve_bf16", "svebf16"})
"""Names of torch and of the kernel's list, which differ for SVE alone."""


def multiplies_bfloat16() -> bool:
    """Whether there are instructions that multiply matrices of bfloat16: AVX512_BF16, AMX, or ARM's BF16.

    Without them bfloat16 is computed as float32 with a conversion around it, which is slower than float32 itself.
    """
    has_ours = _ARM if platform.machine().lower() in ("aarch64", "arm64") else _X86
    return not has_ours.isdisjoint(_of_torch() or _of_the_kernel())


def _of_torch() -> set[str]:
    """The names of what there is; none where torch is too old to say."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return set() if capabilities is None else {name for name, has_it in capabilities().items() if has_it is True}


def _of_the_kernel() -> set[str]:
    """The words of the first processor's line; none on a system without such a file."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
    flags = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return set(next(flags, "").split())
