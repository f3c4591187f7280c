"""Drawing tokens from logits in one pass over them, in Triton.

Adding Gumbel noise to `logit / temperature` and taking the largest draws from the softmax (Gumbel-max). The noise of a
token depends on the row's seed and the token's id alone (Philox), so the same seed draws the same token from the same
logits, whatever else is in the batch and however the logits were made.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

_TILE = 4096
"""Logits a program looks at."""


@triton.jit(do_not_specialize_on_alignment=["temperatures", "seeds"])
def _draw_kernel(
    best_values,  # [rows, tiles] float32
    best_tokens,  # [rows, tiles] int32
    logits,  # [rows, vocabulary]
    temperatures,  # [rows] float32; 0 takes the most likely
    seeds,  # [rows] int64
    row_stride,
    vocab_size,
    TILE: tl.constexpr,
):
    """The best token of each tile. Grid (tiles, rows)."""
    tile = tl.program_id(0)
    row = tl.program_id(1)
    tokens = tile * TILE + tl.arange(0, TILE)
    is_token = tokens < vocab_size
    values = tl.load(logits + row.to(tl.int64) * row_stride + tokens, mask=is_token, other=float("-inf"))
    values = values.to(tl.float32)
    temperature = tl.load(temperatures + row)
    if temperature > 0.0:
        uniform = tl.rand(tl.load(seeds + row), tokens)
        # Never 0 or 1, of which the logarithms below would make infinities.
        uniform = tl.minimum(tl.maximum(uniform, 1e-10), 0.99999994)
        values = values / temperature - tl.log(-tl.log(uniform))
    # Padding has no attention, so it may have no numbers. Of NaN the largest is anywhere, also behind the vocabulary.
    values = tl.where(values == values, values, float("-inf"))
    value, index = tl.max(values, 0, return_indices=True, return_indices_tie_break_left=True)
    tl.store(best_values + row * tl.num_programs(0) + tile, value)
    tl.store(best_tokens + row * tl.num_programs(0) + tile, tile * TILE + index)


@triton.jit
def _pick_kernel(
    chosen,  # [rows] int64
    best_values,
    best_tokens,
    num_tiles,
    TILES_PADDED: tl.constexpr,
):
    """The best of the tiles. One program a row."""
    row = tl.program_id(0)
    tiles = tl.arange(0, TILES_PADDED)
    values = tl.load(best_values + row * num_tiles + tiles, mask=tiles < num_tiles, other=float("-inf"))
    _, index = tl.max(values, 0, return_indices=True, return_indices_tie_break_left=True)
    tl.store(chosen + row, tl.load(best_tokens + row * num_tiles + index).to(tl.int64))


def draw(logits: torch.Tensor, temperatures: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """One token a row.

    Args:
        logits: `[rows, vocabulary]` of any floating-point dtype, dense in the last dimension.
        temperatures: `[rows]` float32; 0 takes the most likely token, the first of several.
        seeds: `[rows]` int64.

    Returns:
        `[rows]` int64.
    """
    num_rows, vocab_size = logits.shape
    num_tiles = triton.cdiv(vocab_size, _TILE)
    values = torch.empty((num_rows, num_tiles), dtype=torch.float32, device=logits.device)
    tokens = torch.empty((num_rows, num_tiles), dtype=torch.int32, device=logits.device)
    chosen = torch.empty(num_rows, dtype=torch.int64, device=logits.device)
    _draw_kernel[(num_tiles, num_rows)](
        values, tokens, logits, temperatures, seeds, logits.stride(0), vocab_size, TILE=_TILE, num_warps=8
    )
    _pick_kernel[(num_rows,)](chosen, values, tokens, num_tiles, TILES_PADDED=triton.next_power_of_2(num_tiles))
    return chosen
