"""Work on each row of a step in Triton: norms, and gates of MLPs."""

from __future__ import annotations

import triton
import triton.language as tl

from ...attention.early_launch import wait_for_inputs


@triton.jit(do_not_specialize=["num_rows"])
def rms_norm_kernel(
    output,  # [T, SIZE]
    rows,  # [T, SIZE]
    weight,  # [SIZE]
    num_rows,
    epsilon,
    SIZE: tl.constexpr,
    SIZE_PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    EARLY: tl.constexpr,
):
    """`ROWS` rows a program."""
    numbers = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    sizes = tl.arange(0, SIZE_PADDED)
    weights = tl.load(weight + sizes, mask=sizes < SIZE, other=0.0)
    places = numbers.to(tl.int64)[:, None] * SIZE + sizes[None, :]
    is_there = (numbers < num_rows)[:, None] & (sizes < SIZE)[None, :]
    wait_for_inputs(EARLY)
    values = tl.load(rows + places, mask=is_there, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values, 1) / SIZE + epsilon)
    # Rounded before the weight is applied, as models do whose weights are in their own dtype.
    normed = (values * scale[:, None]).to(weights.dtype).to(tl.float32) * weights.to(tl.float32)[None, :]
    tl.store(output + places, normed.to(output.dtype.element_ty), mask=is_there)


@triton.jit
def gate_kernel(
    output,  # [T, SIZE]
    gate_up,  # [T, 2 * SIZE]
    SIZE: tl.constexpr,
    NUMBERS: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Grid (tiles of a row, rows)."""
    row = tl.program_id(1).to(tl.int64)
    sizes = tl.program_id(0) * NUMBERS + tl.arange(0, NUMBERS)
    is_there = sizes < SIZE
    wait_for_inputs(EARLY)
    gate = tl.load(gate_up + row * 2 * SIZE + sizes, mask=is_there, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * SIZE + SIZE + sizes, mask=is_there, other=0.0).to(tl.float32)
    # Of numbers below 0 only: exp does not overflow.
    shrunk = tl.exp(-tl.abs(gate))
    silu = gate * tl.where(gate < 0.0, shrunk, 1.0) / (1.0 + shrunk)
    silu = silu.to(output.dtype.element_ty).to(tl.float32)  # as models round it
    tl.store(output + row * SIZE + sizes, (silu * up).to(output.dtype.element_ty), mask=is_there)
