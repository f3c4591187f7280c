"""A transformers model on a torch device, run one packed step at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .attention.base import ChunkLayout
from .attention.kv_cache import KVCache
from .attention.sdpa import SdpaBackend
from .model_loader import LoadedModel
from .request import Batch
from .runner import StepResult, TokenLogprobs
from .sampler import Sampler


@dataclass(frozen=True, slots=True)
class _TorchStep:
    """A launched step: the sampled ids, still on the device."""

    token_ids: torch.Tensor
    logprobs: list[TokenLogprobs | None]

    def collect(self) -> StepResult:
        """Copy the sampled ids to the host, waiting for the device."""
        return StepResult(self.token_ids.tolist(), self.logprobs)


class TorchRunner:
    """See `ModelRunner`. All chunks of a step are packed into one row of tokens, with no padding."""

    def __init__(self, model: LoadedModel, cache: KVCache, *, seed: int = 0) -> None:
        self._model = model
        self._attention = SdpaBackend(cache)
        self._sampler = Sampler(model.device, seed)
        self._nothing_sampled = torch.empty(0, dtype=torch.long)

    @torch.inference_mode()
    def launch(self, batch: Batch) -> _TorchStep:
        """Run the model over the batch and sample. On CPU the work is done when this returns."""
        layouts: list[ChunkLayout] = []
        ids: list[int] = []
        positions: list[int] = []
        sample_rows: list[int] = []
        for chunk in batch.chunks:
            request = chunk.request
            layouts.append(ChunkLayout(len(ids), chunk.num_tokens, chunk.start, request.block_ids))
            ids += request.token_ids[chunk.start : chunk.end]
            positions += range(chunk.start, chunk.end)
            if chunk.samples:
                sample_rows.append(len(ids) - 1)
        device = self._model.device
        output = self._model.module(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            # A step that only advances prefills samples nothing; transformers still wants a row.
            logits_to_keep=torch.tensor(sample_rows or [0], device=device),
            step_attention=self._attention.plan(layouts),
        )
        if not sample_rows:
            return _TorchStep(self._nothing_sampled, [])
        requests = [chunk.request for chunk in batch.chunks if chunk.samples]
        return _TorchStep(*self._sampler.sample(output.logits[0], requests))
