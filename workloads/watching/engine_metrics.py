"""The engine's own totals, read from the `/metrics` of an `abatch serve`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import aiohttp
from yarl import URL

from ...engine.loop.step_account import EngineTotals
from ...engine.session import ParkingTotals
from ..http.body import read_body
from ..http.faults import RefusedError
from ..http.limits import METRICS_BYTES
from .server_metrics import count

_TIMEOUT_S = 5.0
_METRIC = re.compile(rb"^abatch_(\w+) (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """The metrics of an abatch engine."""

    totals: EngineTotals
    is_simulated: bool
    steps_ahead: int


async def read_engine_metrics(http: aiohttp.ClientSession, page: URL) -> EngineMetrics | None:
    """Ask a server for its metrics. None if it has none, or they are not an abatch engine's."""
    try:
        async with http.get(page, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), allow_redirects=False) as response:
            body = await read_body(response, METRICS_BYTES) if response.status == 200 else None
    except (aiohttp.ClientError, RefusedError, OSError, TimeoutError):
        return None
    return None if body is None else parse_engine_metrics(body)


def parse_engine_metrics(body: bytes) -> EngineMetrics | None:
    """The engine's metrics on a page in Prometheus' text format. None if any are missing, or no numbers."""
    values = {name.decode(): value for name, text in _METRIC.findall(body) if (value := count(text)) is not None}
    try:
        totals = EngineTotals(
            num_steps=int(values["steps_total"]),
            num_prefill_tokens=int(values["prefill_tokens_total"]),
            num_decode_tokens=int(values["decode_tokens_total"]),
            num_preemptions=int(values["preemptions_total"]),
            host_s=values["host_seconds_total"],
            device_busy_s=values["device_busy_seconds_total"],
            device_idle_s=values["device_idle_seconds_total"],
            parking=ParkingTotals(
                num_parked=int(values["turns_parked_total"]),
                num_kept=int(values["resumed_kept_total"]),
                num_restored=int(values["resumed_restored_total"]),
                num_recomputed=int(values["resumed_recomputed_total"]),
                num_broken=int(values["pins_broken_total"]),
                num_prefetched=int(values["sessions_prefetched_total"]),
                num_expired=int(values["sessions_expired_total"]),
                parked_block_s=values["parked_block_seconds_total"],
                recomputed_tokens=int(values["recomputed_tokens_total"]),
                offloaded_bytes=int(values["offloaded_bytes_total"]),
                restored_bytes=int(values["restored_bytes_total"]),
                restore_wait_s=values["restore_wait_seconds_total"],
            ),
        )
        return EngineMetrics(totals, values["simulated"] == 1, int(values["steps_ahead"]))
    except KeyError:
        return None
