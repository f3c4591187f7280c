"""A transformers model on a torch device, run one packed step at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .attention.base import ChunkLayout
from .attention.kv_cache import KVCache
from .attention.sdpa import SdpaBackend
from .model_loader import LoadedModel
from .request import Batch
from .runner import StepResult
from .sampler import SampledRows, Sampler

_UNKNOWN_TOKEN = -1
"""Stands for a token in flight until the device puts its value in. One left behind fails in the embedding, loudly."""


@dataclass(frozen=True, slots=True)
class _TorchStep:
    """A launched step: what it sampled, still on the device."""

    sampled: SampledRows
    device_start_s: float
    device_end_s: float

    def collect(self) -> StepResult:
        """Copy the sampled ids to the host, waiting for the device."""
        token_ids, logprobs = self.sampled.to_host()
        return StepResult(token_ids, logprobs, self.device_start_s, self.device_end_s)


class TorchRunner:
    """See `ModelRunner`. All chunks of a step are packed into one row of tokens, with no padding.

    `_last_tokens` `[slots]` holds the token each sequence sampled last. The next step reads it there, so it can be
    launched before the host has seen it.
    """

    def __init__(
        self, model: LoadedModel, cache: KVCache, *, num_slots: int, clock: Callable[[], float], seed: int = 0
    ) -> None:
        self._model = model
        self._attention = SdpaBackend(cache)
        self._sampler = Sampler(model.device, seed)
        self._clock = clock
        self._last_tokens = torch.full((num_slots,), _UNKNOWN_TOKEN, device=model.device)

    @torch.inference_mode()
    def launch(self, batch: Batch) -> _TorchStep:
        """Run the model over the batch and sample. On CPU the work is done when this returns."""
        layouts: list[ChunkLayout] = []
        ids: list[int] = []
        positions: list[int] = []
        sample_rows: list[int] = []
        relayed: list[tuple[int, int]] = []
        for chunk in batch.chunks:
            request = chunk.request
            layouts.append(ChunkLayout(len(ids), chunk.num_tokens, chunk.start, request.block_ids))
            ids += request.token_ids[chunk.start : chunk.end]
            positions += range(chunk.start, chunk.end)
            if len(ids) < len(positions):
                relayed.append((len(ids), request.slot))
                ids.append(_UNKNOWN_TOKEN)
            if chunk.samples:
                sample_rows.append(len(ids) - 1)
        device = self._model.device
        input_ids = torch.tensor([ids], device=device)
        if relayed:
            rows, slots = torch.tensor(relayed, device=device).T
            input_ids[0, rows] = self._last_tokens[slots]
        plan = self._attention.plan(layouts)
        started_s = self._clock()
        output = self._model.module(
            input_ids=input_ids,
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            # A step that only advances prefills samples nothing; transformers still wants a row.
            logits_to_keep=torch.tensor(sample_rows or [0], device=device),
            step_attention=plan,
        )
        sampled = self._sample(batch, output.logits[0])
        return _TorchStep(sampled, started_s, self._clock())

    def _sample(self, batch: Batch, logits: torch.Tensor) -> SampledRows:
        """Sample the chunks that end their sequence, and leave the tokens where the next step finds them."""
        chunks = [chunk for chunk in batch.chunks if chunk.samples]
        slots = torch.tensor([chunk.request.slot for chunk in chunks], dtype=torch.long, device=logits.device)
        sampled = self._sampler.sample(logits[: len(chunks)], chunks, self._last_tokens[slots])
        self._last_tokens[slots] = sampled.token_ids
        return sampled
