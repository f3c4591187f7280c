"""Attention over paged KV, in Triton: storing a step's keys and values, and chunks of prompts (see `decode_kernel`).

All kernels take pages as `[blocks, block size, KV heads, head size]` with strides, so that a layer's view of the cache
is passed as it lies. A sequence's pages are found in a table row of its own (`slot`). Keys and values are read by
position, whatever the page size, in tiles of `TILE` positions. Softmax is kept online (Milakov and Gimelshein, 2018)
in base 2; queries that share a KV head are the rows of one product.

Triton compiles a kernel anew for pointers that are aligned and pointers that are not. Lists of a step lie behind each
other in one copy, so their alignment changes with every batch: it is kept out of it, or serving would stop to compile.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .early_launch import let_next_start, wait_for_inputs


@triton.jit(do_not_specialize_on_alignment=["places"])
def store_kernel(
    key,  # [T, KV heads, head size], any strides but a dense last dimension
    value,
    key_pages,
    value_pages,
    places,  # [T]: block * block size + offset, below 0 for rows that are padding
    key_row_stride,
    key_head_stride,
    value_row_stride,
    value_head_stride,
    page_stride,
    token_stride,
    head_stride,
    NUM_HEADS: tl.constexpr,
    HEADS_PADDED: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    PAGE: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Write each row's keys and values to where they belong. One program per row."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.load(places + row)
    wait_for_inputs(EARLY)
    let_next_start(EARLY)
    if place >= 0:
        heads = tl.arange(0, HEADS_PADDED)[:, None]
        sizes = tl.arange(0, HEAD_PADDED)[None, :]
        is_there = (heads < NUM_HEADS) & (sizes < HEAD_SIZE)
        target = (place // PAGE).to(tl.int64) * page_stride + (place % PAGE) * token_stride
        target += heads * head_stride + sizes
        source = row * key_row_stride + heads * key_head_stride + sizes
        tl.store(key_pages + target, tl.load(key + source, mask=is_there), mask=is_there)
        source = row * value_row_stride + heads * value_head_stride + sizes
        tl.store(value_pages + target, tl.load(value + source, mask=is_there), mask=is_there)


@triton.jit
def tile_scores(
    query,  # [M, HEAD_PADDED]
    key_pages,
    places,  # [TILE]: where each position's key begins
    is_there,  # [TILE]
    scaling,
    softcap,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Dot products of queries and one tile of keys, scaled, capped, and times log2(e)."""
    sizes = tl.arange(0, HEAD_PADDED)
    keys = tl.load(
        key_pages + places[None, :] + sizes[:, None],
        mask=is_there[None, :] & (sizes < HEAD_SIZE)[:, None],
        other=0.0,
    )
    scores = tl.dot(query, keys, input_precision=PRECISION) * scaling
    if HAS_SOFTCAP:
        # tanh(x) = 1 - 2 / (exp(2x) + 1), which does not overflow into a NaN at either end.
        scores = softcap * (1.0 - 2.0 / (tl.exp(2.0 * scores / softcap) + 1.0))
    return scores * 1.4426950408889634


@triton.jit
def fold_tile(
    scores,  # [M, TILE], minus infinity where a row may not look
    value_pages,
    places,
    is_there,
    best,  # [M]: the largest score so far
    total,  # [M]: the sum of weights so far, relative to it
    weighted,  # [M, HEAD_PADDED]: the weighted sum of values so far
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Take one tile of values into the running softmax."""
    sizes = tl.arange(0, HEAD_PADDED)
    new_best = tl.maximum(best, tl.max(scores, 1))
    # A row that has seen nothing yet has no maximum; 0 in its place keeps exp2(-inf - -inf) from being a NaN.
    anchor = tl.where(new_best == float("-inf"), 0.0, new_best)
    weights = tl.exp2(scores - anchor[:, None])
    shrink = tl.exp2(best - anchor)
    values = tl.load(
        value_pages + places[:, None] + sizes[None, :],
        mask=is_there[:, None] & (sizes < HEAD_SIZE)[None, :],
        other=0.0,
    )
    total = total * shrink + tl.sum(weights, 1)
    weighted = weighted * shrink[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
    return new_best, total, weighted


@triton.jit
def tile_pages(table_row, positions, end, PAGE: tl.constexpr):
    """The pages of a tile's positions.

    Both loops read them one tile ahead and carry them: keys and values must not wait for a load of the same iteration.
    If they did, Triton would spend its pipeline's stages on the page ids, and one copy of keys and values would be
    under way at a time, and waited for at once.
    """
    return tl.load(table_row + positions // PAGE, mask=positions < end, other=0)


@triton.jit
def tile_places(pages, positions, page_stride, token_stride, PAGE: tl.constexpr):
    """Where the keys or values of positions begin, counted in elements from the first page."""
    return pages.to(tl.int64) * page_stride + (positions % PAGE) * token_stride


@triton.jit(do_not_specialize_on_alignment=["first_rows", "first_positions", "num_tokens", "slots"])
def prefill_kernel(
    output,  # [T, query heads, head size]
    query,  # [T, query heads, head size]
    key_pages,
    value_pages,
    table,  # [slots, pages]
    first_rows,  # [tiles]: the row of each query tile's first token in the packed step
    first_positions,  # [tiles]: its position in its sequence
    num_tokens,  # [tiles]: tokens in the tile, at most TOKENS
    slots,  # [tiles]
    scaling,
    softcap,
    window,
    query_row_stride,
    query_head_stride,
    output_row_stride,
    output_head_stride,
    page_stride,
    token_stride,
    head_stride,
    table_stride,
    TOKENS: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_PADDED: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    PAGE: tl.constexpr,
    TILE: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    PRECISION: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Consecutive tokens of sequences of any lengths: `TOKENS` of one sequence a program, with all heads of a group.

    Grid (KV heads, tiles). The tiles are listed by the host, which planned the chunks and so knows their lengths.
    """
    kv_head = tl.program_id(0)
    tile = tl.program_id(1)
    wait_for_inputs(EARLY)
    count = tl.load(num_tokens + tile)
    first_row = tl.load(first_rows + tile).to(tl.int64)
    first_position = tl.load(first_positions + tile)
    table_row = table + tl.load(slots + tile).to(tl.int64) * table_stride

    lines = tl.arange(0, TOKENS * GROUP_PADDED)
    tokens = lines // GROUP_PADDED
    members = lines % GROUP_PADDED
    heads = kv_head * GROUP + members
    sizes = tl.arange(0, HEAD_PADDED)
    is_query = ((tokens < count) & (members < GROUP))[:, None] & (sizes < HEAD_SIZE)[None, :]
    rows = first_row + tokens
    queries = tl.load(
        query + rows[:, None] * query_row_stride + heads[:, None] * query_head_stride + sizes[None, :],
        mask=is_query,
        other=0.0,
    )
    query_positions = first_position + tokens
    begin = 0
    if HAS_WINDOW:
        begin = tl.maximum(first_position - window + 1, 0) // TILE * TILE
    end = first_position + count
    best = tl.full([TOKENS * GROUP_PADDED], float("-inf"), tl.float32)
    total = tl.zeros([TOKENS * GROUP_PADDED], tl.float32)
    weighted = tl.zeros([TOKENS * GROUP_PADDED, HEAD_PADDED], tl.float32)
    pages = tile_pages(table_row, begin + tl.arange(0, TILE), end, PAGE)
    for start in range(begin, end, TILE):
        positions = start + tl.arange(0, TILE)
        is_there = positions < end
        places = tile_places(pages, positions, page_stride, token_stride, PAGE) + kv_head * head_stride
        pages = tile_pages(table_row, positions + TILE, end, PAGE)
        scores = tile_scores(
            queries, key_pages, places, is_there, scaling, softcap, HEAD_SIZE, HEAD_PADDED, HAS_SOFTCAP, PRECISION
        )
        is_visible = is_there[None, :] & (positions[None, :] <= query_positions[:, None])
        if HAS_WINDOW:
            is_visible &= positions[None, :] > query_positions[:, None] - window
        scores = tl.where(is_visible, scores, float("-inf"))
        best, total, weighted = fold_tile(
            scores, value_pages, places, is_there, best, total, weighted, HEAD_SIZE, HEAD_PADDED, PRECISION
        )
    result = weighted / tl.where(total > 0.0, total, 1.0)[:, None]
    target = output + rows[:, None] * output_row_stride + heads[:, None] * output_head_stride + sizes[None, :]
    tl.store(target, result.to(output.dtype.element_ty), mask=is_query)
