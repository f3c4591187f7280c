"""Checks that a model computes the same through our pages as on its own."""

from __future__ import annotations

from itertools import pairwise

import torch
from transformers import PreTrainedModel

from ..errors import UnsupportedModelError
from .base import ATTENTION_NAME, ChunkLayout
from .kv_cache import KVCache, KVShape
from .sdpa import SdpaBackend

_NUM_TOKENS = 24
_CUTS = (0, 10, 11, 24)
_BLOCK_SIZE = 4
_MOST_ERROR = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Of the logits, relative to their size: well above rounding, well below any real difference."""


def verify(module: PreTrainedModel, shape: KVShape, device: torch.device) -> torch.Tensor:
    """Run a sequence in three chunks, packed beside another one, and compare with the model's own attention.

    Finds what a configuration does not show: layers that keep state besides attention, or attend in both directions.
    It cannot find windows longer than the sequence.

    Returns:
        The logits, as `paged_logits` does.

    Raises:
        UnsupportedModelError: the logits differ by more than rounding.
    """
    ours, _ = _sequences(module)
    with torch.inference_mode():
        module.set_attn_implementation("eager")
        try:
            expected = module(input_ids=torch.tensor([ours], device=device), use_cache=False).logits[0]
        finally:
            module.set_attn_implementation(ATTENTION_NAME)
    logits = paged_logits(module, shape, device)
    difference = logits.float() - expected.float()
    error = (difference.norm() / expected.float().norm()).item()
    if not error <= _MOST_ERROR[module.dtype]:  # also when it is not a number
        raise UnsupportedModelError(
            f"{module.config.model_type} does not compute the same through paged attention as on its own (relative "
            f"error of the logits {error:.2g}): it keeps state besides attention, or does not attend causally"
        )
    return logits


def paged_logits(module: PreTrainedModel, shape: KVShape, device: torch.device) -> torch.Tensor:
    """Logits `[tokens, vocabulary]` of a sequence that is run in three chunks, packed beside another one."""
    ours, other = _sequences(module)
    cache = KVCache(shape, 12, _BLOCK_SIZE, dtype=module.dtype, device=device)
    backend = SdpaBackend(cache)
    chunks = []
    with torch.inference_mode():
        for start, end in pairwise(_CUTS):
            layouts = [
                ChunkLayout(0, end - start, start, range(6), 0),
                ChunkLayout(end - start, end - start, start, range(6, 12), 1),
            ]
            positions = [*range(start, end), *range(start, end)]
            output = module(
                input_ids=torch.tensor([ours[start:end] + other[start:end]], device=device),
                position_ids=torch.tensor([positions], device=device),
                use_cache=False,
                step_attention=backend.plan(layouts),
            )
            chunks.append(output.logits[0, : end - start])
    return torch.cat(chunks)


def _sequences(module: PreTrainedModel) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    sequences: list[list[int]] = torch.randint(
        0, int(module.config.vocab_size), (2, _NUM_TOKENS), generator=generator
    ).tolist()
    return sequences
