"""Memory of a process, by the kernel's account."""

from __future__ import annotations

from pathlib import Path


def resident_mib(pid: int) -> float:
    """What it has now; 0 once it is gone."""
    return _mib(pid, "VmRSS")


def peak_mib(pid: int) -> float:
    """The most that it has had; 0 once it is gone."""
    return _mib(pid, "VmHWM")


def _mib(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)
