"""Our own engine's account of the measured part: part of summary.json."""

from __future__ import annotations

from dataclasses import fields

import msgspec

from ...engine.loop.step_account import EngineTotals
from ...engine.session import ParkingTotals
from ...workloads.bounds import Amount, Count


class ParkingSummary(msgspec.Struct, kw_only=True):
    """What became of sessions' KV between their turns (see `ParkingTotals`).

    Attributes:
        parked: Turns that ended with their session parked.
        kept: Returns that found their context on the device.
        restored: Returns whose context came back from the host tier.
        recomputed: Returns whose context was computed again.
        restore_wait_ms: Mean time that a restored return waited for the copy.
    """

    parked: Count
    kept: Count
    restored: Count
    recomputed: Count
    broken: Count
    prefetched: Count
    expired: Count
    parked_block_s: Amount
    recomputed_tokens: Count
    offloaded_bytes: Count
    restored_bytes: Count
    restore_wait_ms: Amount


class EngineSummary(msgspec.Struct, kw_only=True):
    """Our own engine's account of the measured part.

    Attributes:
        host_step_ms: Mean time per step in which the step loop did not wait: planning, launching, committing.
        device_step_ms: Mean time per step on the device.
        device_idle: Share of the time in which the device was idle while a request was waiting for tokens.
    """

    num_steps: Count
    host_step_ms: Amount
    device_step_ms: Amount
    device_idle: Amount
    num_prefill_tokens: Count
    num_decode_tokens: Count
    num_preemptions: Count
    parking: ParkingSummary | None = None


def summarise_engine(totals: EngineTotals) -> EngineSummary | None:
    """Means and shares of the engine's totals; None if it ran no step, or was restarted in between."""
    if totals.num_steps <= 0 or totals.device_busy_s <= 0 or _has_shrunk(totals):
        return None
    return EngineSummary(
        num_steps=totals.num_steps,
        host_step_ms=round(totals.host_s / totals.num_steps * 1e3, 4),
        device_step_ms=round(totals.device_busy_s / totals.num_steps * 1e3, 4),
        device_idle=round(totals.device_idle_s / (totals.device_idle_s + totals.device_busy_s), 6),
        num_prefill_tokens=totals.num_prefill_tokens,
        num_decode_tokens=totals.num_decode_tokens,
        num_preemptions=totals.num_preemptions,
        parking=_summarise_parking(totals.parking) if totals.parking.num_parked > 0 else None,
    )


def _has_shrunk(totals: EngineTotals | ParkingTotals) -> bool:
    """Whether a total went backwards, as those of a restarted server do."""
    values = (getattr(totals, field.name) for field in fields(totals))
    return any(_has_shrunk(value) if isinstance(value, ParkingTotals) else value < 0 for value in values)


def _summarise_parking(totals: ParkingTotals) -> ParkingSummary:
    return ParkingSummary(
        parked=totals.num_parked,
        kept=totals.num_kept,
        restored=totals.num_restored,
        recomputed=totals.num_recomputed,
        broken=totals.num_broken,
        prefetched=totals.num_prefetched,
        expired=totals.num_expired,
        parked_block_s=round(totals.parked_block_s, 3),
        recomputed_tokens=totals.recomputed_tokens,
        offloaded_bytes=totals.offloaded_bytes,
        restored_bytes=totals.restored_bytes,
        restore_wait_ms=round(totals.restore_wait_s / totals.num_restored * 1e3, 4) if totals.num_restored else 0.0,
    )
