"""The engine's totals, there and back through /metrics."""

from __future__ import annotations

from typing import cast

import pytest
from abatch.engine.loop.stats import EngineStats
from abatch.engine.loop.step_account import EngineTotals
from abatch.engine.server.metrics import ServerMetrics
from abatch.engine.session import ParkingTotals
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.targets.engine_watch import EngineWatch
from abatch.workloads.targets.target import BenchTarget
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


@pytest.mark.parametrize("number", [b"1..2e+-", b"1e999", b"NaN", b"-3", b"9" * 401, b"+Inf", b"\xff"])
@pytest.mark.parametrize("name", [b"abatch_steps_total", b"abatch_host_seconds_total"])
def test_what_is_no_number_is_no_account_and_no_traceback(name: bytes, number: bytes) -> None:
    lines = [
        name + b" " + number if line.startswith(name + b" ") else line for line in page(simulated=False).split(b"\n")
    ]
    assert parse_engine_metrics(b"\n".join(lines)) is None


async def test_an_account_that_is_lost_on_the_way_is_no_account() -> None:
    class Target:
        def __init__(self, *answers: EngineTotals | None) -> None:
            self._answers = iter(answers)

        async def engine_totals(self) -> EngineTotals | None:
            return next(self._answers)

    for answers, is_lost in (((_TOTALS, None), True), ((None,), False), ((_TOTALS, _TOTALS), False)):
        watch = EngineWatch(cast(BenchTarget, Target(*answers)), RunLimits(duration_s=None, num_sessions=1))
        await watch.run(0.0)
        assert (await watch.totals() is None) is (None in answers)
        assert watch.is_lost is is_lost
