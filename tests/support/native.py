"""The kernels in C++, compiled for several instruction sets: a processor with the widest runs the others as well."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch
from abatch.engine.native.compiler import compiled_library
from abatch.engine.native.library import NativeLibrary, load_library

_COMMON = ("-std=c++17", "-O1", "-fno-math-errno", "-fopenmp", "-fPIC")
_OF_X86 = {"avx2": ("-mavx2", "-mfma"), "sse2": ("-msse2",)}
INSTRUCTION_SETS = ("native", *_OF_X86) if platform.machine() == "x86_64" else ("native",)


@cache
def _compiled(instruction_set: str) -> Path | None:
    if instruction_set == "native":
        return None
    return compiled_library(flags=(*_COMMON, *_OF_X86[instruction_set]))


def library_for(instruction_set: str, dtype: torch.dtype) -> NativeLibrary:
    """The kernels as a processor with no more than this would have them."""
    return load_library(dtype, _compiled(instruction_set))
