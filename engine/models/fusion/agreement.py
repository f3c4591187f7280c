"""Whether a rewritten part computes what the original computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

TROUBLE = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What a rewritten part raises where the original asks for something else."""

_MOST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 0.02, torch.float16: 0.004}
"""Relative to the size of the result, of one part: some roundings in a row, in another order."""


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Size of the difference relative to `theirs`; not a number where either is not."""
    ours, theirs = ours.float(), theirs.float()
    size, difference = float(theirs.norm()), float((ours - theirs).norm())
    return difference / size if size else difference


def agree(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether they are of the same shape and dtype, and differ by no more than rounding."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    return relative_error(ours, theirs) <= _MOST_ERROR[theirs.dtype]  # also False when it is not a number


def random_rows(shape: Sequence[int], like: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
    """The same numbers each time, of that standard deviation, on the device of `like` and in its dtype."""
    numbers = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)) * scale
    return numbers.to(device=like.device, dtype=like.dtype)
