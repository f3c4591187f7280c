"""What comes before attention, in one Triton kernel: norms of heads, rotary embedding, storing keys and values."""

from __future__ import annotations

import triton
import triton.language as tl

from .early_launch import let_next_start, wait_for_inputs


@triton.jit
def _normed(numbers, scale, query_weight, key_weight, is_key, HAS_QUERY_NORM: tl.constexpr, HAS_KEY_NORM: tl.constexpr):
    """Numbers `[members, sizes]` times what makes their mean square 1, rounded to the dtype of the weight, times it."""
    normed = numbers * scale[:, None]
    queries, keys = numbers, numbers
    if HAS_QUERY_NORM:
        queries = normed.to(query_weight.dtype).to(tl.float32) * query_weight.to(tl.float32)[None, :]
    if HAS_KEY_NORM:
        keys = normed.to(key_weight.dtype).to(tl.float32) * key_weight.to(tl.float32)[None, :]
    return tl.where(is_key[:, None], keys, queries)


@triton.jit
def _store(numbers, targets, key_targets, is_query, is_key, is_there):
    """Queries to where attention reads them, the key to its page."""
    numbers = numbers.to(targets.dtype.element_ty)
    tl.store(targets, numbers, mask=is_query[:, None] & is_there[None, :])
    tl.store(key_targets, numbers, mask=is_key[:, None] & is_there[None, :])


@triton.jit(do_not_specialize_on_alignment=["places"])
def rotate_kernel(
    queries,  # [T, query heads, HEAD_SIZE], written
    packed,  # [T, (query heads + 2 * KV heads) * HEAD_SIZE]
    key_pages,  # [blocks, PAGE, KV heads, HEAD_SIZE]
    value_pages,
    places,  # [T]: block * PAGE + offset, below 0 for rows that are padding
    cos,  # [T, 2 * HALF]
    sin,
    query_norm,  # [HEAD_SIZE]
    key_norm,
    epsilon,
    cos_row_stride,
    sin_row_stride,
    page_stride,
    token_stride,
    head_stride,
    GROUP: tl.constexpr,
    MEMBERS: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    HALF: tl.constexpr,
    HALF_PADDED: tl.constexpr,
    REST_PADDED: tl.constexpr,
    PAGE: tl.constexpr,
    HAS_QUERY_NORM: tl.constexpr,
    HAS_KEY_NORM: tl.constexpr,
    EARLY: tl.constexpr,
):
    """A KV head of a row, and the query heads that share it. Grid (KV heads, rows).

    The queries and the key are the `MEMBERS` rows of one matrix, padding among them: the key comes behind the queries.
    Of each, the first `2 * HALF` numbers are turned in pairs (i, i + HALF), and the rest stays.
    """
    kv_head = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    num_kv_heads = tl.num_programs(0)
    place = tl.load(places + row)
    members = tl.arange(0, MEMBERS)
    is_query = members < GROUP
    is_key = members == GROUP
    is_member = members <= GROUP
    heads = tl.where(is_key, num_kv_heads * GROUP + kv_head, kv_head * GROUP + members)
    packed_row = packed + row * num_kv_heads * (GROUP + 2) * HEAD_SIZE
    sources = packed_row + heads[:, None] * HEAD_SIZE
    targets = queries + (row * num_kv_heads * GROUP + kv_head * GROUP + members)[:, None] * HEAD_SIZE
    page = (place // PAGE).to(tl.int64) * page_stride + (place % PAGE) * token_stride + kv_head * head_stride
    key_targets = key_pages + page + tl.zeros([MEMBERS, 1], tl.int64)
    halves = tl.arange(0, HALF_PADDED)
    is_half = halves < HALF
    is_pair = is_member[:, None] & is_half[None, :]
    first_query_weight = tl.load(query_norm + halves, mask=is_half & HAS_QUERY_NORM, other=0.0)
    second_query_weight = tl.load(query_norm + HALF + halves, mask=is_half & HAS_QUERY_NORM, other=0.0)
    first_key_weight = tl.load(key_norm + halves, mask=is_half & HAS_KEY_NORM, other=0.0)
    second_key_weight = tl.load(key_norm + HALF + halves, mask=is_half & HAS_KEY_NORM, other=0.0)
    wait_for_inputs(EARLY)
    let_next_start(EARLY)
    if place >= 0:
        first = tl.load(sources + halves[None, :], mask=is_pair, other=0.0).to(tl.float32)
        second = tl.load(sources + HALF + halves[None, :], mask=is_pair, other=0.0).to(tl.float32)
        squares = tl.sum(first * first, 1) + tl.sum(second * second, 1)
        scale = squares
        rests = 2 * HALF + tl.arange(0, REST_PADDED)
        is_rest = rests < HEAD_SIZE
        if 2 * HALF < HEAD_SIZE:
            rest = tl.load(sources + rests[None, :], mask=is_member[:, None] & is_rest[None, :], other=0.0)
            rest = rest.to(tl.float32)
            squares += tl.sum(rest * rest, 1)
        if HAS_QUERY_NORM or HAS_KEY_NORM:
            scale = tl.rsqrt(squares / HEAD_SIZE + epsilon)
            first = _normed(first, scale, first_query_weight, first_key_weight, is_key, HAS_QUERY_NORM, HAS_KEY_NORM)
            second = _normed(
                second, scale, second_query_weight, second_key_weight, is_key, HAS_QUERY_NORM, HAS_KEY_NORM
            )
        first_cos = tl.load(cos + row * cos_row_stride + halves, mask=is_half, other=0.0).to(tl.float32)[None, :]
        second_cos = tl.load(cos + row * cos_row_stride + HALF + halves, mask=is_half, other=0.0).to(tl.float32)[
            None, :
        ]
        first_sin = tl.load(sin + row * sin_row_stride + halves, mask=is_half, other=0.0).to(tl.float32)[None, :]
        second_sin = tl.load(sin + row * sin_row_stride + HALF + halves, mask=is_half, other=0.0).to(tl.float32)[
            None, :
        ]
        turned = first * first_cos - second * first_sin
        _store(turned, targets + halves[None, :], key_targets + halves[None, :], is_query, is_key, is_half)
        turned = second * second_cos + first * second_sin
        others = HALF + halves[None, :]
        _store(turned, targets + others, key_targets + others, is_query, is_key, is_half)
        if 2 * HALF < HEAD_SIZE:
            if HAS_QUERY_NORM or HAS_KEY_NORM:
                query_weight = tl.load(query_norm + rests, mask=is_rest & HAS_QUERY_NORM, other=0.0)
                key_weight = tl.load(key_norm + rests, mask=is_rest & HAS_KEY_NORM, other=0.0)
                rest = _normed(rest, scale, query_weight, key_weight, is_key, HAS_QUERY_NORM, HAS_KEY_NORM)
            _store(rest, targets + rests[None, :], key_targets + rests[None, :], is_query, is_key, is_rest)
        sizes = tl.arange(0, HEAD_PADDED)
        source = packed_row + (num_kv_heads * (GROUP + 1) + kv_head) * HEAD_SIZE + sizes
        tl.store(value_pages + page + sizes, tl.load(source, mask=sizes < HEAD_SIZE), mask=sizes < HEAD_SIZE)
