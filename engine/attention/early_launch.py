"""Kernels that are launched while the one before still runs ("programmatic dependent launch").

Such a kernel may set itself up, and read what was there long before, and then waits until the one before it is over.
Nothing is known of the kernels before that one, unless it has waited itself. So each program of ours waits before it
reads what another kernel of the step computes, before it writes anything, and before it leaves; and a kernel lets the
next one start only once it has waited itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

_LEAST_CAPABILITY = 90
_LEAST_DRIVER = 12_040
"""CUDA 12.4: older drivers cannot record such launches in a graph."""


@triton.jit
def wait_for_inputs(EARLY: tl.constexpr) -> None:
    """Until the kernel before is over, and what it wrote can be read."""
    if EARLY:
        tl.extra.cuda.gdc_wait()


@triton.jit
def let_next_start(EARLY: tl.constexpr) -> None:
    """The next kernel may be launched once every program has come here. It waits for this one's end all the same."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()


def early_launch() -> dict[str, Any]:
    """Options of a kernel's launch on the current device. Nothing starts early on a GPU or a driver that cannot."""
    if triton.knobs.runtime.interpret:
        return {"EARLY": False}
    return _of_device(triton.runtime.driver.active.get_current_device())


@cache
def _of_device(number: int) -> dict[str, Any]:
    """The device is the current one. A step asks a hundred times."""
    target = triton.runtime.driver.active.get_current_target()
    is_early = target.backend == "cuda" and target.arch >= _LEAST_CAPABILITY and _driver_version() >= _LEAST_DRIVER
    return {"EARLY": True, "launch_pdl": True} if is_early else {"EARLY": False}


def _driver_version() -> int:
    """Of CUDA, as 12040 for 12.4. Builds of torch without CUDA compile for others, of which nothing is known."""
    version = getattr(torch._C, "_cuda_getDriverVersion", None)
    return _LEAST_DRIVER if version is None else int(version())
