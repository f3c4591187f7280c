"""What a null server's prompts wait for before their first token: each other. And what they need not wait for."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice

from .behaviour import Behaviour, Prefill

BLOCK_WORDS = 16
"""A prefix cache finds whole blocks of this many tokens."""
_MOST_BLOCKS = 1 << 20
"""That are remembered; then the oldest are forgotten."""


class PrefixCache:
    """Remembers prompts, block by block. A word is a token."""

    def __init__(self) -> None:
        self._blocks: dict[int, None] = {}
        """Hashes of all words up to the end of a block; the oldest first."""

    def found(self, words: Sequence[str]) -> int:
        """Tokens of the longest known beginning of a prompt; from now on all of it is known.

        One token must always be computed.
        """
        num_found, chain = 0, 0
        for number, end in enumerate(range(BLOCK_WORDS, len(words) + 1, BLOCK_WORDS)):
            chain = hash((chain, *words[end - BLOCK_WORDS : end]))
            if chain not in self._blocks:
                self._blocks[chain] = None
            elif num_found == number and end < len(words):
                num_found += 1
        for oldest in list(islice(self._blocks, max(0, len(self._blocks) - _MOST_BLOCKS))):
            del self._blocks[oldest]
        return num_found * BLOCK_WORDS


class PrefillQueue:
    """Prompts in order of arrival."""

    def __init__(self, behaviour: Behaviour, cache: PrefixCache | None = None) -> None:
        """`cache`: what is known of earlier prompts; None: nothing."""
        self._behaviour = behaviour
        self._cache = cache or PrefixCache()
        self._free_s = [0.0] * (behaviour.prefill_at_once or 0)
        """When each place is free again."""

    def admit(self, arrived_s: float, words: Sequence[str]) -> Prefill:
        """A prompt that arrives then, no earlier than the one before."""
        cached_tokens = self._cache.found(words) if self._behaviour.prefix_cache else 0
        if not self._free_s:
            return Prefill(cached_tokens)
        begins_s = max(arrived_s, self._free_s[0])
        heapq.heapreplace(self._free_s, begins_s + self._behaviour.prefill_s(len(words) - cached_tokens))
        return Prefill(cached_tokens, begins_s - arrived_s)
