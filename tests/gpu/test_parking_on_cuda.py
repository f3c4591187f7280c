"""Sessions on a CUDA device: KV that went to pinned host memory and came back is what it was."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
import torch
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.device.host_kv import HostKV
from abatch.engine.kv.block_copy import BlockCopy, CopyDirection, LaunchedCopy
from abatch.engine.parking.config import ParkingConfig, ParkPolicy
from abatch.engine.parking.costs import ParkCosts
from abatch.engine.request import Request, SamplingParams
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching, SchedulerConfig
from abatch.engine.session import EngineSession, SessionUse
from support.models import VOCAB_SIZE, TestEngine, generate_one_by_one, load, make_engine, make_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def order(direction: CopyDirection, device_ids: list[int], host_ids: list[int]) -> BlockCopy:
    return BlockCopy(direction, device_ids, host_ids, [b""] * len(device_ids), EngineSession("s"), 0, 0.0)


def wait(copy: LaunchedCopy) -> None:
    for _ in range(10_000):
        if copy.is_done():
            assert copy.duration_s() > 0
            return
        time.sleep(0.001)
    raise AssertionError("the copy never arrives")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_round_trip_is_exact_and_touches_nothing_else(seed: int, dtype: torch.dtype) -> None:
    random = Random(seed)
    num_device, num_host = 40, 30
    count = random.randint(1, num_host)
    sources, targets = random.sample(range(num_device), count), random.sample(range(num_device), count)
    if seed == 0:
        sources, targets = list(range(count)), list(range(5, 5 + count))
    host_ids = sorted(random.sample(range(num_host), count))
    cache = KVCache(KVShape(4, 2, 64), num_device, 16, dtype=dtype, device=torch.device("cuda"))
    cache.data.normal_()
    before = cache.data.clone()
    host = HostKV(cache, num_host)
    host._data.fill_(7.0)
    assert host._data.is_pinned()
    wait(host.copy(order("offload", sources, host_ids)))
    assert torch.equal(cache.data, before)
    others = [block for block in range(num_host) if block not in host_ids]
    assert bool((host._data[others] == 7.0).all())
    cache.data[sources] = 3.0
    expected = cache.data.clone()
    expected[targets] = before[sources]
    torch.cuda.synchronize()
    wait(host.copy(order("restore", targets, host_ids)))
    assert torch.equal(cache.data, expected)


def test_a_copy_out_waits_for_the_work_launched_before_it() -> None:
    cache = KVCache(KVShape(4, 2, 64), 64, 16, dtype=torch.float32, device=torch.device("cuda"))
    host = HostKV(cache, 64)
    large = torch.randn(8192, 8192, device="cuda")
    torch.cuda.synchronize()
    for _ in range(10):
        large = large @ large  # the device is busy for a while
    cache.data.fill_(5.0)
    copy = host.copy(order("offload", list(range(64)), list(range(64))))
    assert not copy.is_done(), "it does not wait here, either"
    wait(copy)
    assert bool((host._data == 5.0).all())


def run(tools: TestEngine, name: str | None, prompt: list[int], limit: int) -> list[int]:
    """A turn, served to its end, and its copies made."""
    session = None if name is None else SessionUse(session_id=name, expected_pause_s=60.0)
    sampling = SamplingParams(max_tokens=limit, temperature=0.0)
    tools.engine.submit(Request("r", prompt, sampling, session=session))
    tokens = []
    while tools.engine.has_work:
        tokens += [output.token_id for output in tools.engine.step() if output.token_id is not None]
    for _ in range(10_000):
        if not tools.engine._copies:
            break
        time.sleep(0.001)
        tools.engine.step()
    return tokens


@pytest.mark.parametrize("architecture", ["llama", "mistral-sliding"])
@pytest.mark.parametrize("batching", BATCHING_MODES)
@pytest.mark.parametrize(
    ("park", "happens"), [("keep", "num_recomputed"), ("offload", "num_restored"), ("auto", "num_restored")]
)
def test_turns_are_those_of_a_session_that_never_paused(
    architecture: str,
    batching: Batching,
    park: ParkPolicy,
    happens: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ParkCosts, "learn_prefill", lambda *_: None)
    monkeypatch.setattr(ParkCosts, "learn_copy", lambda *_: None)
    reference = make_model(architecture, tmp_path).to("cuda")  # type: ignore[arg-type]
    config = SchedulerConfig(batching=batching, max_num_seqs=4, max_num_batched_tokens=48, max_model_len=160)
    parking = ParkingConfig(policy=park, host_num_blocks=60, block_bytes=1)
    model = load(tmp_path, device="cuda", dtype="float32")
    tools = make_engine(model, config, num_blocks=40, block_size=4, parking=parking)
    random = Random(3)

    def new(count: int) -> list[int]:
        return [random.randrange(3, VOCAB_SIZE) for _ in range(count)]

    history = new(25)
    for _ in range(4):
        answer = run(tools, "a", list(history), 8)
        assert answer == generate_one_by_one(reference, [history], [8])[0]
        history += answer + new(4)
        run(tools, None, new(159), 1)
    assert getattr(tools.engine.totals_now().parking, happens) == 3
    assert tools.engine.end_session("a")
    assert tools.scheduler.blocks.num_held == tools.scheduler.parking.num_host_blocks_held == 0
