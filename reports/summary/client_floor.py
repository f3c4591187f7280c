"""The client's floor on this machine: what it adds to whatever it measures, and up to which rate that stays small."""

from __future__ import annotations

import msgspec


class ClientFloor(msgspec.Struct, kw_only=True, frozen=True):
    """What `abatch calibrate` found at the highest rate at which the client can be trusted here.

    Attributes:
        added_ttft_p99_ms: 99th percentile of what the client added to each request's ttft; itl and e2e likewise.
        max_trusted_rate: Requests per second, each with 20 output tokens.
        calibrated_at: Date and time.
        workers: Processes that sent.
    """

    added_ttft_p99_ms: float
    added_itl_p99_ms: float
    added_e2e_p99_ms: float
    max_trusted_rate: float
    calibrated_at: str
    workers: int = 1


def floor_doubts(floor: ClientFloor | None, offered_rate: float) -> list[str]:
    """Why a run at this rate should not be believed. A floor that nobody measured is no reason."""
    if floor is None or offered_rate <= floor.max_trusted_rate:
        return []
    return [
        f"the run offered {offered_rate:.0f} requests/s, more than the {floor.max_trusted_rate:.0f} this client was "
        "calibrated for: raise --workers"
    ]


def floor_fact(floor: ClientFloor | None, workers: int = 1) -> str:
    """What is known of the floor, in one line."""
    if floor is None:
        return f"client floor unknown: run abatch calibrate{f' --workers {workers}' if workers > 1 else ''}"
    return (
        f"client floor: adds at most {floor.added_ttft_p99_ms:.1f} ms to ttft at p99, trusted up to "
        f"{floor.max_trusted_rate:.0f} requests/s (calibrated {floor.calibrated_at[:10]})"
    )
