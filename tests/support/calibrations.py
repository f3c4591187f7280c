"""Calibrations out of thin air."""

from __future__ import annotations

from typing import Any

from abatch.reports.calibration.calibration import Added, Point
from abatch.reports.calibration.file import Calibration
from abatch.reports.run.config import provenance


def make_point(**fields: Any) -> Point:
    """A point at which nothing is wrong, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "request_rate": 420.0,
        "achieved_rate": 420.0,
        "requests": 1000,
        "samples": 1000,
        "late_share": 0.0,
        "start": Added(0.1, 0.2, 0.3),
        "ttft": Added(0.3, 0.4, 0.5),
        "itl": Added(0.0, 0.1, 0.2),
        "e2e": Added(0.4, 0.6, 0.8),
        "client_e2e_p99_ms": 241.0,
        "server_e2e_p99_ms": 240.0,
        "has_truth": True,
    }
    return Point(**(values | fields))


def make_calibration(**fields: Any) -> Calibration:
    """One of this client on this machine, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "calibrated_at": "2026-01-02T03:04:05+00:00",
        "provenance": provenance(),
        "workers": 1,
        "max_trusted_rate": 420.0,
        "limit": "a higher rate failed",
        "point": make_point(),
    }
    return Calibration(**(values | fields))
