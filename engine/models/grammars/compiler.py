"""From a grammar's text to the tokens that may come next, in the engine's process."""

from __future__ import annotations

from functools import lru_cache

from llguidance import LLMatcher, LLTokenizer

from ...errors import RequestError
from .grammar import first_line, limits

_CACHED_GRAMMARS = 32
"""Several answers to one request, and requests with the same schema, need it compiled once."""


class Constraint:
    """What one answer may go on with. It follows the tokens as they are committed, never those in flight."""

    def __init__(self, matcher: LLMatcher, only_end: bytes) -> None:
        self._matcher = matcher
        self._only_end = only_end

    @property
    def is_broken(self) -> bool:
        """The grammar took more time or memory than one answer may: the answer ends unfinished."""
        return self._matcher.is_error()

    def accept(self, token_id: int) -> None:
        """Take in the next token of the answer."""
        self._matcher.consume_token(token_id)

    def mask(self) -> bytes:
        """One bit for each token of the vocabulary, lowest first: set where the token may come next."""
        mask = b"" if self.is_broken else self._matcher.compute_bitmask()
        return self._only_end if self.is_broken or mask.count(0) == len(mask) else mask


class GrammarCompiler:
    """Compiles grammars for one vocabulary.

    Args:
        tokenizer: The tokenizer, as JSON text of the `tokenizers` library.
        vocab_size: Tokens of the model. The tokenizer may know fewer.
        end_token_ids: Tokens that end an answer.
    """

    def __init__(self, tokenizer: str, vocab_size: int, end_token_ids: list[int]) -> None:
        self._tokenizer = LLTokenizer(tokenizer, n_vocab=vocab_size, eos_token=end_token_ids)
        only_end = bytearray((vocab_size + 31) // 32 * 4)
        for token in end_token_ids:
            only_end[token // 8] |= 1 << token % 8
        self._only_end = bytes(only_end)
        self._compiled = lru_cache(maxsize=_CACHED_GRAMMARS)(self._compile)

    def constraint(self, grammar: str) -> Constraint:
        """For one answer. Lets other threads run while it compiles, which may take a second.

        Raises:
            RequestError: it cannot be compiled.
        """
        return Constraint(self._compiled(grammar).deep_copy(), self._only_end)

    def _compile(self, grammar: str) -> LLMatcher:
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits())
        if matcher.is_error():
            raise RequestError(f"the grammar cannot be compiled: {first_line(matcher.get_error())}")
        return matcher
