"""Triton's interpreter, made to run our kernels. It is asked for by the environment, before Triton is imported."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton.language as tl
from triton import knobs
from triton.runtime import interpreter


def _as_float32(operand: Any) -> Any:
    """Bfloat16 is kept as the integers of its bits: the upper half of a float32's."""
    return interpreter.TensorHandle((operand.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def mend() -> None:
    """Two things it gets wrong: it multiplies the *bits* of bfloat16 matrices, and its scalars are arrays of one
    element, which NumPy 2.4 no longer takes for integers.
    """
    knobs.runtime.interpret = True  # for our own kernels, whatever becomes of the environment
    builder = interpreter.InterpreterBuilder
    multiply = builder.create_dot

    def create_dot(self: Any, a: Any, b: Any, *others: Any) -> Any:
        a, b = (_as_float32(operand) if operand.dtype == tl.bfloat16 else operand for operand in (a, b))
        return multiply(self, a, b, *others)

    builder.create_dot = create_dot
    patch = interpreter._patch_lang_tensor

    def patch_lang_tensor(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_lang_tensor
