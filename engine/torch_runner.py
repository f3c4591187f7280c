"""A transformers model on a torch device, run one packed step at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .attention.base import ChunkLayout, StepAttention
from .attention.kv_cache import KVCache
from .attention.sdpa import SdpaBackend
from .block_copy import BlockCopy, LaunchedCopy
from .host_kv import HostKV
from .model_loader import LoadedModel
from .request import Batch, ScheduledChunk
from .runner import LaunchedStep, StepResult
from .sampler import SampledRows, Sampler
from .stopwatch import CudaStopwatches, HostStopwatches, Stopwatch
from .transfer import to_device

_UNKNOWN_TOKEN = -1
"""Stands for a token in flight until the device puts its value in. One left behind fails in the embedding, loudly."""


@dataclass(frozen=True, slots=True)
class _StepInputs:
    """All that the device needs for a step, so that the host's view may move on while it runs.

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

    def is_done(self) -> bool:
        return self.sampled.is_done()

    def collect(self) -> StepResult:
        """Wait for what was sampled."""
        token_ids, logprobs = self.sampled.to_host()
        return StepResult(token_ids, logprobs, *self.stopwatch.read())


class TorchRunner:
    """See `ModelRunner`. All chunks of a step are packed into one row of tokens, with no padding.

    `_last_tokens` `[slots]` holds the token each sequence sampled last. The next step reads it there, so it can be
    launched before the host has seen it.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache: KVCache,
        *,
        num_slots: int,
        num_host_blocks: int = 0,
        clock: Callable[[], float],
        seed: int = 0,
    ) -> None:
        self.is_synchronous = model.device.type != "cuda"
        self._model = model
        self._attention = SdpaBackend(cache)
        self._host_kv = HostKV(cache, num_host_blocks)
        self._sampler = Sampler(model.device, seed)
        self._stopwatches = HostStopwatches(clock) if self.is_synchronous else CudaStopwatches(clock)
        self._last_tokens = torch.full((num_slots,), _UNKNOWN_TOKEN, device=model.device)

    def launch(self, batch: Batch) -> LaunchedStep:
        """Run the model over the batch and sample. On CPU the work is done when this returns.

        On an accelerator nothing in here may wait for it, or the steps launched before would be waited for as well.
        """
        return self._run(self._inputs(batch))

    @torch.inference_mode()
    def copy(self, copy: BlockCopy) -> LaunchedCopy:
        """See `ModelRunner.copy`. On CPU it is made when this returns."""
        return self._host_kv.copy(copy)

    @torch.inference_mode()
    def _run(self, inputs: _StepInputs) -> _TorchStep:
        stopwatch = self._stopwatches.start()
        if inputs.relay_rows.numel():
            inputs.input_ids[0, inputs.relay_rows] = self._last_tokens[inputs.relay_slots]
        num_samples = len(inputs.sampling)
        output = self._model.module(
            input_ids=inputs.input_ids,
            position_ids=inputs.position_ids,
            use_cache=False,
            # A step that only advances prefills samples nothing; transformers still wants a row.
            logits_to_keep=inputs.sample_rows if num_samples else inputs.position_ids.new_zeros(1),
            step_attention=inputs.attention,
        )
        last_tokens = self._last_tokens[inputs.sample_slots]
        sampled = self._sampler.sample(output.logits[0, :num_samples], inputs.sampling, last_tokens)
        self._last_tokens[inputs.sample_slots] = sampled.device_ids
        stopwatch.stop()
        return _TorchStep(sampled, stopwatch)

    @torch.inference_mode()
    def _inputs(self, batch: Batch) -> _StepInputs:
        """The batch as tensors. From here on nothing of a step is read from its requests that may still change."""
        layouts: list[ChunkLayout] = []
        ids: list[int] = []
        positions: list[int] = []
        relay_rows: list[int] = []
        relay_slots: list[int] = []
        sampling: list[ScheduledChunk] = []
        sample_rows: list[int] = []
        for chunk in batch.chunks:
            request = chunk.request
            layouts.append(ChunkLayout(len(ids), chunk.num_tokens, chunk.start, request.block_ids))
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
            attention=self._attention.plan(layouts),
        )
