"""A transformers model on a torch device, run one packed step at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ..attention.base import AttentionBackend, ChunkLayout, StepAttention
from ..attention.paged_native import NativeBackend
from ..attention.paged_triton import TritonBackend
from ..attention.transfer import HostCopy, to_device
from ..errors import ConfigurationError
from ..kv.block_copy import BlockCopy, LaunchedCopy
from ..models.loader import LoadedModel
from ..request import Batch, ScheduledChunk
from ..runner import LaunchedStep, StepResult
from .host_kv import HostKV
from .native_draw import NativeDraw
from .recorded_steps import Record, RecordedSteps, WrittenStep
from .sampler import Draw, SampledRows, Sampler, needs_sampler
from .step_shapes import StepShape
from .stopwatch import CudaStopwatches, HostStopwatches, Stopwatch

_UNKNOWN_TOKEN = -1
"""Stands for a token in flight until the device puts its value in. One left behind fails in the embedding, loudly."""


@dataclass(frozen=True, slots=True)
class _StepInputs:
    """Everything the device needs for a step, so that the host can move on while it runs.

    Attributes:
        input_ids: `[1, T]`, with `_UNKNOWN_TOKEN` where a token is in flight.
        position_ids: `[1, T]`.
        relay_rows: `[relayed]`: the rows of tokens in flight.
        relay_slots: `[relayed]`: where the step before left them.
        sampling: The chunks that sample, in order.
        sample_rows: `[samples]`: their last rows.
        sample_slots: `[samples]`: where their tokens go.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    relay_rows: torch.Tensor
    relay_slots: torch.Tensor
    sampling: list[ScheduledChunk]
    sample_rows: torch.Tensor
    sample_slots: torch.Tensor
    attention: StepAttention


@dataclass(frozen=True, slots=True)
class _TorchStep:
    """A launched step: what it sampled, on its way to the host."""

    sampled: SampledRows
    stopwatch: Stopwatch
    is_recorded: bool

    def is_done(self) -> bool:
        return self.sampled.is_done()

    def collect(self) -> StepResult:
        """Wait for what was sampled.

        Raises:
            RuntimeError: a placeholder of a token in flight came out in place of a token.
        """
        token_ids, logprobs = self.sampled.to_host()
        if token_ids and min(token_ids) < 0:
            raise RuntimeError(f"step sampled {min(token_ids)}, the placeholder of a token that was never filled in")
        return StepResult(token_ids, logprobs, *self.stopwatch.read())


class TorchRunner:
    """See `ModelRunner`. All chunks of a step are packed into one row of tokens, with no padding.

    `_last_tokens` `[slots + 1]` holds the token each sequence sampled last. The next step reads it there, so it can be
    launched before the host has seen it. The last row belongs to no sequence.

    On CUDA, steps run on a stream of their own, what they sampled is copied to the host on another, and KV blocks on
    two more (`HostKV`). Once every shape is recorded (`record`), steps that fit into one are replayed as CUDA graphs.

    Args:
        model: What to run.
        attention: How it attends, over the cache it was made for.
        num_slots: Sequences that may have state here at once.
        num_host_blocks: KV blocks of the host tier.
        clock: The engine's clock.
        seed: Of sampling without one.
        record: How steps are recorded; None does not record them. Needs `TritonBackend`.
        max_num_seqs: Most sequences of a recorded step.
        max_num_batched_tokens: Most tokens of a recorded step.
        poison: Debugging: fill what a step must not read with values that would show.
    """

    def __init__(
        self,
        model: LoadedModel,
        attention: AttentionBackend,
        *,
        num_slots: int,
        num_host_blocks: int = 0,
        clock: Callable[[], float],
        seed: int = 0,
        record: Record | None = None,
        max_num_seqs: int = 0,
        max_num_batched_tokens: int = 0,
        poison: bool = False,
    ) -> None:
        is_cuda = model.device.type == "cuda"
        self.is_synchronous = not is_cuda
        self._model = model
        self.attention = attention
        self._stream = torch.cuda.Stream(model.device) if is_cuda else None
        to_host = torch.cuda.Stream(model.device) if is_cuda else None
        self._host_kv = HostKV(attention.cache, num_host_blocks)
        self._sampler = Sampler(model.device, seed, num_slots=num_slots, draw=_kernel_of(attention), to_host=to_host)
        self._last_tokens = torch.full((num_slots + 1,), _UNKNOWN_TOKEN, device=model.device)
        self._last_tokens[-1] = 0  # padding goes through the embedding as well
        self._graphs: RecordedSteps | None = None
        self._reading: list[HostCopy | None] = [None, None]
        """Of what replayed steps drew, which the next one but one writes over."""
        if record is not None and isinstance(attention, TritonBackend):
            self._graphs = RecordedSteps(
                self._logits,
                attention,
                self._last_tokens,
                max_num_seqs=max_num_seqs,
                max_num_batched_tokens=max_num_batched_tokens,
                record=record,
                poison=poison,
            )
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream())
        with self._on_stream():
            self._stopwatches = HostStopwatches(clock) if self.is_synchronous else CudaStopwatches(clock)

    @property
    def model_config(self) -> dict[str, Any]:
        """What transformers knows of the model's shape, as in its config.json."""
        config: dict[str, Any] = self._model.module.config.to_dict()
        return config

    @property
    def shapes(self) -> list[StepShape]:
        """Steps that are to be recorded, largest first; empty if none are."""
        return [] if self._graphs is None else self._graphs.shapes

    @torch.inference_mode()
    def record(self, shape: StepShape) -> None:
        """Record a step, the largest first. Nothing else may run meanwhile.

        Raises:
            ConfigurationError: the model does something that cannot be recorded, such as looking at values on the host.
        """
        assert self._graphs is not None
        try:
            with self._on_stream():
                self._graphs.record(shape)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            detail = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigurationError(
                f"this model's steps cannot be recorded as CUDA graphs ({detail}); give --no-cuda-graphs"
            ) from error

    @torch.inference_mode()
    def launch(self, batch: Batch) -> LaunchedStep:
        """Run the model over the batch and sample. On CPU the work is done when this returns.

        On an accelerator nothing in here may wait for it, or the steps launched before would be waited for as well.
        """
        with self._on_stream():
            return self._run(self._inputs(batch))

    @torch.inference_mode()
    def copy(self, copy: BlockCopy) -> LaunchedCopy:
        """See `ModelRunner.copy`. On CPU it is made when this returns."""
        with self._on_stream():
            return self._host_kv.copy(copy)

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    @torch.inference_mode()
    def _run(self, inputs: _StepInputs | WrittenStep) -> _TorchStep:
        stopwatch = self._stopwatches.start()
        is_recorded = isinstance(inputs, WrittenStep)
        if isinstance(inputs, WrittenStep):
            sampled = self._replay(inputs, stopwatch)
        else:
            sampled = self._forward(inputs)
        stopwatch.stop()
        return _TorchStep(sampled, stopwatch, is_recorded)

    def _forward(self, inputs: _StepInputs) -> SampledRows:
        """A step of any chunks."""
        if inputs.relay_rows.numel():
            inputs.input_ids[0, inputs.relay_rows] = self._last_tokens[inputs.relay_slots]
        num_samples = len(inputs.sampling)
        # A step that only advances prefills samples nothing; transformers still wants a row.
        rows = inputs.sample_rows if num_samples else inputs.position_ids.new_zeros(1)
        logits = self._logits(inputs.input_ids, inputs.position_ids, inputs.attention, rows)
        last_tokens = self._last_tokens[inputs.sample_slots]
        sampled = self._sampler.sample(logits[:num_samples], inputs.sampling, last_tokens)
        self._last_tokens[inputs.sample_slots] = sampled.device_ids
        return sampled

    def _replay(self, written: WrittenStep, stopwatch: Stopwatch) -> SampledRows:
        """A recorded step. What its draw does not know is sampled behind it, from its logits."""
        assert self._graphs is not None
        reading = self._reading[written.buffer]
        if reading is not None:
            reading.hold_back_what_follows()  # two steps ago: long over
        self._reading[written.buffer] = None
        if not any(needs_sampler(chunk) for chunk in written.sampling):
            _, tokens = self._graphs.replay(written, stopwatch.restart)
            sampled = self._sampler.sampled(tokens, self._graphs.on_host(written))
            self._reading[written.buffer] = sampled.host_ids
            return sampled
        slots = to_device([chunk.request.slot for chunk in written.sampling], self._model.device, torch.long)
        last_tokens = self._last_tokens[slots]  # before the step puts its own there
        logits, _ = self._graphs.replay(written, stopwatch.restart)
        sampled = self._sampler.sample(logits, written.sampling, last_tokens)
        self._last_tokens[slots] = sampled.device_ids
        return sampled

    def _logits(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        attention: StepAttention,
        rows: torch.Tensor | int,
    ) -> torch.Tensor:
        """Logits `[rows, vocabulary]` of some rows of a packed step; 0: of all."""
        output = self._model.module(
            input_ids=input_ids,
            position_ids=position_ids,
            use_cache=False,
            logits_to_keep=rows,
            step_attention=attention,
        )
        logits: torch.Tensor = output.logits[0]
        return logits

    @torch.inference_mode()
    def _inputs(self, batch: Batch) -> _StepInputs | WrittenStep:
        """The batch as tensors. From here on nothing of a step is read from its requests that may still change."""
        if self._graphs is not None and self._graphs.is_recorded:
            written = self._graphs.write(batch, self._sampler.seeds)
            if written is not None:
                return written
        layouts: list[ChunkLayout] = []
        ids: list[int] = []
        positions: list[int] = []
        relay_rows: list[int] = []
        relay_slots: list[int] = []
        sampling: list[ScheduledChunk] = []
        sample_rows: list[int] = []
        for chunk in batch.chunks:
            request = chunk.request
            layouts.append(ChunkLayout(len(ids), chunk.num_tokens, chunk.start, request.block_ids, request.slot))
            ids += request.token_ids[chunk.start : chunk.end]
            positions += range(chunk.start, chunk.end)
            if len(ids) < len(positions):
                relay_rows.append(len(ids))
                relay_slots.append(request.slot)
                ids.append(_UNKNOWN_TOKEN)
            if chunk.samples:
                sampling.append(chunk)
                sample_rows.append(len(ids) - 1)

        def tensor(values: list[int]) -> torch.Tensor:
            return to_device(values, self._model.device, torch.long)

        return _StepInputs(
            input_ids=tensor(ids).unsqueeze(0),
            position_ids=tensor(positions).unsqueeze(0),
            relay_rows=tensor(relay_rows),
            relay_slots=tensor(relay_slots),
            sampling=sampling,
            sample_rows=tensor(sample_rows),
            sample_slots=tensor([chunk.request.slot for chunk in sampling]),
            attention=self.attention.plan(layouts),
        )


def _kernel_of(attention: AttentionBackend) -> Draw | None:
    """What draws tokens where attention has kernels; None: torch."""
    if isinstance(attention, TritonBackend):
        from .draw_kernel import draw  # Triton: only where it is used

        return draw
    return NativeDraw(attention.num_threads) if isinstance(attention, NativeBackend) else None
