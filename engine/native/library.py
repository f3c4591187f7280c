"""The compiled kernels as functions (see kernels.cpp)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from .compiler import NativeError, compiled_library

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
_OPENMP_LIBRARIES = ("libgomp", "libiomp5", "libomp")


class Weight(ctypes.Structure):
    """See products.h."""

    _fields_ = (("panels", _POINTER), ("bias", _POINTER), ("num_outputs", _LONG), ("num_inputs", _LONG))


class Heads(ctypes.Structure):
    """See attention.h."""

    _fields_ = (
        ("num_heads", _LONG),
        ("num_kv_heads", _LONG),
        ("head_size", _LONG),
        ("query_norm", _POINTER),
        ("key_norm", _POINTER),
        ("epsilon", _FLOAT),
        ("scaling", _FLOAT),
        ("window", _LONG),
        ("softcap", _FLOAT),
    )


class Pages(ctypes.Structure):
    """See attention.h."""

    _fields_ = (("keys", _POINTER), ("values", _POINTER), ("block_stride", _LONG), ("block_size", _LONG))


class Step(ctypes.Structure):
    """See attention.h."""

    _fields_ = (
        ("num_rows", _LONG),
        ("num_tiles", _LONG),
        ("cos", _POINTER),
        ("sin", _POINTER),
        ("rotated", _LONG),
        ("places", _POINTER),
        ("tile_rows", _POINTER),
        ("tile_positions", _POINTER),
        ("tile_counts", _POINTER),
        ("tile_slots", _POINTER),
        ("page_table", _POINTER),
        ("table_width", _LONG),
    )


class Draws(ctypes.Structure):
    """See draw.h."""

    _fields_ = (("seeds", _POINTER), ("temperatures", _POINTER), ("top_ps", _POINTER), ("top_ks", _POINTER))


class Layer(ctypes.Structure):
    """See layer.h."""

    _fields_ = (
        ("hidden_size", _LONG),
        ("mlp_size", _LONG),
        ("attention_norm", _POINTER),
        ("mlp_norm", _POINTER),
        ("attention_epsilon", _FLOAT),
        ("mlp_epsilon", _FLOAT),
        ("queries_keys_values", Weight),
        ("output", Weight),
        ("gate_up", Weight),
        ("down", Weight),
        ("heads", Heads),
    )


class Workspace(ctypes.Structure):
    """See layer.h."""

    _fields_ = tuple((name, _POINTER) for name in ("normed", "packed", "attended", "gate_up", "gated"))


_ARGUMENTS = {
    "rms_norm": (_POINTER, _POINTER, _POINTER, _LONG, _LONG, _FLOAT, _INT),
    "gate": (_POINTER, _POINTER, _LONG, _LONG, _INT),
    "product": (_POINTER, _POINTER, _LONG, _POINTER, _INT, _INT),
    "attend": (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT),
    "draw": (_POINTER, _POINTER, _LONG, _LONG, _LONG, _POINTER, _INT),
    "layer": (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT),
}
"""The last is the number of threads."""

Function = Callable[..., None]


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """The kernels for one dtype.

    Attributes:
        panel_size: Outputs of a panel of weights.
    """

    dtype: torch.dtype
    panel_size: int
    rms_norm: Function
    gate: Function
    product: Function
    attend: Function
    draw: Function
    layer: Function


def load_library(dtype: torch.dtype, path: Path | None = None) -> NativeLibrary:
    """The kernels for a dtype. Compiles them when they are wanted for the first time.

    Args:
        dtype: Of weights, rows and pages.
        path: A library that has been compiled otherwise.

    Raises:
        NativeError: there are none for this dtype, or they cannot be compiled or loaded.
    """
    if dtype not in _NAMES:
        raise NativeError(f"there are none for {str(dtype).removeprefix('torch.')}")
    library = _loaded(compiled_library() if path is None else path)
    functions = {}
    for name, arguments in _ARGUMENTS.items():
        function = getattr(library, f"{name}_{_NAMES[dtype]}")
        function.argtypes, function.restype = arguments, None
        functions[name] = function
    library.panel_size.restype = _LONG
    return NativeLibrary(dtype, library.panel_size(), **functions)


def library_problem(dtype: torch.dtype) -> str | None:
    """Why there are no kernels for a dtype here, in one line; None if there are."""
    try:
        load_library(dtype)
    except NativeError as error:
        return str(error)
    return None


@cache
def _loaded(path: Path) -> ctypes.CDLL:
    try:
        ctypes.CDLL(_openmp(), mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeError(f"they cannot be loaded: {str(error).splitlines()[0]}") from error


def _openmp() -> str:
    """The file of the OpenMP library that torch computes with."""
    torch.ones(1).add_(1)
    try:
        files = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    except OSError as error:
        raise NativeError("they need Linux") from error
    for name in _OPENMP_LIBRARIES:
        for file in sorted(files):
            if Path(file).name.startswith(name):
                return file
    raise NativeError("this build of torch computes without OpenMP")
