"""Which steps are recorded: their sizes, in buckets that hold every batch and pad little."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_PROMPT_TOKENS = 512
"""Of a recorded step. Longer ones take the device longer than the host needs to launch them kernel by kernel."""

_MIXED_ROWS = 64
"""Between two buckets of tokens. Tokens of padding cost as much as others, once there are a few hundred."""

_DECODE_LEVELS = (16, 64)
"""Sequences in decode beside prompts: in few buckets, as those of padding cost next to nothing."""

_MOST_CHUNKS = 64
"""Chunks of prompts in a recorded step. Each may have a tile that is not full, and idle tiles cost next to nothing."""


@dataclass(frozen=True, slots=True, order=True)
class StepShape:
    """Sizes of a recorded step, padding among them.

    Attributes:
        rows: Tokens.
        decodes: Sequences that compute one token.
        tiles: Pieces that prompts' chunks are cut into for attention (see `TritonBackend.tiles`).
        samples: Rows that sample.
        pages: Entries of the page table that the step itself can write.
        parts: Shares of keys that decodes are cut into for attention (see `TritonBackend.parts`).
    """

    rows: int
    decodes: int
    tiles: int
    samples: int
    pages: int
    parts: int

    @property
    def is_decode(self) -> bool:
        """True when there are no prompts in it: every row is a sequence, and samples."""
        return self.tiles == 0

    def __str__(self) -> str:
        if self.is_decode:
            return f"{self.rows} sequences"
        return f"{self.rows} tokens, up to {self.decodes} of them decodes"


def decode_shapes(max_num_seqs: int, *, extra_parts: int) -> list[StepShape]:
    """Steps that only decode, smallest first: few enough to be recorded soon, close enough to pad little."""
    sizes = [1, 2, 4, *range(8, 64, 8), *range(64, 256, 16), *range(256, max_num_seqs + 1, 32)]
    sizes = [*(size for size in sizes if size < max_num_seqs), max_num_seqs]
    return [StepShape(size, size, 0, size, size, size + extra_parts) for size in sizes]


def mixed_shapes(
    max_num_seqs: int, max_num_batched_tokens: int, *, tokens_per_tile: int, block_size: int, extra_parts: int
) -> list[StepShape]:
    """Steps with prompts, smallest first: by tokens, and within these by sequences in decode."""
    most_rows = min(_MOST_PROMPT_TOKENS + max_num_seqs, max_num_batched_tokens)
    shapes = []
    for rows in [*range(_MIXED_ROWS, most_rows, _MIXED_ROWS), most_rows]:
        most_decodes = min(rows, max_num_seqs)
        for decodes in [*(level for level in _DECODE_LEVELS if level < most_decodes), most_decodes]:
            shapes.append(
                StepShape(
                    rows=rows,
                    decodes=decodes,
                    # Cut into tiles, each chunk has at most one that is not full.
                    tiles=rows // tokens_per_tile + _MOST_CHUNKS,
                    samples=min(max_num_seqs, decodes + _MOST_CHUNKS),
                    pages=rows // block_size + decodes + _MOST_CHUNKS,
                    parts=decodes + extra_parts,
                )
            )
    return shapes
