"""Decode steps with static inputs, as CUDA graphs are recorded and replayed.

Here a "recorded" step is the step itself, called again; kernels run in Triton's interpreter. All that a graph adds, the
replay, is for tests/gpu. What can go wrong around it is here: buckets, padding, relay, page tables, the sampler behind.
"""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from random import Random

import pytest
import torch
from abatch.engine.attention.paged_triton import TritonStep
from abatch.engine.config import BATCHING_MODES, Batching, SchedulerConfig
from abatch.engine.decode_graphs import Decoded, DecodeGraphs, Step, WrittenDecode, bucket_sizes
from abatch.engine.decode_inputs import DecodeInputs
from abatch.engine.errors import ConfigurationError
from abatch.engine.model_loader import LoadedModel
from abatch.engine.request import Request, SamplingParams, ScheduledChunk
from support.models import (
    VOCAB_SIZE,
    AheadRunner,
    LateRunner,
    TestEngine,
    generate_one_by_one,
    load,
    make_engine,
    make_model,
)
from transformers import PreTrainedModel

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="kernels are interpreted on the CPU only where there is no GPU; see tests/gpu"
)


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, LoadedModel]:
    folder = tmp_path_factory.mktemp(request.param)
    return make_model(request.param, folder), load(folder)


def recording_engine(model: LoadedModel, batching: Batching = "async", *, num_blocks: int = 40) -> TestEngine:
    config = SchedulerConfig(batching=batching, max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    return make_engine(model, config, num_blocks=num_blocks, block_size=4, attention="triton", record=lambda step: step)


@pytest.mark.parametrize("batching", BATCHING_MODES)
def test_tokens_are_those_of_generate(
    models: tuple[PreTrainedModel, LoadedModel], batching: Batching, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, loaded = models
    random = Random(5)
    prompts = [[random.randrange(3, VOCAB_SIZE) for _ in range(length)] for length in (3, 14, 6, 1)]
    limits = [6, 4, 5, 3]
    replays: list[int] = []
    replay = DecodeGraphs.replay

    def counted(graphs: DecodeGraphs, written: WrittenDecode) -> Decoded:
        replays.append(len(written.chunks))
        return replay(graphs, written)

    monkeypatch.setattr(DecodeGraphs, "replay", counted)
    # Too few blocks for all: somebody is preempted, and comes back to other pages.
    engine = recording_engine(loaded, batching, num_blocks=6 if batching != "window" else 40)
    assert engine.generate(prompts, limits) == generate_one_by_one(reference, prompts, limits)
    assert len(replays) > 5
    if batching != "window":
        assert engine.scheduler.num_preemptions > 0


def outputs(engine: TestEngine, sampling: list[SamplingParams]) -> list[list[int]]:
    tokens: dict[str, list[int]] = {str(index): [] for index in range(len(sampling))}
    for index, params in enumerate(sampling):
        engine.engine.submit(Request(str(index), [5 + index, 6, 7], params))
    while engine.engine.has_work:
        for output in engine.engine.step():
            assert output.token_id is not None
            tokens[output.request_id].append(output.token_id)
            if sampling[int(output.request_id)].logprobs:
                assert output.logprobs is not None
    return list(tokens.values())


def test_a_seeded_row_draws_the_same_whatever_its_neighbours_want(tmp_path: Path) -> None:
    """In a recorded step, behind one, and in a step that was never recorded."""
    make_model("llama", tmp_path)
    model = load(tmp_path)
    seeded = SamplingParams(max_tokens=6, temperature=1.3, seed=7)
    greedy = SamplingParams(max_tokens=6, temperature=0.0)
    fancy = SamplingParams(max_tokens=6, temperature=0.9, top_p=0.8, presence_penalty=0.5, seed=1)
    config = SchedulerConfig(batching="async", max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    never = make_engine(model, config, num_blocks=40, block_size=4, attention="triton")
    drawn = [
        outputs(recording_engine(model), [seeded, greedy])[0],
        outputs(recording_engine(model), [seeded, fancy])[0],
        outputs(never, [seeded, fancy])[0],
    ]
    assert drawn[0] == drawn[1] == drawn[2]
    assert drawn[0] != outputs(recording_engine(model), [greedy])[0]


@pytest.mark.parametrize("ahead", [AheadRunner, LateRunner])
def test_what_a_recorded_step_cannot_draw_is_sampled_behind_it(ahead: type[AheadRunner], tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    model = load(tmp_path)
    wanted = [
        SamplingParams(max_tokens=8, temperature=0.0, frequency_penalty=30.0),
        SamplingParams(max_tokens=8, temperature=0.8, top_k=3, seed=3),
        SamplingParams(max_tokens=8, temperature=0.0, logprobs=2),
    ]
    config = SchedulerConfig(batching="async", max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    never, recorded = (
        make_engine(model, config, num_blocks=40, block_size=4, attention="triton", record=record, ahead=ahead)
        for record in (None, lambda step: step)
    )
    assert outputs(recorded, wanted) == outputs(never, wanted)


@pytest.mark.parametrize("max_num_seqs", [1, 2, 3, 8, 60, 256, 300])
def test_buckets_hold_every_batch_and_pad_little(max_num_seqs: int) -> None:
    buckets = bucket_sizes(max_num_seqs)
    assert buckets == sorted(set(buckets))
    assert buckets[-1] == max_num_seqs
    for count in range(1, max_num_seqs + 1):
        bucket = next(size for size in buckets if size >= count)
        assert bucket - count < (8 if count <= 64 else 16 if count <= 256 else 32), (count, bucket)
    assert len(bucket_sizes(256)) == 23


def decode_chunk(slot: int, token_ids: list[int], *, in_flight: int = 0, **sampling: float) -> ScheduledChunk:
    request = Request("r", token_ids, SamplingParams(max_tokens=9, temperature=sampling.get("temperature", 0.0)))
    request.slot, request.block_ids = slot, [7, 3]
    end = len(token_ids) + in_flight
    return ScheduledChunk(request, end - 1, end, True, 0)


def test_inputs_are_written_where_the_device_reads_them() -> None:
    inputs = DecodeInputs(4, trash_slot=9, block_size=4, device=torch.device("cpu"), poison=True)
    chunks = [decode_chunk(2, [11, 12, 13, 14, 15]), decode_chunk(5, [21, 22], in_flight=1, temperature=0.5)]
    inputs.copy(inputs.write(chunks, 3, [1 << 62, 5]))
    rows = inputs.on_device
    assert rows.seeds.tolist() == [1 << 62, 5, 0, -1]
    assert rows.temperatures[:3].tolist() == [0.0, 0.5, 0.0]
    assert rows.token_ids.tolist() == [15, -1, 0, -1]
    assert rows.positions.tolist() == [4, 2, 0, -1]
    assert rows.slots.tolist() == [2, 5, 9, -1]
    assert rows.lengths.tolist() == [5, 3, 0, -1]
    assert rows.places.tolist() == [3 * 4 + 0, 7 * 4 + 2, -1, -1]


def test_one_host_buffer_is_written_while_the_other_may_still_be_read() -> None:
    inputs = DecodeInputs(1, trash_slot=1, block_size=4, device=torch.device("cpu"))
    first = inputs.write([decode_chunk(0, [11])], 1, [0])
    second = inputs.write([decode_chunk(0, [12])], 1, [0])
    inputs.copy(first)
    assert inputs.on_device.token_ids.tolist() == [11]
    inputs.copy(second)
    assert inputs.on_device.token_ids.tolist() == [12]


def test_a_placeholder_that_nobody_filled_in_is_an_error(tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    engine = recording_engine(load(tmp_path))
    runner = engine.engine._runner
    steps = runner._graphs._steps  # type: ignore[attr-defined]
    for size, step in list(steps.items()):

        def leaking(step: Step = step) -> Decoded:
            logits, tokens = step()
            return logits, torch.full_like(tokens, -1)

        steps[size] = leaking
    with pytest.raises(RuntimeError, match="nobody filled in"):
        outputs(engine, [SamplingParams(max_tokens=6, temperature=0.0)])


def test_a_model_that_cannot_be_recorded_says_what_to_give(tmp_path: Path) -> None:
    def record(step: Step) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    make_model("llama", tmp_path)
    config = SchedulerConfig(max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    with pytest.raises(ConfigurationError, match=r"\(operation .* capturing\): give --no-cuda-graphs$"):
        make_engine(load(tmp_path), config, num_blocks=9, block_size=4, attention="triton", record=record)


def test_what_a_recorded_step_reads_outlives_the_recording(tmp_path: Path) -> None:
    """A graph holds addresses, not tensors."""
    rows: list[weakref.ref[torch.Tensor]] = []

    def record(step: Step) -> Step:
        cells = [cell.cell_contents for cell in getattr(step, "__closure__", ())]
        (attention,) = (content for content in cells if isinstance(content, TritonStep))
        assert attention.decode is not None
        rows.append(weakref.ref(attention.decode.rows))
        return lambda: (torch.zeros(0), torch.zeros(0))

    make_model("llama", tmp_path)
    config = SchedulerConfig(max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    engine = make_engine(load(tmp_path), config, num_blocks=9, block_size=4, attention="triton", record=record)
    gc.collect()
    assert len(rows) == 3
    assert all(reference() is not None for reference in rows)
    assert engine.engine is not None
