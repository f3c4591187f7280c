"""What is left for KV, and what the user is told when it is not enough."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from abatch.engine.assembly.torch_build import build_torch_engine
from abatch.engine.assembly.trial import TrialResult, largest_batch, try_out, warm_up_batches
from abatch.engine.config import EngineConfig
from abatch.engine.device.memory import (
    graph_bytes,
    kv_budget_bytes,
    most_blocks,
    out_of_memory_says,
    use_expandable_segments,
)
from abatch.engine.device.recorded_steps import RecordedSteps, Step
from abatch.engine.device.step_shapes import StepShape
from abatch.engine.device.torch_runner import TorchRunner
from abatch.engine.errors import ConfigurationError
from abatch.engine.loop.messages import MemoryReport
from abatch.engine.request import Batch, Request, SamplingParams
from abatch.engine.runner import LaunchedStep
from abatch.engine.scheduling.limits import SchedulerConfig
from support.models import load, make_model

GIB = 2**30


def test_kv_gets_what_steps_graphs_and_a_reserve_leave() -> None:
    assert kv_budget_bytes(100 * GIB, 140 * GIB, 3 * GIB, 2 * GIB) == 95 * GIB - int(140 * GIB * 0.03)
    assert kv_budget_bytes(4 * GIB, 80 * GIB, 3 * GIB, 0) < 0
    assert kv_budget_bytes(110 * GIB, 0, 0, 0, gathered_share=0.1) == pytest.approx(100 * GIB), (
        "and what is gathered of it"
    )


@pytest.mark.parametrize("fails", [False, True])
def test_the_allocator_s_segments_grow_where_the_driver_lets_them(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[str] = []
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", changes.append, raising=False)

    def empty(*_: object, **__: object) -> None:
        if fails:
            raise RuntimeError("CUDA driver error: operation not supported")

    monkeypatch.setattr(torch, "empty", empty)
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "max_split_size_mb:64")
        use_expandable_segments(torch.device("cuda"))
        assert not changes, "who has set the allocator up means it"
        monkeypatch.delenv(name)
    use_expandable_segments(torch.device("cuda"))
    assert changes == ["expandable_segments:True", *["expandable_segments:False"] * fails]


def test_no_more_blocks_than_all_sequences_can_ever_use() -> None:
    assert most_blocks(256, 32768, 16) == 2 * 256 * 2048
    assert most_blocks(1, 33, 16) == 6


@pytest.mark.parametrize(
    ("first", "second", "count", "expected"), [(500, 10, 4, 530), (500, 10, 1, 500), (500, 10, 0, 0), (500, -4, 3, 500)]
)
def test_graphs_after_the_largest_cost_what_the_second_did(first: int, second: int, count: int, expected: int) -> None:
    assert graph_bytes(first, second, count) == expected


def test_running_out_of_memory_is_one_line_that_says_what_to_lower() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"out of device memory for 9 KV blocks \(.*\); lower --kv-memory"),
        out_of_memory_says("9 KV blocks", "lower --kv-memory"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="device-side assert"), out_of_memory_says("a step", "lower something"):
        raise RuntimeError("device-side assert triggered")


@pytest.mark.parametrize(
    ("num_seqs", "num_tokens", "max_len", "expected"), [(4, 64, 99, 16), (4, 7, 99, 1), (4, 400, 20, 20)]
)
def test_the_largest_step_fills_the_budget_and_samples_in_every_sequence(
    num_seqs: int, num_tokens: int, max_len: int, expected: int
) -> None:
    limits = SchedulerConfig(max_num_seqs=num_seqs, max_num_batched_tokens=num_tokens, max_model_len=max_len)
    batch = largest_batch(limits, block_size=16)
    assert [chunk.num_tokens for chunk in batch.chunks] == [expected] * num_seqs
    assert all(chunk.samples for chunk in batch.chunks)
    blocks = [block for chunk in batch.chunks for block in chunk.request.block_ids]
    assert len(set(blocks)) == len(blocks)
    assert len({chunk.request.slot for chunk in batch.chunks}) == num_seqs


@pytest.mark.parametrize(("num_seqs", "num_tokens"), [(1, 1), (6, 24), (256, 256), (256, 2048)])
def test_warming_up_has_steps_of_every_kind(num_seqs: int, num_tokens: int) -> None:
    limits = SchedulerConfig(max_num_seqs=num_seqs, max_num_batched_tokens=num_tokens, max_model_len=64)
    batches = list(warm_up_batches(limits, block_size=4))
    sizes = {len(batch.chunks) for batch in batches if batch.num_prefill_tokens == 0}
    assert sizes >= {1 << power for power in range(9) if 1 << power <= num_seqs} | {num_seqs}
    prefills = {batch.num_tokens for batch in batches if batch.num_decode_tokens == 0}
    assert prefills >= {min(most, num_tokens, 64 * num_seqs) for most in (64, 256, 1024, 1536)}
    sampling = [chunk.request.sampling for batch in batches for chunk in batch.chunks]
    assert any(one.has_penalties and one.top_p < 1 and one.logprobs and one.min_tokens for one in sampling)
    assert any(one.top_k for one in sampling)
    assert any(one.seed is not None for one in sampling)
    alone = [{id(chunk.request.sampling) for chunk in batch.chunks} for batch in batches[-6:]]
    assert all(len(ways) == 1 for ways in alone)
    assert len(set.union(*alone)) == 6, "each way of sampling is also tried on all rows of a step"
    assert all(len(batch.chunks) <= num_seqs and batch.num_tokens <= num_tokens for batch in batches)
    assert all(batch.num_tokens == sum(chunk.num_tokens for chunk in batch.chunks) for batch in batches)
    each = min(num_tokens // num_seqs, 64)
    assert [chunk.num_tokens for chunk in batches[0].chunks] == [each] * num_seqs, "the largest is the first"
    width = 64 // 4
    assert all(len(chunk.request.block_ids) <= width for batch in batches for chunk in batch.chunks)


def test_the_report_says_where_memory_went() -> None:
    report = MemoryReport(
        total_bytes=140 * GIB,
        weight_bytes=15 * GIB,
        step_bytes=2 * GIB,
        graph_bytes=GIB,
        kv_bytes=110 * GIB,
        free_bytes=5 * GIB,
        num_graphs=23,
    )
    assert str(report) == (
        "device memory 140.0 GiB: weights 15.0 GiB, largest step 2.0 GiB, 23 CUDA graphs 1.0 GiB, KV 110.0 GiB, "
        "free 5.0 GiB"
    )


@pytest.mark.usefixtures("few_chunks")
@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are interpreted only where there is no GPU")
def test_the_trial_measures_the_largest_step_and_the_two_largest_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a device's memory made up: the step takes 700 bytes, the first graph 50, the second 5."""
    recorded: list[StepShape] = []
    record = RecordedSteps.record

    def noted(steps: RecordedSteps, shape: StepShape) -> None:
        recorded.append(shape)
        record(steps, shape)

    monkeypatch.setattr(RecordedSteps, "record", noted)
    free = iter([1000, 950, 950, 945])
    allocated = iter([100])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: next(allocated))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 800)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (next(free), 2000))
    monkeypatch.setattr("abatch.engine.assembly.trial.GraphRecorder", lambda: _called_again)
    make_model("llama", tmp_path, num_hidden_layers=1)
    config = EngineConfig(model=str(tmp_path), attention="triton", block_size=4)
    limits = SchedulerConfig(max_num_seqs=3, max_num_batched_tokens=18, max_model_len=64)
    assert try_out(config, limits, load(tmp_path)) == TrialResult(step_bytes=700, graph_bytes=50 + 5 * 3)
    assert [shape.rows for shape in recorded] == [18, 3]


def _called_again(step: Step) -> Step:
    step()
    return step


@pytest.mark.slow
@pytest.mark.usefixtures("few_chunks")
@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are interpreted only where there is no GPU")
def test_an_engine_is_warmed_up_before_it_records_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is built on a GPU, where only the recording and the memory are made up: 32 interpreted steps."""
    monkeypatch.setattr("abatch.engine.assembly.torch_build.GraphRecorder", lambda: _called_again)
    make_model("llama", tmp_path, num_hidden_layers=1)
    config = EngineConfig(
        model=str(tmp_path),
        attention="triton",
        block_size=4,
        num_blocks=8,
        max_model_len=16,
        max_num_seqs=2,
        max_num_batched_tokens=8,
    )
    progress: list[str] = []
    launched: list[int] = [0, 0]
    launch = TorchRunner.launch

    def counted(runner: TorchRunner, batch: Batch) -> LaunchedStep:
        launched[runner._graphs is not None and runner._graphs.is_recorded] += 1
        return launch(runner, batch)

    monkeypatch.setattr(TorchRunner, "launch", counted)
    engine, ready = build_torch_engine(config, on_progress=progress.append)
    assert (ready.attention, ready.num_graphs, progress) == ("triton", 0, [])
    monkeypatch.setattr("abatch.engine.assembly.torch_build._is_cuda", lambda _: True)
    monkeypatch.setattr("abatch.engine.assembly.torch_build._report", lambda *_: None)
    monkeypatch.setattr("abatch.engine.assembly.torch_build.fill_pinned_memory", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 0)
    engine, ready = build_torch_engine(config, on_progress=progress.append)
    assert ready.num_graphs == 3
    assert progress == [
        "warming up",
        "recording CUDA graph 1 of 3, of 8 tokens, up to 2 of them decodes",
        "recording CUDA graph 2 of 3, of 2 sequences",
        "recording CUDA graph 3 of 3, of 1 sequences",
    ]
    assert launched[0] == launched[1], "steps are tried before they are recorded, and once more behind that"
    engine.submit(Request("r", [5, 6, 7], SamplingParams(max_tokens=4, temperature=0.0)))
    tokens = []
    while engine.has_work:
        tokens += [output.token_id for output in engine.step()]
    assert len(tokens) == 4
