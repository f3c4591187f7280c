"""Drawing tokens from logits in Triton: keep what top_k and top_p allow, then draw one.

Adding Gumbel noise to `logit / temperature` and taking the largest draws from the softmax (Gumbel-max). The noise of a
token depends on the row's seed and the token's id alone (Philox), so the same seed draws the same token from the same
logits, whatever else is in the batch and however the logits were made.

A token is kept by top_k while fewer than k tokens are more likely, and by top_p while those that are more likely have
less than p of the probability. Both are bounds on a logit, which a search by halves finds without sorting a vocabulary.
Tokens as likely as the last one that is kept are kept, too.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ..integers import ceil_div, next_power_of_two
from .drawing import DrawRows, Relay

_TILE = 4096
"""Logits that a program looks at when it draws."""

_SEARCH_TILE = 8192
"""Logits that a program looks at in one go when it searches; it looks at the whole row many times."""


@triton.jit
def _flip(bits):
    """From the bits of float32 numbers to integers in the same order (keys), and back."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _tile_keys(row, start, vocab_size, TILE: tl.constexpr):
    """Keys of one tile of a row, and which of them are tokens. A NaN is as unlikely as can be."""
    tokens = start + tl.arange(0, TILE)
    is_token = tokens < vocab_size
    values = tl.load(row + tokens, mask=is_token, other=float("-inf")).to(tl.float32)
    values = tl.where(values == values, values, float("-inf"))
    return values, _flip(values.to(tl.int32, bitcast=True)), is_token


@triton.jit
def _extremes(row, vocab_size, TILE: tl.constexpr):
    """The lowest and the highest key of a row."""
    low = tl.full([TILE], 0x7FFFFFFF, tl.int32)
    high = tl.full([TILE], -0x7FFFFFFF, tl.int32)
    for start in range(0, vocab_size, TILE):
        _, keys, is_token = _tile_keys(row, start, vocab_size, TILE)
        low = tl.where(is_token, tl.minimum(low, keys), low)
        high = tl.where(is_token, tl.maximum(high, keys), high)
    return tl.min(low, 0), tl.max(high, 0)


@triton.jit
def _mass(row, vocab_size, low, best, scale, TILE: tl.constexpr):
    """The weight of all tokens at or above a key: the most likely token weighs 1."""
    mass = tl.zeros([TILE], tl.float32)
    for start in range(0, vocab_size, TILE):
        values, keys, is_token = _tile_keys(row, start, vocab_size, TILE)
        mass += tl.where(is_token & (keys >= low), tl.exp2((values - best) * scale), 0.0)
    return tl.sum(mass, 0)


@triton.jit
def _lowest_kept(row, vocab_size, low, high, limit, best, scale, WEIGHS: tl.constexpr, TILE: tl.constexpr):
    """The lowest key between two of which all tokens above amount to less than `limit`: by weight, or by number.

    Each look at the row halves what is left, and closes up to the nearest tokens on both sides of the middle.
    """
    while low < high:
        middle = (low & high) + ((low ^ high) >> 1)  # their mean, rounded down, without an overflow
        above = tl.zeros([TILE], tl.float32)
        next_up = tl.full([TILE], 0x7FFFFFFF, tl.int32)
        next_down = tl.full([TILE], -0x7FFFFFFF, tl.int32)
        for start in range(0, vocab_size, TILE):
            values, keys, is_token = _tile_keys(row, start, vocab_size, TILE)
            is_above = is_token & (keys > middle)
            above += tl.where(is_above, tl.exp2((values - best) * scale) if WEIGHS else 1.0, 0.0)
            next_up = tl.where(is_above, tl.minimum(next_up, keys), next_up)
            next_down = tl.where(is_token & (keys <= middle), tl.maximum(next_down, keys), next_down)
        if tl.sum(above, 0) < limit:
            high = tl.maximum(low, tl.max(next_down, 0))
        else:
            low = tl.minimum(high, tl.min(next_up, 0))
    return low


@triton.jit(do_not_specialize_on_alignment=["temperatures", "top_ks", "top_ps"])
def _threshold_kernel(
    thresholds,  # [rows] float32: the lowest logit that may be drawn
    logits,  # [rows, vocabulary]
    temperatures,  # [rows] float32
    top_ks,  # [rows] int32; 0 keeps all
    top_ps,  # [rows] float32; 1 keeps all
    row_stride,
    vocab_size,
    TILE: tl.constexpr,
):
    """One program a row. Rows that keep everything, and greedy ones, cost next to nothing."""
    index = tl.program_id(0)
    temperature = tl.load(temperatures + index)
    top_k = tl.load(top_ks + index)
    top_p = tl.load(top_ps + index)
    has_top_k = (top_k > 0) & (top_k < vocab_size)
    threshold = float("-inf")
    if (temperature > 0.0) & (has_top_k | (top_p < 1.0)):
        row = logits + index.to(tl.int64) * row_stride
        low, high = _extremes(row, vocab_size, TILE)
        best = _flip(high).to(tl.float32, bitcast=True)
        if best > float("-inf"):
            scale = 1.4426950408889634 / temperature
            if has_top_k:
                low = _lowest_kept(row, vocab_size, low, high, top_k.to(tl.float32), best, scale, False, TILE)
            if top_p < 1.0:
                limit = top_p * _mass(row, vocab_size, low, best, scale, TILE)
                low = _lowest_kept(row, vocab_size, low, high, limit, best, scale, True, TILE)
            threshold = _flip(low).to(tl.float32, bitcast=True)
    tl.store(thresholds + index, threshold)


@triton.jit(do_not_specialize_on_alignment=["temperatures", "seeds"])
def _draw_kernel(
    best_values,  # [rows, tiles] float32
    best_tokens,  # [rows, tiles] int32
    logits,  # [rows, vocabulary]
    thresholds,  # [rows] float32
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
        is_kept = values >= tl.load(thresholds + row)
        uniform = tl.rand(tl.load(seeds + row), tokens)
        # Never 0 or 1, of which the logarithms below would make infinities.
        uniform = tl.minimum(tl.maximum(uniform, 1e-10), 0.99999994)
        values = tl.where(is_kept, values / temperature - tl.log(-tl.log(uniform)), float("-inf"))
    # Padding has no attention, so it may have no numbers. Of NaN the largest is anywhere, also behind the vocabulary.
    values = tl.where(values == values, values, float("-inf"))
    value, index = tl.max(values, 0, return_indices=True, return_indices_tie_break_left=True)
    tl.store(best_values + row * tl.num_programs(0) + tile, value)
    tl.store(best_tokens + row * tl.num_programs(0) + tile, tile * TILE + index)


@triton.jit(do_not_specialize_on_alignment=["slots", "turn"])
def _pick_kernel(
    chosen,  # [rows] int64, or [2, most rows] with RELAYS
    best_values,
    best_tokens,
    num_tiles,
    slots,  # [rows] int32
    last_tokens,  # [slots] int64
    turn,  # [1] int32
    turn_stride,
    TILES_PADDED: tl.constexpr,
    RELAYS: tl.constexpr,
):
    """The best of the tiles, to where the host and the next step find it. One program a row."""
    row = tl.program_id(0)
    tiles = tl.arange(0, TILES_PADDED)
    values = tl.load(best_values + row * num_tiles + tiles, mask=tiles < num_tiles, other=float("-inf"))
    _, index = tl.max(values, 0, return_indices=True, return_indices_tie_break_left=True)
    token = tl.load(best_tokens + row * num_tiles + index).to(tl.int64)
    if RELAYS:
        tl.store(last_tokens + tl.load(slots + row), token)
        chosen += tl.load(turn) * turn_stride
    tl.store(chosen + row, token)


def draw(logits: torch.Tensor, rows: DrawRows, relay: Relay | None = None) -> torch.Tensor:
    """One token a row.

    Args:
        logits: `[rows, vocabulary]` of any floating-point dtype, dense in the last dimension.
        rows: How each row draws.
        relay: Where the tokens go; None makes a tensor for them.

    Returns:
        `[rows]` int64, or `relay.drawn`.
    """
    num_rows, vocab_size = logits.shape
    num_tiles = ceil_div(vocab_size, _TILE)
    device = logits.device
    thresholds = torch.empty(num_rows, dtype=torch.float32, device=device)
    _threshold_kernel[(num_rows,)](
        thresholds,
        logits,
        rows.temperatures,
        rows.top_ks,
        rows.top_ps,
        logits.stride(0),
        vocab_size,
        TILE=_SEARCH_TILE,
        num_warps=16,
    )
    values = torch.empty((num_rows, num_tiles), dtype=torch.float32, device=device)
    tokens = torch.empty((num_rows, num_tiles), dtype=torch.int32, device=device)
    _draw_kernel[(num_tiles, num_rows)](
        values,
        tokens,
        logits,
        thresholds,
        rows.temperatures,
        rows.seeds,
        logits.stride(0),
        vocab_size,
        TILE=_TILE,
        num_warps=8,
    )
    chosen = torch.empty(num_rows, dtype=torch.int64, device=device) if relay is None else relay.drawn
    _pick_kernel[(num_rows,)](
        chosen,
        values,
        tokens,
        num_tiles,
        chosen if relay is None else relay.slots,
        chosen if relay is None else relay.last_tokens,
        chosen if relay is None else relay.turn,
        chosen.stride(0),
        TILES_PADDED=next_power_of_two(num_tiles),
        RELAYS=relay is not None,
    )
    return chosen
