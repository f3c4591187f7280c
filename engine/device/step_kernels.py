"""The beginning of a recorded step, in one Triton kernel."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ..integers import ceil_div
from .step_inputs import StepOnDevice

_PER_PROGRAM = 256


@triton.jit(do_not_specialize=["num_rows", "num_samples", "num_pages"])
def _begin_kernel(
    input_ids,  # [rows] int64, written
    position_ids,  # [rows] int64, written
    kept_rows,  # [samples] int64, written
    table,  # flat int32, written at `page_entries`
    token_ids,
    positions,
    slots,
    last_tokens,  # [slots] int64
    sample_rows,
    page_entries,
    pages,
    num_rows,
    num_samples,
    num_pages,
    PER_PROGRAM: tl.constexpr,
):
    """See `begin`. Each program does its share of all lists."""
    index = tl.program_id(0) * PER_PROGRAM + tl.arange(0, PER_PROGRAM)
    is_row = index < num_rows
    token = tl.load(token_ids + index, mask=is_row, other=0).to(tl.int64)
    is_in_flight = is_row & (token < 0)
    slot = tl.load(slots + index, mask=is_in_flight, other=0)
    token = tl.where(is_in_flight, tl.load(last_tokens + slot, mask=is_in_flight, other=0), token)
    tl.store(input_ids + index, token, mask=is_row)
    tl.store(position_ids + index, tl.load(positions + index, mask=is_row, other=0).to(tl.int64), mask=is_row)
    is_sample = index < num_samples
    tl.store(kept_rows + index, tl.load(sample_rows + index, mask=is_sample, other=0).to(tl.int64), mask=is_sample)
    is_page = index < num_pages
    entry = tl.load(page_entries + index, mask=is_page, other=-1)
    tl.store(table + entry, tl.load(pages + index, mask=is_page, other=0), mask=entry >= 0)


def begin(
    step: StepOnDevice, last_tokens: torch.Tensor, table: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Put new pages into the page table, and tokens in flight into the input.

    Args:
        step: What the host has written.
        last_tokens: `[slots]` int64: the token that each sequence sampled last.
        table: The page table `[slots, pages]`.

    Returns:
        Token ids and positions `[1, rows]`, and the rows that sample `[samples]`, as models take them: int64.
    """
    num_rows, num_samples, num_pages = step.token_ids.numel(), step.sample_rows.numel(), step.pages.numel()
    device = table.device
    input_ids, position_ids = (torch.empty((1, num_rows), dtype=torch.int64, device=device) for _ in range(2))
    kept_rows = torch.empty(num_samples, dtype=torch.int64, device=device)
    _begin_kernel[(ceil_div(max(num_rows, num_samples, num_pages), _PER_PROGRAM),)](
        input_ids,
        position_ids,
        kept_rows,
        table,
        step.token_ids,
        step.positions,
        step.slots,
        last_tokens,
        step.sample_rows,
        step.page_entries,
        step.pages,
        num_rows,
        num_samples,
        num_pages,
        PER_PROGRAM=_PER_PROGRAM,
    )
    return input_ids, position_ids, kept_rows
