"""The engine on a CUDA device: the same tokens as `model.generate` there, however steps are launched."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from abatch.engine.assembly.torch_build import build_torch_engine
from abatch.engine.attention.base import ChunkLayout
from abatch.engine.attention.choose import choose_attention
from abatch.engine.attention.kv_cache import KVCache
from abatch.engine.config import AttentionName, EngineConfig
from abatch.engine.device.recorded_steps import GraphRecorder
from abatch.engine.device.step_shapes import StepShape, decode_shapes
from abatch.engine.errors import ConfigurationError
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.request import Batch, Request, SamplingParams
from abatch.engine.runner import LaunchedStep
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching, SchedulerConfig
from support.models import VOCAB_SIZE, TestEngine, generate_one_by_one, load, make_engine, make_model
from support.replays import noted_replays

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

ATTENTION: list[tuple[AttentionName, bool]] = [("sdpa", False), ("triton", False), ("triton", True)]
"""Backend, and whether steps are recorded."""


def limits(batching: Batching = "async") -> SchedulerConfig:
    return SchedulerConfig(batching=batching, max_num_seqs=6, max_num_batched_tokens=24, max_model_len=64)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[StepShape]:
    """Which recorded step is replayed, each time."""
    return noted_replays(monkeypatch)


@pytest.mark.parametrize("architecture", ["llama", "mistral-sliding", "gpt2", "gemma2"])
@pytest.mark.parametrize("batching", BATCHING_MODES)
@pytest.mark.parametrize(("attention", "is_recorded"), ATTENTION)
def test_greedy_equality_in_float32(
    architecture: str,
    batching: Batching,
    attention: AttentionName,
    is_recorded: bool,
    tmp_path: Path,
    replays: list[StepShape],
) -> None:
    reference = make_model(architecture, tmp_path).to("cuda")  # type: ignore[arg-type]
    random = Random(0)
    prompts = [[random.randrange(3, VOCAB_SIZE) for _ in range(random.randint(1, 40))] for _ in range(10)]
    engine = make_engine(
        load(tmp_path, device="cuda", dtype="float32"),
        limits(batching),
        num_blocks=20,
        block_size=4,
        attention=attention,
        record=GraphRecorder() if is_recorded else None,
    )
    assert engine.generate(prompts, [12] * 10) == generate_one_by_one(reference, prompts, [12] * 10)
    assert len(replays) == (engine.engine.totals.num_steps if is_recorded else 0)
    assert {shape.is_decode for shape in replays} == ({True, False} if is_recorded else set())


@pytest.mark.parametrize("architecture", ["llama", "mistral-sliding", "gemma2", "qwen3"])
@pytest.mark.parametrize("attention", ["sdpa", "triton"])
def test_logits_in_bfloat16_are_those_of_eager_attention(
    architecture: str, attention: AttentionName, tmp_path: Path
) -> None:
    """As close to float32 as eager attention is, in the same type. Teacher-forced: the same tokens go in, in chunks and
    one by one, so that one divergence is not the next one's.
    """
    exact = make_model(architecture, tmp_path).to("cuda")  # type: ignore[arg-type]
    model = load(tmp_path, device="cuda", dtype="bfloat16")
    cache = KVCache(model.kv_shape, 8, 16, dtype=model.dtype, device=model.device)
    backend = choose_attention(attention, cache, num_slots=1, max_num_pages=8, softcap=model.softcap)
    random = Random(1)
    ids = torch.tensor([[random.randrange(3, VOCAB_SIZE) for _ in range(100)]], device="cuda")
    positions = torch.arange(100, device="cuda").unsqueeze(0)
    block_ids = random.sample(range(8), 7)
    logits = []
    with torch.inference_mode():
        for start, end in [(0, 31), (31, 32), (32, 80), *((at, at + 1) for at in range(80, 100))]:
            step = backend.plan([ChunkLayout(0, end - start, start, block_ids, 0)])
            output = model.module(
                input_ids=ids[:, start:end],
                position_ids=positions[:, start:end],
                use_cache=False,
                step_attention=step,
            )
            logits.append(output.logits[0].float())
        original = load(tmp_path, device="cuda", dtype="bfloat16", fusion=False).module
        original.set_attn_implementation("eager")
        eager = original(input_ids=ids, use_cache=False).logits[0].float()
        expected = exact(input_ids=ids, use_cache=False).logits[0]
    ours = torch.cat(logits)
    assert (ours - expected).norm() < 1.3 * (eager - expected).norm()
    # Another token only where the best two are as good as equal.
    differs = ours.argmax(dim=1) != expected.argmax(dim=1)
    best = expected.topk(2, dim=1).values
    assert bool(((best[:, 0] - best[:, 1])[differs] < 0.1 * expected.abs().max()).all())


def outputs(
    engine: TestEngine, requests: list[Request], between: Callable[[int], None] = lambda _: None
) -> dict[str, list[int]]:
    """Tokens of all requests, which join one every other step. `between` is called before each, with its number."""
    tokens: dict[str, list[int]] = {request.request_id: [] for request in requests}
    late = list(reversed(requests))
    step = 0
    while late or engine.engine.has_work:
        if late and step % 2 == 0:
            engine.engine.submit(late.pop())
        between(step)
        for output in engine.engine.step():
            if output.token_id is not None:
                tokens[output.request_id].append(output.token_id)
        step += 1
    return tokens


def test_recorded_steps_say_what_unrecorded_ones_do_with_sampling_of_every_kind(tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    model = load(tmp_path, device="cuda", dtype="float32")
    kinds = [
        SamplingParams(max_tokens=12, temperature=0.0),
        SamplingParams(max_tokens=12, temperature=1.2, seed=3),
        SamplingParams(max_tokens=12, temperature=0.8, top_p=0.7, seed=4),
        SamplingParams(max_tokens=12, temperature=0.0, frequency_penalty=1.5),
        SamplingParams(max_tokens=12, temperature=0.9, top_k=5, seed=5, logprobs=3),
    ]

    def run(recorder: GraphRecorder | None) -> dict[str, list[int]]:
        engine = make_engine(model, limits(), num_blocks=60, block_size=4, attention="triton", record=recorder)
        return outputs(engine, [Request(str(i), [5, 6, 7 + i], kinds[i % 5]) for i in range(8)])

    assert run(GraphRecorder()) == run(None)


@pytest.mark.parametrize("seed", range(3))
def test_a_soak_of_random_arrivals_with_poison(seed: int, tmp_path: Path) -> None:
    """Everything that no step may read is NaN or -1; requests come, end, are cancelled and preempted at random."""
    reference = make_model("llama", tmp_path).to("cuda")  # type: ignore[arg-type]
    random = Random(seed)
    engine = make_engine(
        load(tmp_path, device="cuda", dtype="float32"),
        limits(),
        num_blocks=18,
        block_size=4,
        attention="triton",
        record=GraphRecorder(),
    )
    prompts = [[random.randrange(3, VOCAB_SIZE) for _ in range(random.randint(1, 40))] for _ in range(120)]
    lengths = [random.randint(1, 20) for _ in prompts]
    requests = [
        Request(f"{i:03}", list(prompt), SamplingParams(max_tokens=count, temperature=0.0))
        for i, (prompt, count) in enumerate(zip(prompts, lengths, strict=True))
    ]
    cancelled: set[str] = set()

    def cancel(step: int) -> None:
        name = f"{random.randrange(120):03}"
        if step % 7 == 0 and engine.engine.cancel(name) is not None:
            cancelled.add(name)

    tokens = outputs(engine, requests, cancel)
    assert engine.scheduler.num_preemptions > 0
    assert cancelled
    assert engine.scheduler.blocks.num_free == 18
    served = [i for i in range(120) if f"{i:03}" not in cancelled]
    expected = generate_one_by_one(reference, [prompts[i] for i in served], [lengths[i] for i in served])
    assert [tokens[f"{i:03}"] for i in served] == expected


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_launching_a_step_waits_for_nothing(tmp_path: Path) -> None:
    """A launch that waited for the device would wait for the step before: there would be no running ahead."""
    make_model("llama", tmp_path)
    config = SchedulerConfig(batching="async", max_num_seqs=6, max_num_batched_tokens=64, max_model_len=64)
    for attention, is_recorded in ATTENTION:
        engine = make_engine(
            load(tmp_path, device="cuda", dtype="float32"),
            config,
            num_blocks=40,
            block_size=4,
            attention=attention,
            record=GraphRecorder() if is_recorded else None,
        )
        runner = engine.engine._runner
        launch = runner.launch
        engine.generate([[5, 6, 7], list(range(3, 40))], [8, 8])  # what is loaded lazily may wait

        def guarded(batch: Batch, launch: Callable[[Batch], LaunchedStep] = launch) -> LaunchedStep:
            try:
                torch.cuda.set_sync_debug_mode("error")
                return launch(batch)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        runner.launch = guarded  # type: ignore[method-assign]
        engine.generate([[5, 6, 7], list(range(3, 40))], [8, 8])
        kinds = [
            SamplingParams(max_tokens=8, min_tokens=4, temperature=0.0, suppressed_token_ids=frozenset([2])),
            SamplingParams(max_tokens=8, temperature=0.9, top_p=0.8, presence_penalty=0.5, logprobs=2),
        ]
        outputs(engine, [Request(str(index), [5, 6, 7], kind) for index, kind in enumerate(kinds)])


_SLEEP_CYCLES = 600_000_000
"""A third of a second, at the clocks that GPUs have."""
_LONGEST_LAUNCH_S = 0.1


def test_a_launch_does_not_wait_for_a_long_step_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """set_sync_debug_mode does not see modules being loaded, memory being pinned, a full queue or waits for events."""
    steps: list[StepRecord] = []
    config = EngineConfig(
        model="smollm2-135m",
        load_format="dummy",
        device="cuda",
        num_blocks=4096,
        max_num_seqs=32,
        max_num_batched_tokens=512,
        host_kv_memory_bytes=0,
    )
    engine, _ = build_torch_engine(config, on_step=steps.append)
    gc.collect()
    gc.freeze()  # as the engine's process does: a collection of all that was loaded takes as long as is allowed here
    runner = engine._runner
    launch = runner.launch
    num_launched = 0

    def behind_a_long_step(batch: Batch) -> LaunchedStep:
        """Every third step finds the device busy for long."""
        nonlocal num_launched
        num_launched += 1
        if num_launched % 3 == 0:
            with runner._on_stream():  # type: ignore[attr-defined]
                torch.cuda._sleep(_SLEEP_CYCLES)
        return launch(batch)

    monkeypatch.setattr(runner, "launch", behind_a_long_step)
    kinds = [
        SamplingParams(max_tokens=20, temperature=0.0),
        SamplingParams(max_tokens=20, temperature=0.9, top_p=0.8, top_k=40),
        SamplingParams(max_tokens=20, temperature=0.0, presence_penalty=0.5, logprobs=3),
        SamplingParams(max_tokens=20, min_tokens=5, temperature=1.0, seed=3, suppressed_token_ids=frozenset([2])),
    ]
    requests = [Request(str(i), [1 + i] * (7 * i % 90 + 1), kinds[i % 4]) for i in range(24)]
    late = list(reversed(requests))
    while late or engine.has_work:
        if late:
            engine.submit(late.pop())
        engine.step()
    assert sum(step.gap_s > 2 * _LONGEST_LAUNCH_S for step in steps) > 5, "it was busy with something else"
    gc.unfreeze()
    launches_s = [step.launched_s - step.planned_s for step in steps]
    assert max(launches_s) < _LONGEST_LAUNCH_S


def test_the_device_s_time_is_told_by_its_events(tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    config = SchedulerConfig(batching="async", max_num_seqs=6, max_num_batched_tokens=64, max_model_len=64)
    engine = make_engine(load(tmp_path, device="cuda", dtype="float32"), config, num_blocks=40, block_size=4)
    engine.generate([[5, 6, 7]] * 4, [30] * 4)
    totals = engine.engine.totals
    assert totals.num_steps >= 30
    assert totals.device_busy_s > 0
    stopwatches = engine.engine._runner._stopwatches  # type: ignore[attr-defined]
    first, second = stopwatches.start(), None
    first.stop()
    torch.cuda._sleep(_SLEEP_CYCLES // 10)
    second = stopwatches.start()
    second.stop()
    first.read()
    _, _, gap_s = second.read()
    assert 0.005 < gap_s < 1.0, "what lies between two steps is by the device's own clock"


def test_memory_is_measured_and_what_is_left_goes_to_kv() -> None:
    progress: list[str] = []
    config = EngineConfig(model="smollm2-135m", load_format="dummy", device="cuda", host_kv_memory_bytes=0)
    engine, ready = build_torch_engine(config, on_progress=progress.append)
    report = ready.memory
    assert report is not None
    runner = engine._runner
    shapes = runner.shapes  # type: ignore[attr-defined]
    assert [shape for shape in reversed(shapes) if shape.is_decode] == decode_shapes(
        256,
        extra_parts=runner.attention.extra_parts,  # type: ignore[attr-defined]
    )
    assert (ready.attention, ready.num_graphs, ready.dtype) == ("triton", len(shapes), "bfloat16")
    settings = torch.cuda.memory._snapshot()["allocator_settings"]
    assert settings["expandable_segments"]
    assert report.kv_bytes == ready.kv_bytes > 0.3 * report.total_bytes
    assert report.step_bytes > 0
    assert report.free_bytes > 0
    assert progress[0].startswith("trying the largest step")
    assert sum(line.startswith("recording CUDA graph") for line in progress) == len(shapes)
    # It holds what was promised: the largest steps run with KV in place, and nothing has to be allocated for them.
    before = torch.cuda.memory_stats()
    for index in range(256):
        sampling = SamplingParams(max_tokens=4, temperature=1.0, top_p=0.9, presence_penalty=0.1, logprobs=20)
        engine.submit(Request(str(index), [1 + index] * 64, sampling))
    while engine.has_work:
        engine.step()
    after = torch.cuda.memory_stats()
    for count in ("num_alloc_retries", "num_ooms", "num_device_free"):
        assert after[count] == before[count], count
    # Small tensors of two steps in flight may want a little more than those of one, which is all there was before.
    assert after["reserved_bytes.all.current"] - before["reserved_bytes.all.current"] <= 16 << 20


def test_kv_that_does_not_fit_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"out of device memory for .* KV blocks .*; lower --kv-memory"):
        build_torch_engine(EngineConfig(model="tiny", device="cuda", block_size=4096, num_blocks=1 << 18))
