"""Prompts of a session whose blocks are hashed: what each shares with the one before it."""

from __future__ import annotations

from collections.abc import Sequence

from ....engine.integers import ceil_div
from ...session import BlockPrompt

TRACE_SCOPE = "trace"
"""Where ids mean the same all over a file."""


class BlockChain:
    """Makes the prompts of one session, one after the other."""

    def __init__(self, scope: str, block_tokens: int) -> None:
        self._scope = scope
        self._block_tokens = block_tokens
        self._ids: Sequence[int] = ()
        self._tokens = 0

    def prompt(self, ids: Sequence[int], tokens: int) -> tuple[BlockPrompt, int]:
        """The next prompt, and how many of its tokens are new. `ids` are of all its blocks."""
        whole = min(self._tokens, tokens) // self._block_tokens
        kept = min(_num_shared(self._ids, ids), whole)
        self._ids, self._tokens = ids, tokens
        prompt = BlockPrompt(self._scope, self._block_tokens, tokens, tuple(ids[kept:]), kept)
        return prompt, max(1, tokens - kept * self._block_tokens)

    def prompt_after(self, shared_tokens: int, tokens: int, first_id: int) -> tuple[BlockPrompt, int]:
        """The next prompt where only the number of tokens shared is known; its new blocks are called by number.

        They begin with `first_id`, which is to be above all that were used before.
        """
        kept = min(shared_tokens, self._tokens, tokens) // self._block_tokens
        self._tokens = tokens
        ids = range(first_id, first_id + ceil_div(tokens, self._block_tokens) - kept)
        prompt = BlockPrompt(self._scope, self._block_tokens, tokens, tuple(ids), kept)
        return prompt, max(1, tokens - kept * self._block_tokens)


def _num_shared(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many leading ids are equal. Slices compare quickly, so it looks for the first difference by halves."""
    same, most = 0, min(len(ids), len(others))
    while same < most:
        middle = (same + most + 1) // 2
        if ids[same:middle] == others[same:middle]:
            same = middle
        else:
            most = middle - 1
    return same
