"""Requests to an engine in virtual time that take a while to get there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from abatch.engine.config import EngineConfig
from abatch.engine.hosting.virtual_engine import build_virtual_engine
from abatch.engine.loop.engine import TokenOutput
from abatch.engine.request import SamplingParams
from abatch.engine.simulation.device_profile import HostOverhead
from support.measured_profiles import made_profile, saved
from support.virtual import in_virtual_time

_REQUEST_S = 0.5


@pytest.mark.parametrize("cancelled_after_s", [0.0, 0.2, None])
def test_a_request_and_its_cancelling_are_under_way_equally_long(
    tmp_path: Path, cancelled_after_s: float | None
) -> None:
    @in_virtual_time
    async def run() -> None:
        device = saved(made_profile(host=HostOverhead(request_s=_REQUEST_S)), tmp_path)
        virtual = build_virtual_engine(EngineConfig(model="small", device=device))
        stepping = asyncio.create_task(virtual.run())
        seen: list[float] = []

        def on_output(output: TokenOutput, now_s: float) -> None:
            seen.append(now_s)

        request_id = virtual.submit([1, 2, 3], SamplingParams(max_tokens=4), on_output)
        if cancelled_after_s is not None:
            await asyncio.sleep(cancelled_after_s)
            virtual.cancel(request_id)
        await asyncio.sleep(5.0)
        stepping.cancel()
        if cancelled_after_s is None:
            assert len(seen) == 4
            assert _REQUEST_S < seen[0] < _REQUEST_S + 0.1
        else:
            assert seen == []
            # At the same moment it is cancelled before it runs; later, what it did until then is thrown away.
            assert (virtual.totals.num_steps > 0) == (cancelled_after_s > 0)
            assert virtual.totals.num_decode_tokens <= 3

    run()
