"""What machine this is, and how fast it copies, reads and multiplies when nothing else is asked of it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.timing import times_s

_REPEATS = 25


def run(setting: Setting) -> float:
    """What it is; bandwidths; products.

    Returns:
        As `identify`.
    """
    copy_bytes_per_s = identify(setting)
    add = setting.figures.add
    add("read_bytes_per_s", value=_read_bytes_per_s(setting))
    add("matmul_flops_per_s", value=_matmul_flops_per_s(setting))
    _give_back()
    return copy_bytes_per_s


def identify(setting: Setting) -> float:
    """Versions, device, driver, and the bandwidth of a copy: what figures of one card are told from another's by.

    Returns:
        That bandwidth in bytes a second.
    """
    add = setting.figures.add
    add("versions", value=_versions())
    add("device", value=_device())
    copy = _copy_bytes_per_s(setting)
    _give_back()
    add("copy_bytes_per_s", value=copy)
    return copy["median"]


def bandwidth(setting: Setting) -> float:
    """Bytes a second of a large copy, read and written: as a job before this one measured it, else measured now."""
    known: float | None = setting.known("machine", "copy_bytes_per_s", "median")
    if known is not None:
        return known
    measured = _copy_bytes_per_s(setting)["median"]
    _give_back()
    return measured


def _copy_bytes_per_s(setting: Setting) -> dict[str, float]:
    """Of a copy far larger than any cache, from the device to the device."""
    source = torch.ones(setting.choose(4 << 30, 64 << 20), dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    return _rates(2 * source.nbytes, times_s(lambda: target.copy_(source), _REPEATS))


def _give_back() -> None:
    """What comes next wants most of the memory in one piece."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _read_bytes_per_s(setting: Setting) -> dict[str, float]:
    """Of a sum, which writes next to nothing."""
    numbers = torch.ones(setting.choose(1 << 30, 16 << 20), dtype=torch.float32, device=setting.device)
    return _rates(numbers.nbytes, times_s(numbers.sum, _REPEATS))


def _matmul_flops_per_s(setting: Setting) -> dict[str, float]:
    """Of a product of two square matrices of random numbers (zeros would be faster: they take less power)."""
    size = setting.choose(8192, 256)
    dtype = torch.float32 if setting.is_dry else torch.bfloat16
    left, right = (torch.randn(size, size, dtype=dtype, device=setting.device) for _ in range(2))
    product = torch.empty_like(left)
    return _rates(2 * size**3, times_s(lambda: torch.mm(left, right, out=product), _REPEATS))


def _rates(amount: float, times: dict[str, float]) -> dict[str, float]:
    return {
        "median": amount / times["median"],
        "min": amount / times["max"],
        "max": amount / times["min"],
        "n": times["n"],
    }


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version(), "cuda": torch.version.cuda}
    for package in ("torch", "triton", "transformers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _device() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"name": f"CPU, {torch.get_num_threads()} threads"}
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
    }


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return said.splitlines()[0].strip() if said.strip() else None
