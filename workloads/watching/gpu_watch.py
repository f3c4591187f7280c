"""Power, utilisation and memory of this machine's GPUs, from NVML if it is installed."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_NVML = "pynvml"
"""The module of the package nvidia-ml-py."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class GpuReading:
    """All GPUs together; None where they do not report it. `busy`: the mean share of the time that they were busy."""

    power_w: float | None
    busy: float | None
    memory_bytes: int | None


class GpuWatch:
    """Reads the GPUs again and again, on a thread of its own: a call of NVML may block, and a dead GPU blocks forever.

    The thread is a daemon, so that it cannot delay anything, not even the end of the process.
    """

    def __init__(self, every_s: float, nvml: Any = None) -> None:
        """`nvml`: the module, for tests; by default it is imported when the watch is entered."""
        self._every_s = every_s
        self._nvml = nvml
        self._latest: GpuReading | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-watch", daemon=True)

    def __enter__(self) -> GpuWatch:
        """Start reading. Without the library, nothing happens."""
        if self._nvml is None:
            self._nvml = _library()
        if self._nvml is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self._ended.set()

    @property
    def is_reading(self) -> bool:
        """False without a GPU or a working library."""
        return self._thread.is_alive()

    def take(self) -> GpuReading | None:
        """The reading since the last call, if any. Each is returned once, so that a hang does not repeat an old one."""
        latest, self._latest = self._latest, None
        return latest

    def _run(self) -> None:
        nvml = self._nvml
        try:
            nvml.nvmlInit()
        except Exception:  # a library and a driver that do not match may raise anything
            return
        try:
            gpus = _visible(nvml)
            while gpus and not self._ended.is_set():
                self._latest = _read(nvml, gpus)
                self._ended.wait(self._every_s)
        except Exception:
            return
        finally:
            _tried(nvml.nvmlShutdown)


def _library() -> Any:
    try:
        return importlib.import_module(_NVML)
    except Exception:  # missing or broken: either way, no GPU
        return None


def _visible(nvml: Any) -> list[Any]:
    """The GPUs in CUDA_VISIBLE_DEVICES; all of them if NVML does not understand its value."""
    names = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    if names and all(name.isdecimal() for name in names):
        found = [_tried(nvml.nvmlDeviceGetHandleByIndex, int(name)) for name in names]
    elif names and all(name.startswith("GPU-") for name in names):
        found = [_tried(nvml.nvmlDeviceGetHandleByUUID, name) for name in names]
    else:
        found = [_tried(nvml.nvmlDeviceGetHandleByIndex, index) for index in range(nvml.nvmlDeviceGetCount())]
    return [gpu for gpu in found if gpu is not None]


def _read(nvml: Any, gpus: list[Any]) -> GpuReading | None:
    milliwatts = _of_all(nvml.nvmlDeviceGetPowerUsage, gpus)
    rates = _of_all(nvml.nvmlDeviceGetUtilizationRates, gpus)
    memories = _of_all(nvml.nvmlDeviceGetMemoryInfo, gpus)
    if milliwatts is None and rates is None and memories is None:
        return None
    return GpuReading(
        power_w=None if milliwatts is None else sum(milliwatts) / 1e3,
        busy=None if rates is None else sum(rate.gpu for rate in rates) / 100 / len(rates),
        memory_bytes=None if memories is None else sum(memory.used for memory in memories),
    )


def _of_all(call: Callable[[Any], Any], gpus: list[Any]) -> list[Any] | None:
    """A call's value for each GPU; None unless all have one, because a sum over some of them would be too low."""
    values = [_tried(call, gpu) for gpu in gpus]
    return None if any(value is None for value in values) else values


def _tried(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception:  # NVMLError has a subclass for every feature that a GPU lacks
        return None
