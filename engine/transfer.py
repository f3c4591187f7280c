"""Between host and device without waiting: a copy that waits would wait for all steps launched before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def to_device(values: Sequence[int] | Sequence[float], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A list as a tensor on a device. From pinned memory, which PyTorch keeps until the copy is done."""
    tensor = torch.tensor(values, dtype=dtype, pin_memory=device.type == "cuda" and len(values) > 0)
    return tensor.to(device, non_blocking=True)


class HostCopy:
    """A tensor on its way to the host, behind the work launched so far and before what is launched later."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.numel() > 0)
            self._host.copy_(tensor, non_blocking=True)
            self._done = torch.cuda.Event()
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
