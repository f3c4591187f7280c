"""Finding where a model looks at values on the host: each look waits for the device, and cannot be recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_OF_UNKNOWN_SIZE = ("nonzero", "argwhere", "unique", "unique_consecutive", "masked_select")
_NUMBERS = ("tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__")
_LOOKS: dict[Any, str] = {getattr(torch.Tensor, name): name.strip("_") for name in (*_OF_UNKNOWN_SIZE, *_NUMBERS)} | {
    getattr(torch, name): name for name in _OF_UNKNOWN_SIZE
}
"""Their results have a size, or are numbers, that only the device knows."""

_INDEXING = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)


class HostLooks(TorchFunctionMode):
    """While this is entered, notes each kind of look by the module that takes it.

    Attributes:
        found: As `Qwen2MoeExperts (nonzero)`, each once, in the order they came.
    """

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, None] = {}

    @property
    def found(self) -> list[str]:
        return list(self._found)

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = _LOOKS.get(func)
        if func in _INDEXING and len(args) > 1 and _has_mask(args[1]):
            name = "indexing by a mask"
        elif func is torch.where and len(args) == 1:
            name = "where"
        if name is not None:
            self._found[f"{_module_name()} ({name})"] = None
        return func(*args, **(kwargs or {}))


def _has_mask(index: Any) -> bool:
    entries = index if isinstance(index, tuple) else (index,)
    return any(isinstance(entry, torch.Tensor) and entry.dtype == torch.bool for entry in entries)


def _module_name() -> str:
    """The class of the innermost module on the stack."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module):
            return type(owner).__name__
        frame = frame.f_back
    return "the model"
