"""Profiles of devices that were never measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from abatch.engine.simulation.device_profile import DeviceProfile, HostOverhead
from abatch.engine.simulation.measured_steps import MeasuredSteps
from abatch.engine.simulation.model_shape import SHAPES
from msgspec.structs import replace

SHAPE = replace(SHAPES["smollm2-135m"], name="small")


def made_steps(**fields: Any) -> MeasuredSteps:
    """Steps of a small model on a CPU: 20 ms, and a millisecond for each token and each sample beyond the first."""
    values: dict[str, Any] = {
        "model": SHAPE,
        "dtype": "float32",
        "version": "0",
        "attention": "sdpa",
        "is_synchronous": True,
        "token_s": [(1, 0.02), (256, 0.275)],
        "sample_s": [(0, 0.0), (1, 0.0), (64, 0.063)],
        "context_token_s": 1e-6,
        "pair_s": 1e-8,
    }
    return MeasuredSteps(**(values | fields))


def made_profile(*, host: HostOverhead | None = None, **of_steps: Any) -> DeviceProfile:
    """A profile with such steps."""
    return DeviceProfile(
        name="made up",
        bandwidth_bytes_per_s=1e10,
        flops_per_s=1e11,
        memory_bytes=16e9,
        host=HostOverhead() if host is None else host,
        steps=made_steps(**of_steps),
    )


def saved(profile: DeviceProfile, folder: Path) -> str:
    """The name of a simulated device with this profile."""
    path = folder / "made.json"
    path.write_bytes(msgspec.json.encode(profile))
    return f"simulated:{path}"
