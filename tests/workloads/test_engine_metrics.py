"""The engine's totals, there and back through /metrics."""

from __future__ import annotations

from abatch.engine.loop.stats import EngineStats
from abatch.engine.loop.step_account import EngineTotals
from abatch.engine.server.metrics import ServerMetrics
from abatch.engine.session import ParkingTotals
from abatch.workloads.watching.engine_metrics import parse_engine_metrics
from support.engines import make_ready

_TOTALS = EngineTotals(
    num_steps=12,
    num_prefill_tokens=3000,
    num_decode_tokens=90,
    num_preemptions=2,
    host_s=1.5e-05,
    device_busy_s=12.25,
    device_idle_s=0.5,
    parking=ParkingTotals(
        num_parked=9,
        num_kept=3,
        num_restored=2,
        num_recomputed=1,
        num_broken=4,
        num_prefetched=5,
        num_expired=6,
        parked_block_s=1234.5,
        recomputed_tokens=777,
        offloaded_bytes=10**10,
        restored_bytes=10**9,
        restore_wait_s=0.25,
    ),
)


def page(*, simulated: bool) -> bytes:
    ready = make_ready(device='a "device"', steps_ahead=1, simulated=simulated)
    return ServerMetrics(ready, lambda: EngineStats(totals=_TOTALS), lambda: True).render()


def test_what_the_server_shows_is_what_the_client_reads() -> None:
    for simulated in (False, True):
        metrics = parse_engine_metrics(page(simulated=simulated))
        assert metrics is not None
        assert metrics.totals == _TOTALS
        assert metrics.is_simulated is simulated
        assert metrics.steps_ahead == 1


def test_pages_of_other_servers_are_none_of_ours() -> None:
    for body in (b"", b"<html>", b"vllm:num_requests_running 3\n", b"\xff\xfe abatch_steps_total 1\n"):
        assert parse_engine_metrics(body) is None
