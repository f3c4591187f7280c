"""Whether steps compute the same however they are launched, and the same as transformers; then what they cost."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from abatch.engine.device.torch_runner import TorchRunner, _StepInputs
from abatch.engine.models.loader import load_model
from abatch.engine.request import Batch
from benchmarks.gpu import step_profile
from benchmarks.gpu.batches import Sequences, batch_of, chunk, last_token
from benchmarks.gpu.driving import EngineBench, unrecorded
from benchmarks.gpu.setting import Setting, SkippedError, error_line
from transformers import PreTrainedModel

_KV_TOKENS, _DRY_KV_TOKENS = 147_456, 2048
"""19 GB: what the largest step of the profile needs, and the sequences that are compared."""
_ENGINES: tuple[dict[str, Any], ...] = (
    {},
    {"fusion": False},
    {"cuda_graphs": False},
    {"cuda_graphs": False, "attention": "sdpa"},
)
"""If one cannot be built, the next says whether the rest of it is right."""


def run(setting: Setting) -> None:
    """Compare, then time and profile, with one loaded engine, and a second model whose layers are as they were."""
    # A graph that is replayed once the profiler has been taken down has crashed before now.
    os.environ |= {"TEARDOWN_CUPTI": "0", "DISABLE_CUPTI_LAZY_REINIT": "1"}
    smoke = setting.within("smoke")
    bench = build(smoke)
    original: PreTrainedModel | None = None
    try:
        batches = steps(setting, bench)
        original = load_model(setting.engine_config(num_kv_tokens=1, fusion=False)).module
        for name, batch in batches.items():
            compare(smoke.within(name), bench.runner, batch, original)
    except Exception as error:
        traceback.print_exc()
        smoke.figures.add("failed", "what comes before the steps", value=error_line(error))
    step_profile.run(setting.within("profile"), bench, original)


def build(setting: Setting) -> EngineBench:
    """The engine as it is, or with what cannot be built taken away from it.

    Raises:
        RuntimeError: it cannot be built at all.
    """
    for options in _ENGINES:
        try:
            bench = _build(setting, options)
        except Exception as error:
            traceback.print_exc()
            name = ", ".join(f"{key}={value}" for key, value in options.items()) or "the engine as it is"
            setting.figures.add("failed", name, value=error_line(error))
        else:
            setting.figures.add("build_s", value=bench.build_s)
            setting.figures.add("attention", value=bench.ready.attention)
            setting.figures.add("num_graphs", value=bench.ready.num_graphs)
            return bench
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise RuntimeError("no engine can be built")


def _build(setting: Setting, options: dict[str, Any]) -> EngineBench:
    config = setting.engine_config(
        num_kv_tokens=setting.choose(_KV_TOKENS, _DRY_KV_TOKENS),
        max_num_seqs=setting.choose(128, 8),
        max_num_batched_tokens=setting.choose(512, 128),
        max_model_len=setting.choose(2048, 256),
        **options,
    )
    return EngineBench(setting, config)


def steps(setting: Setting, bench: EngineBench) -> dict[str, Batch]:
    """A decode step, and one with a chunk of a prompt beside the decodes. What lies before them is computed."""
    count, low, high = setting.choose((16, 30, 700), (3, 5, 40))
    before, num_tokens = setting.choose((200, 100), (20, 10))
    sequences = Sequences(bench.ready.num_blocks, bench.ready.block_size, bench.ready.vocab_size, "smoke")
    decoding = [sequences.new(low + (high - low) * index // (count - 1)) for index in range(count)]
    prompt = sequences.new(before + num_tokens)
    computed = [(request, len(request.token_ids) - 1) for request in decoding]
    for request, end in [*computed, (prompt, before)]:
        with unrecorded(bench.runner):  # what is recorded is on trial, and must not have written what is read
            bench.runner.launch(batch_of([chunk(request, 0, end)])).collect()
    decodes = [last_token(request) for request in decoding]
    return {
        f"decode, {count} sequences": batch_of(decodes),
        f"mixed, {count // 2} decodes and {num_tokens} tokens of a prompt": batch_of(
            [*decodes[: count // 2], chunk(prompt, before, before + num_tokens)]
        ),
    }


class Computed(NamedTuple):
    """Logits `[samples, vocabulary]` in float32, and the tokens drawn from them, where the step draws itself."""

    logits: torch.Tensor
    tokens: torch.Tensor | None = None


def compare(setting: Setting, runner: TorchRunner, batch: Batch, original: PreTrainedModel) -> None:
    """The step by transformers' own layers and attention, launched kernel by kernel, and replayed. Where one fails, the
    others are compared all the same. Errors are norms of differences, relative to the norm of what is on the right.
    """
    ways: dict[str, Callable[[TorchRunner, Batch], Computed]] = {
        "eager": lambda runner, batch: eager(original, batch),
        "launched": launched,
        "recorded": recorded,
    }
    found: dict[str, Computed] = {}
    for name, way in ways.items():
        try:
            found[name] = way(runner, batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        except SkippedError as error:
            setting.figures.add(name, value={"skipped": str(error)})
        except Exception as error:
            traceback.print_exc()
            setting.figures.add(name, value={"failed": error_line(error)})
    for one, other in (("recorded", "launched"), ("launched", "eager"), ("recorded", "eager")):
        if one in found and other in found:
            setting.figures.add(f"{one} / {other}", value=_difference(found[one].logits, found[other].logits))
    if (replayed := found.get("recorded")) is not None and replayed.tokens is not None:
        is_best = replayed.tokens == replayed.logits.argmax(dim=1)
        setting.figures.add("drawn tokens that are the most likely", value=is_best.float().mean().item())


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> dict[str, float]:
    return {
        "error": ((ours - theirs).norm() / theirs.norm()).item(),
        "same_argmax": (ours.argmax(dim=1) == theirs.argmax(dim=1)).float().mean().item(),
        "num_rows": float(len(ours)),
    }


@torch.inference_mode()
def eager(module: PreTrainedModel, batch: Batch) -> Computed:
    """By transformers, each sequence from its beginning."""
    module.set_attn_implementation("eager")
    rows = [
        module(
            input_ids=torch.tensor([one.request.token_ids[: one.end]], device=module.device),
            use_cache=False,
            logits_to_keep=1,
        ).logits[0, -1]
        for one in batch.chunks
        if one.samples
    ]
    return Computed(torch.stack(rows).float())


@torch.inference_mode()
def launched(runner: TorchRunner, batch: Batch) -> Computed:
    """By our engine, kernel by kernel."""
    with unrecorded(runner), runner._on_stream():
        inputs = runner._inputs(batch)
        assert isinstance(inputs, _StepInputs)
        logits = runner._logits(inputs.input_ids, inputs.position_ids, inputs.attention, inputs.sample_rows)
        return Computed(logits.to(torch.float32, copy=True))


@torch.inference_mode()
def recorded(runner: TorchRunner, batch: Batch) -> Computed:
    """By our engine, as the recorded step that it would replay.

    Raises:
        SkippedError: there is none for this batch.
    """
    with runner._on_stream():
        inputs = runner._inputs(batch)
        if isinstance(inputs, _StepInputs) or runner._graphs is None:
            raise SkippedError("such a step is not recorded here")
        logits, tokens = runner._graphs.replay(inputs)
        return Computed(logits.to(torch.float32, copy=True), tokens.clone())
