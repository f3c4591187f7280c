"""Drawing tokens from logits on a CPU, by our kernels in C++ (`engine/native/draw.h`)."""

from __future__ import annotations

import ctypes

import torch

from ..native.library import Draws, NativeLibrary, load_library
from .drawing import DrawRows


class NativeDraw:
    """Draws from the softmax by one random number a row, which depends on the row's seed alone.

    What top_k and top_p keep is as in `draw_kernel`.

    Args:
        num_threads: That share the rows.

    Raises:
        NativeError: there are no kernels.
    """

    def __init__(self, num_threads: int) -> None:
        self._libraries: dict[torch.dtype, NativeLibrary] = {
            dtype: load_library(dtype) for dtype in (torch.float32, torch.bfloat16)
        }
        self._num_threads = num_threads

    def __call__(self, logits: torch.Tensor, rows: DrawRows) -> torch.Tensor:
        """One token a row.

        Args:
            logits: `[rows, vocabulary]`, float32 or bfloat16.
            rows: How each row draws.

        Returns:
            `[rows]` int64.
        """
        if logits.stride(-1) != 1:
            logits = logits.contiguous()
        tokens = torch.empty(logits.shape[0], dtype=torch.long)
        how = Draws(rows.seeds.data_ptr(), rows.temperatures.data_ptr(), rows.top_ps.data_ptr(), rows.top_ks.data_ptr())
        self._libraries[logits.dtype].draw(
            tokens.data_ptr(), logits.data_ptr(), *logits.shape, logits.stride(0), ctypes.byref(how), self._num_threads
        )
        return tokens
