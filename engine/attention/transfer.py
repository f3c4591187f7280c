"""Copies between host and device that do not wait: one that waits would wait for all steps launched before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def to_device(values: Sequence[int] | Sequence[float], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A list as a tensor on a device. From pinned memory, which PyTorch keeps until the copy is done."""
    tensor = torch.tensor(values, dtype=dtype, pin_memory=device.type == "cuda" and len(values) > 0)
    return tensor.to(device, non_blocking=True)


_PINNED_POWERS = range(3, 19)
_PINNED_COPIES = 32
"""Sizes that copies of a step have, as powers of two (PyTorch keeps pinned memory by these), and how many of one size
there may be at a time: those of two steps, a dozen each.
"""


def fill_pinned_memory() -> None:
    """Have PyTorch keep as much pinned memory as steps ever need: getting more may wait for the device.

    16 MiB. Whatever is recorded as a CUDA graph behind this gives it back.
    """
    held = [
        torch.empty(1 << power, dtype=torch.uint8, pin_memory=True)
        for power in _PINNED_POWERS
        for _ in range(_PINNED_COPIES)
    ]
    del held


class HostCopy:
    """A tensor on its way to the host, behind the work launched so far.

    Args:
        tensor: What to copy.
        stream: Where to copy, so that what is launched later need not wait for it; None for the current stream.
        host: Pinned memory to copy to, of the same shape and type; None to get some.
    """

    def __init__(
        self, tensor: torch.Tensor, stream: torch.cuda.Stream | None = None, *, host: torch.Tensor | None = None
    ) -> None:
        self._done: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            if host is None:
                host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.numel() > 0)
            self._host = host
            self._done = torch.cuda.Event()
            current = torch.cuda.current_stream()
            if stream is not None:
                stream.wait_stream(current)
                tensor.record_stream(stream)  # its memory is the copy's until that is done
            with torch.cuda.stream(stream or current):
                self._host.copy_(tensor, non_blocking=True)
                self._done.record()
        else:
            self._host = tensor

    def is_done(self) -> bool:
        """Whether it has arrived."""
        return self._done is None or bool(self._done.query())

    def wait(self) -> torch.Tensor:
        """The tensor on the host."""
        if self._done is not None:
            self._done.synchronize()
        return self._host

    def hold_back_what_follows(self) -> None:
        """What is launched from here on begins once the tensor has been read: it may be written over then."""
        if self._done is not None:
            torch.cuda.current_stream().wait_event(self._done)
