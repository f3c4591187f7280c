"""What a step spends its time on: kernel by kernel, by torch's profiler."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from abatch.engine.attention.base import ATTENTION_NAME
from abatch.engine.device.torch_runner import TorchRunner
from abatch.engine.request import Batch, ScheduledChunk
from benchmarks.gpu.batches import Sequences, batch_of, chunk, last_token
from benchmarks.gpu.driving import EngineBench, unrecorded
from benchmarks.gpu.setting import Setting, error_line, spread
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel

_WARM_UPS, _REPEATS = 3, 20
_SHOWN_KERNELS = 15
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Piece:
    """Something the device did: a kernel, a copy. Microseconds."""

    name: str
    start_us: float
    end_us: float


def run(setting: Setting, bench: EngineBench, original: PreTrainedModel | None = None) -> None:
    """All steps by events first, then under the profiler: it is the profiler that may fail, or slow things down.

    Args:
        setting: Of this part.
        bench: Whose steps they are.
        original: The same model, its layers not rewritten: its steps are profiled as well, launched kernel by kernel.
    """
    bench.runner.attention.cache.data.normal_()  # zeros would be faster than what is ever computed
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    batches = {name: batch_of(chunks) for name, chunks in _steps(setting, bench).items()}
    for name, batch in batches.items():
        try:
            launched = bench.runner.launch(batch)
            launched.collect()
            setting.figures.add(name, "is_recorded", value=launched.is_recorded)
            setting.figures.add(name, "step_ms", value=spread(_times_ms(bench, batch)))
            with unrecorded(bench.runner):
                setting.figures.add(name, "launched_ms", value=spread(_times_ms(bench, batch)))
        except Exception as error:
            traceback.print_exc()
            setting.figures.add(name, "failed", value=error_line(error))
    try:
        pieces_of(bench, next(iter(batches.values())))  # the first profile sets the profiler up
    except Exception as error:
        setting.figures.add("profiler", value={"failed": error_line(error)})
        raise
    for name, batch in batches.items():
        try:
            for key, value in _figures(pieces_of(bench, batch)).items():
                setting.figures.add(name, key, value=value)
            if original is not None:
                with unrecorded(bench.runner), by_model(bench.runner, original):
                    bench.runner.launch(batch).collect()
                    setting.figures.add(name, "not_fused", value=_figures(pieces_of(bench, batch)))
        except Exception as error:
            traceback.print_exc()
            setting.figures.add(name, "failed", value=error_line(error))


@contextmanager
def by_model(runner: TorchRunner, module: PreTrainedModel) -> Iterator[None]:
    """Steps that are launched kernel by kernel are another model's, over the same pages."""
    model = runner._model
    module.set_attn_implementation(ATTENTION_NAME)
    runner._model = replace(model, module=module)
    try:
        yield
    finally:
        runner._model = model


def _steps(setting: Setting, bench: EngineBench) -> dict[str, list[ScheduledChunk]]:
    """Decodes at two batch sizes, and decodes beside a chunk of a prompt. Names are those of the table."""
    few, many, context, prompt = setting.choose((32, 128, 1024, 480), (2, 4, 40, 12))
    sequences = Sequences(bench.ready.num_blocks, bench.ready.block_size, bench.ready.vocab_size, "profile")
    decodes = [last_token(sequences.new(context)) for _ in range(many)]
    beside = chunk(sequences.new(prompt), 0, prompt)
    return {
        f"{few} x {context}": decodes[:few],
        f"{many} x {context}": decodes,
        f"{few} x {context} and {prompt} tokens of a prompt": [*decodes[:few], beside],
    }


def _times_ms(bench: EngineBench, batch: Batch) -> list[float]:
    """Of the step alone, on the device, by events."""
    results = [bench.runner.launch(batch).collect() for _ in range(_WARM_UPS + _REPEATS)]
    return [(result.device_end_s - result.device_start_s) * 1e3 for result in results[_WARM_UPS:]]


def pieces_of(bench: EngineBench, batch: Batch) -> list[Piece]:
    """All that the device did for one step; on a CPU, the operators that call no others.

    Raises:
        RuntimeError: the profiler saw nothing.
    """
    is_cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if is_cuda else [ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        bench.runner.launch(batch).collect()
        if is_cuda:
            torch.cuda.synchronize()
    kind = "CUDA" if is_cuda else "CPU"
    pieces = [
        Piece(event.name, event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type.name == kind and (is_cuda or not event.cpu_children)
    ]
    if not pieces:
        raise RuntimeError("the profiler saw nothing on the device")
    return pieces


def _figures(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Sums, and the names that took most. Under the profiler a graph's kernels lie further apart than without."""
    names: dict[str, list[float]] = {}
    for piece in pieces:
        names.setdefault(piece.name, []).append(piece.end_us - piece.start_us)
    total_us = sum(map(sum, names.values()))
    most = sorted(names.items(), key=lambda item: -sum(item[1]))[:_SHOWN_KERNELS]
    num_copies = sum(piece.name.startswith(("Memcpy", "Memset")) for piece in pieces)
    return {
        "num_kernels": len(pieces) - num_copies,
        "num_copies": num_copies,
        "kernels_ms": total_us / 1e3,
        "span_ms": (max(piece.end_us for piece in pieces) - min(piece.start_us for piece in pieces)) / 1e3,
        "kernels": [
            {"name": name[:_LONGEST_NAME], "us": sum(times), "count": len(times), "share": sum(times) / total_us}
            for name, times in most
        ],
    }
