"""Steps with static inputs, as CUDA graphs are recorded and replayed.

Here a "recorded" step is the step itself, called again; kernels run in Triton's interpreter. All that a graph adds, the
replay, is for tests/gpu. What can go wrong around it is here: buckets, padding, relay, page tables, the sampler behind.
"""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.attention.paged_triton import TritonBackend, TritonStep
from abatch.engine.device.drawing import drawing_columns
from abatch.engine.device.recorded_steps import Step
from abatch.engine.device.step_columns import step_columns
from abatch.engine.device.step_inputs import StepInputs, StepOnDevice
from abatch.engine.device.step_shapes import StepShape, decode_shapes, mixed_shapes
from abatch.engine.errors import ConfigurationError
from abatch.engine.models.loader import LoadedModel
from abatch.engine.request import Batch, Request, SamplingParams, ScheduledChunk
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching, SchedulerConfig
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
from support.replays import noted_replays
from transformers import PreTrainedModel

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="kernels are interpreted on the CPU only where there is no GPU; see tests/gpu"
)


_LAYERS: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 1},
    "gemma2": {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]},
}
"""As few as there are kinds: each takes the interpreter a quarter of a second per step."""


@pytest.fixture(scope="module", params=_LAYERS)
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, LoadedModel]:
    folder = tmp_path_factory.mktemp(request.param)
    return make_model(request.param, folder, **_LAYERS[request.param]), load(folder)


def recording_engine(model: LoadedModel, batching: Batching = "async", *, num_blocks: int = 40) -> TestEngine:
    config = SchedulerConfig(batching=batching, max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    return make_engine(model, config, num_blocks=num_blocks, block_size=4, attention="triton", record=lambda step: step)


@pytest.mark.usefixtures("few_chunks")
@pytest.mark.parametrize("batching", BATCHING_MODES)
def test_tokens_are_those_of_generate(
    models: tuple[PreTrainedModel, LoadedModel], batching: Batching, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, loaded = models
    random = Random(5)
    prompts = [[random.randrange(3, VOCAB_SIZE) for _ in range(length)] for length in (3, 14, 6, 1)]
    limits = [6, 4, 5, 3]
    replays = noted_replays(monkeypatch)
    # Too few blocks for all: somebody is preempted, and comes back to other pages.
    engine = recording_engine(loaded, batching, num_blocks=6 if batching != "window" else 40)
    assert engine.generate(prompts, limits) == generate_one_by_one(reference, prompts, limits)
    assert sum(shape.is_decode for shape in replays) > 3
    assert sum(not shape.is_decode for shape in replays) >= 2, "prompts are in recorded steps as well"
    assert len(replays) == engine.engine.totals.num_steps
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


@pytest.mark.usefixtures("few_chunks")
def test_a_seeded_row_draws_the_same_whatever_its_neighbours_want(tmp_path: Path) -> None:
    """In a recorded step, behind one, and in a step that was never recorded."""
    make_model("llama", tmp_path, num_hidden_layers=1)
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


@pytest.mark.usefixtures("few_chunks")
@pytest.mark.parametrize("ahead", [AheadRunner, LateRunner])
def test_what_a_recorded_step_cannot_draw_is_sampled_behind_it(ahead: type[AheadRunner], tmp_path: Path) -> None:
    make_model("llama", tmp_path, num_hidden_layers=1)
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


@pytest.mark.usefixtures("few_chunks")
def test_more_pages_at_once_than_a_step_has_room_for_are_written_beside_it(tmp_path: Path) -> None:
    """As when a long prefix is found in the cache."""
    reference = make_model("llama", tmp_path, num_hidden_layers=1)
    config = SchedulerConfig(batching="async", max_num_seqs=2, max_num_batched_tokens=8, max_model_len=50)
    engine = make_engine(
        load(tmp_path), config, num_blocks=90, block_size=1, attention="triton", record=lambda step: step
    )
    random = Random(2)
    prompt = [random.randrange(3, VOCAB_SIZE) for _ in range(40)]
    steps = engine.engine._runner._graphs  # type: ignore[attr-defined]
    assert max(shape.pages for shape in steps.shapes) < 30
    assert engine.generate([prompt], [3]) == engine.generate([prompt], [3])
    assert engine.scheduler.num_cached_tokens > 30
    assert engine.generate([prompt], [3]) == generate_one_by_one(reference, [prompt], [3])


@pytest.mark.parametrize("max_num_seqs", [1, 2, 3, 8, 60, 256, 300])
def test_shapes_of_decodes_hold_every_batch_and_pad_little(max_num_seqs: int) -> None:
    sizes = [shape.rows for shape in decode_shapes(max_num_seqs, extra_parts=0)]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == max_num_seqs
    for count in range(1, max_num_seqs + 1):
        bucket = next(size for size in sizes if size >= count)
        assert bucket - count < (8 if count <= 64 else 16 if count <= 256 else 32), (count, bucket)
    assert len(decode_shapes(256, extra_parts=0)) == 23


@pytest.mark.parametrize(
    ("max_num_seqs", "max_num_batched_tokens"), [(1, 1), (3, 16), (64, 256), (256, 2048), (8, 512)]
)
def test_shapes_with_prompts_hold_512_tokens_of_them_and_pad_little(
    max_num_seqs: int, max_num_batched_tokens: int
) -> None:
    shapes = mixed_shapes(max_num_seqs, max_num_batched_tokens, tokens_per_tile=32, block_size=16, extra_parts=9)
    assert shapes == sorted(set(shapes))
    assert len(shapes) <= 35
    largest = shapes[-1]
    assert largest.rows == min(512 + max_num_seqs, max_num_batched_tokens)
    assert largest.decodes == min(max_num_seqs, largest.rows)
    assert all(shape.samples <= max_num_seqs and shape.decodes <= shape.rows for shape in shapes)
    for rows in range(1, largest.rows + 1):
        assert next(shape.rows for shape in shapes if shape.rows >= rows) - rows < 64
    # Cut into tiles of 32, chunks of any lengths have at most as many tiles as there is room for.
    assert all(shape.tiles >= (shape.rows - 64) // 32 + 64 for shape in shapes)


def chunk_of(
    slot: int, token_ids: list[int], start: int, end: int, *, samples: bool = True, **sampling: float
) -> ScheduledChunk:
    params = SamplingParams(max_tokens=9, **{"temperature": 0.0, **sampling})  # type: ignore[arg-type]
    request = Request("r", token_ids, params)
    request.slot, request.block_ids = slot, [7, 3]
    return ScheduledChunk(request, start, end, samples, 0)


def written(
    chunks: list[ScheduledChunk], shape: StepShape, *others: StepShape, **columns: list[int]
) -> tuple[StepInputs, StepOnDevice]:
    """What the device reads of a batch, in blocks of 4 tokens and tiles of 3."""
    cache = KVCache(KVShape(1, 1, 16), 8, 4, dtype=torch.float32, device=torch.device("cpu"))
    backend = TritonBackend(cache, num_slots=10, max_num_pages=4)
    backend.tokens_per_tile = lambda: 3  # type: ignore[method-assign]
    inputs = StepInputs([*others, shape], trash_slot=9, device=torch.device("cpu"), poison=True)
    step = step_columns(Batch(chunks=chunks, num_tokens=sum(chunk.num_tokens for chunk in chunks)), backend)
    assert step.sampling == [chunk for chunk in chunks if chunk.samples]
    seeds = [1 << 62, 5, 6][: len(step.sampling)]
    inputs.copy(inputs.write(step.values | drawing_columns(step.sampling) | columns, shape, seeds=seeds))
    return inputs, inputs.on_device(shape)


def test_a_decode_step_is_written_where_the_device_reads_it() -> None:
    shape, larger = StepShape(3, 3, 0, 3, 3, 4), StepShape(4, 4, 2, 4, 4, 5)
    chunks = [
        chunk_of(2, [11, 12, 13, 14, 15], 4, 5),
        chunk_of(5, [21, 22], 2, 3, temperature=0.5, top_k=7, top_p=0.75),  # its last token is in flight
    ]
    inputs, step = written(chunks, shape, larger, page_entries=[40], pages=[3])
    assert step.prefill is None
    assert step.token_ids.tolist() == [15, -1, 0]
    assert step.positions.tolist() == [4, 2, 0]
    assert step.slots.tolist() == [2, 5, 9]
    assert step.places.tolist() == [3 * 4 + 0, 7 * 4 + 2, -1]
    assert step.decode.rows.tolist() == [0, 1, 0]
    assert step.decode.slots.tolist() == [2, 5, 9]
    assert step.decode.lengths.tolist() == [5, 3, 0]
    assert step.decode.parts.sequences.tolist() == [0, 1, -1, -1]
    assert step.decode.parts.numbers.tolist() == [0, 0, 0, 0]
    assert step.decode.parts.counts.tolist() == [1, 1, 0, 0]
    assert step.sample_rows.tolist() == [0, 1, 0]
    assert step.sample_slots.tolist() == [2, 5, 9]
    assert step.drawing.seeds.tolist() == [1 << 62, 5, 0]
    assert step.drawing.temperatures.tolist() == [0.0, 0.5, 0.0]
    assert step.drawing.top_ks.tolist() == [0, 7, 0]
    assert step.drawing.top_ps.tolist() == [1.0, 0.75, 1.0]
    assert step.page_entries.tolist() == [40, -1, -1]
    assert step.pages.tolist() == [3, 0, 0]
    assert inputs.on_device(larger).token_ids.tolist() == [15, -1, 0, -1], "behind the step is what nobody may read"


def test_a_step_with_prompts_is_written_where_the_device_reads_it() -> None:
    chunks = [
        chunk_of(2, [11, 12, 13, 14, 15], 4, 5),
        chunk_of(6, [31, 32, 33, 34, 35, 36, 37], 2, 6, samples=False),
        chunk_of(5, [21, 22], 0, 3),  # recomputed, with its last token in flight
    ]
    _, step = written(chunks, StepShape(9, 2, 4, 3, 5, 2))
    assert step.token_ids.tolist() == [15, 33, 34, 35, 36, 21, 22, -1, 0]
    assert step.positions.tolist() == [4, 2, 3, 4, 5, 0, 1, 2, 0]
    assert step.slots.tolist() == [2, 6, 6, 6, 6, 5, 5, 5, 9]
    assert step.places.tolist() == [12, 30, 31, 12, 13, 28, 29, 30, -1]
    assert step.decode.rows.tolist() == [0, 0]
    assert step.decode.slots.tolist() == [2, 9]
    assert step.decode.lengths.tolist() == [5, 0]
    assert step.decode.parts.sequences.tolist() == [0, -1]
    assert step.prefill is not None
    # Those of the longest sequence first, and of each the last.
    assert step.prefill.first_rows.tolist() == [4, 1, 5, 0]
    assert step.prefill.first_positions.tolist() == [5, 2, 0, 0]
    assert step.prefill.num_tokens.tolist() == [1, 3, 3, 0]
    assert step.prefill.slots.tolist() == [6, 6, 5, 9]
    assert step.sample_rows.tolist() == [0, 7, 0]
    assert step.sample_slots.tolist() == [2, 5, 9]
    assert step.page_entries.tolist() == [-1] * 5


def test_single_tokens_that_do_not_sample_are_told_apart() -> None:
    """The last token but one of a prompt, where the budget of a step ended."""
    chunks = [chunk_of(slot, [11, 12, 13], 1, 2, samples=slot != 3) for slot in (2, 3, 4)]
    _, step = written(chunks, StepShape(4, 3, 1, 3, 3, 3))
    assert step.decode.rows.tolist() == [0, 1, 2]
    assert step.sample_rows.tolist() == [0, 2, 0]
    assert step.sample_slots.tolist() == [2, 4, 9]


def test_one_host_buffer_is_written_while_the_other_may_still_be_read() -> None:
    shape = StepShape(1, 1, 0, 1, 1, 1)
    inputs = StepInputs([shape], trash_slot=9, device=torch.device("cpu"))
    first, second = (inputs.write({"token_ids": [token]}, shape, seeds=[0]) for token in (11, 12))
    step = inputs.on_device(shape)
    for number, token in ((first, 11), (second, 12)):
        inputs.copy(number)
        assert (step.token_ids.tolist(), step.turn.tolist()) == ([token], [number])


@pytest.mark.usefixtures("few_chunks")
def test_tokens_stay_for_the_host_while_the_next_step_draws(tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    engine = recording_engine(load(tmp_path))
    runner = engine.engine._runner
    steps, seeds = runner._graphs, runner._sampler.seeds  # type: ignore[attr-defined]
    drawn = []
    with torch.inference_mode():
        for token in (5, 60):
            request = Request("r", [token], SamplingParams(max_tokens=2, temperature=0.0), slot=0)
            request.block_ids = [0]
            batch = Batch(chunks=[ScheduledChunk(request, 0, 1, True, 0)], num_tokens=1)
            _, tokens = steps.replay(steps.write(batch, seeds))
            drawn.append((tokens, tokens.tolist()))
    assert drawn[0][1] != drawn[1][1]
    assert [tokens.tolist() for tokens, _ in drawn] == [then for _, then in drawn]


@pytest.mark.usefixtures("few_chunks")
def test_a_placeholder_that_nobody_filled_in_is_an_error(tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    engine = recording_engine(load(tmp_path))
    runner = engine.engine._runner
    graphs = runner._graphs  # type: ignore[attr-defined]
    for shape, step in list(graphs._steps.items()):

        def leaking(step: Step = step) -> None:
            step()
            graphs._drawn.fill_(-1)

        graphs._steps[shape] = leaking
    with pytest.raises(RuntimeError, match="never filled in"):
        outputs(engine, [SamplingParams(max_tokens=6, temperature=0.0)])


def test_a_model_that_cannot_be_recorded_says_what_to_give(tmp_path: Path) -> None:
    def record(step: Step) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    make_model("llama", tmp_path)
    config = SchedulerConfig(max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    with pytest.raises(ConfigurationError, match=r"\(operation .* capturing\); give --no-cuda-graphs$"):
        make_engine(load(tmp_path), config, num_blocks=9, block_size=4, attention="triton", record=record)


def test_what_a_recorded_step_reads_outlives_the_recording(tmp_path: Path) -> None:
    """A graph holds addresses, not tensors."""
    rows: list[weakref.ref[torch.Tensor]] = []

    def record(step: Step) -> Step:
        cells = [cell.cell_contents for cell in getattr(step, "__closure__", ())]
        (attention,) = (content for content in cells if isinstance(content, TritonStep))
        assert attention.decode is not None
        rows.append(weakref.ref(attention.decode.rows))
        return lambda: None

    make_model("llama", tmp_path)
    config = SchedulerConfig(max_num_seqs=3, max_num_batched_tokens=16, max_model_len=24)
    engine = make_engine(load(tmp_path), config, num_blocks=9, block_size=4, attention="triton", record=record)
    gc.collect()
    assert len(rows) == 4
    assert all(reference() is not None for reference in rows)
    assert engine.engine is not None
