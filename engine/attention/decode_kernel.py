"""Decoding over paged KV, in Triton: one query token a sequence. Its parts are those of `kernels`."""

from __future__ import annotations

import triton
import triton.language as tl

from .early_launch import wait_for_inputs
from .kernels import fold_tile, tile_pages, tile_places, tile_scores


@triton.jit
def _merge(
    output,  # [query heads of the row, HEAD_SIZE]
    partial,  # of the sequence's first part
    partial_log_sum,
    first_head,
    num_heads,
    count,
    output_head_stride,
    GROUP: tl.constexpr,
    MEMBERS: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Put the parts of a group of heads together: `PARTS` at a time, in their order, whoever does it."""
    members = tl.arange(0, MEMBERS)
    sizes = tl.arange(0, HEAD_PADDED)
    is_head = members < GROUP
    best = tl.full([MEMBERS], float("-inf"), tl.float32)
    total = tl.zeros([MEMBERS], tl.float32)
    weighted = tl.zeros([MEMBERS, HEAD_PADDED], tl.float32)
    for start in range(0, count, PARTS):
        parts = start + tl.arange(0, PARTS)
        places = parts[None, :].to(tl.int64) * num_heads + (first_head + members)[:, None]
        is_part = is_head[:, None] & (parts < count)[None, :]
        # Past the first cache, which other multiprocessors do not write to.
        log_sums = tl.load(partial_log_sum + places, mask=is_part, other=float("-inf"), cache_modifier=".cg")
        # What a part without keys would have written is whatever was there before: it is weighted with 0, not read.
        results = tl.load(
            partial + places[:, :, None] * HEAD_PADDED + sizes[None, None, :],
            mask=(log_sums > float("-inf"))[:, :, None],
            other=0.0,
            cache_modifier=".cg",
        )
        new_best = tl.maximum(best, tl.max(log_sums, 1))
        anchor = tl.where(new_best == float("-inf"), 0.0, new_best)
        weights = tl.exp2(log_sums - anchor[:, None])
        shrink = tl.exp2(best - anchor)
        total = total * shrink + tl.sum(weights, 1)
        weighted = weighted * shrink[:, None] + tl.sum(results * weights[:, :, None], 1)
        best = new_best
    result = weighted / tl.where(total > 0.0, total, 1.0)[:, None]
    target = output + (first_head + members)[:, None] * output_head_stride + sizes[None, :]
    tl.store(target, result.to(output.dtype.element_ty), mask=is_head[:, None] & (sizes < HEAD_SIZE)[None, :])


@triton.jit(
    do_not_specialize_on_alignment=["rows", "slots", "lengths", "part_sequences", "part_numbers", "part_counts"]
)
def decode_kernel(
    output,  # [T, query heads, head size]
    partial,  # [parts, query heads, HEAD_PADDED] float32
    partial_log_sum,  # [parts, query heads] float32, base 2; minus infinity for a part without keys
    arrived,  # [sequences, KV heads] int32, all 0: how many parts are done
    query,  # [T, query heads, head size]
    key_pages,
    value_pages,
    table,  # [slots, pages]
    rows,  # [sequences]: each one's row in the packed step
    slots,  # [sequences]: its row of the table
    lengths,  # [sequences]: its keys, the one of this step among them
    part_sequences,  # [parts]: see `DecodeParts`
    part_numbers,
    part_counts,
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
    GROUP: tl.constexpr,
    GROUP_PADDED: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    PAGE: tl.constexpr,
    TILE: tl.constexpr,
    MEMBERS: tl.constexpr,
    MERGED_PARTS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    PRECISION: tl.constexpr,
    EARLY: tl.constexpr,
):
    """One query token a sequence, its keys shared out over as many programs as it has parts ("flash decoding").

    Grid (KV heads, parts): programs that run together read neighbouring memory. The grid does not depend on any length,
    so it can be captured; what a program does follows from the part that it finds on the device. The last program of a
    sequence and a KV head puts their parts together, and leaves the count of them as it was found.
    """
    kv_head = tl.program_id(0)
    part = tl.program_id(1).to(tl.int64)
    sequence = tl.load(part_sequences + part).to(tl.int64)
    if sequence < 0:
        wait_for_inputs(EARLY)
        return
    number = tl.load(part_numbers + part)
    count = tl.load(part_counts + part)
    length = tl.load(lengths + sequence)
    row = tl.load(rows + sequence).to(tl.int64)
    first = 0
    first_tile = 0
    if HAS_WINDOW:
        first = tl.maximum(length - window, 0)
        first_tile = first // TILE
    tiles_a_part = tl.cdiv(tl.cdiv(length, TILE) - first_tile, count)
    begin = (first_tile + number * tiles_a_part) * TILE
    end = tl.minimum(begin + tiles_a_part * TILE, length)

    members = tl.arange(0, GROUP_PADDED)
    sizes = tl.arange(0, HEAD_PADDED)
    heads = kv_head * GROUP + members
    is_query = (members < GROUP)[:, None] & (sizes < HEAD_SIZE)[None, :]
    table_row = table + tl.load(slots + sequence).to(tl.int64) * table_stride
    pages = tile_pages(table_row, begin + tl.arange(0, TILE), end, PAGE)
    wait_for_inputs(EARLY)  # what was read until here has been there since the step began
    queries = tl.load(
        query + row * query_row_stride + heads[:, None] * query_head_stride + sizes[None, :], mask=is_query, other=0.0
    )
    best = tl.full([GROUP_PADDED], float("-inf"), tl.float32)
    total = tl.zeros([GROUP_PADDED], tl.float32)
    weighted = tl.zeros([GROUP_PADDED, HEAD_PADDED], tl.float32)
    for start in range(begin, end, TILE):
        positions = start + tl.arange(0, TILE)
        is_there = positions < end
        if HAS_WINDOW:
            is_there &= positions >= first
        places = tile_places(pages, positions, page_stride, token_stride, PAGE) + kv_head * head_stride
        pages = tile_pages(table_row, positions + TILE, end, PAGE)
        scores = tile_scores(
            queries, key_pages, places, is_there, scaling, softcap, HEAD_SIZE, HEAD_PADDED, HAS_SOFTCAP, PRECISION
        )
        scores = tl.where(is_there[None, :], scores, float("-inf"))
        best, total, weighted = fold_tile(
            scores, value_pages, places, is_there, best, total, weighted, HEAD_SIZE, HEAD_PADDED, PRECISION
        )
    result = weighted / tl.where(total > 0.0, total, 1.0)[:, None]
    output += row * output_row_stride
    if count == 1:
        target = output + heads[:, None] * output_head_stride + sizes[None, :]
        tl.store(target, result.to(output.dtype.element_ty), mask=is_query)
    else:
        is_head = members < GROUP
        num_heads = tl.num_programs(0) * GROUP
        places = part * num_heads + heads
        log_sum = tl.where(total > 0.0, best + tl.log2(tl.where(total > 0.0, total, 1.0)), float("-inf"))
        tl.store(partial_log_sum + places, log_sum, mask=is_head)
        if begin < end:
            tl.store(partial + places[:, None] * HEAD_PADDED + sizes[None, :], result, mask=is_head[:, None])
        # All threads have written before one of them says so, and whoever comes last reads what the others wrote.
        tl.debug_barrier()
        counter = arrived + sequence * tl.num_programs(0) + kv_head
        if tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu") == count - 1:
            tl.store(counter, 0)
            first_part = (part - number) * num_heads
            _merge(
                output,
                partial + first_part * HEAD_PADDED,
                partial_log_sum + first_part,
                kv_head * GROUP,
                num_heads,
                count,
                output_head_stride,
                GROUP,
                MEMBERS,
                HEAD_SIZE,
                HEAD_PADDED,
                MERGED_PARTS,
            )
