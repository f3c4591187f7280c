"""Tokens back to text as they come: never half a character."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

_MAX_TOKENS_OF_A_CHARACTER = 4
"""A UTF-8 character has at most four bytes, and no token carries less than one."""


class Decoder(Protocol):
    """The one method of a tokenizer that is needed here."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of tokens, with U+FFFD for a character cut in two."""


class IncrementalDetokenizer:
    """Text of a growing sequence of tokens.

    A tokenizer may join or space tokens by their neighbours, so a token is decoded behind those before it and the
    difference is what it added. Text that ends in U+FFFD may be the beginning of a character and is held back, but
    for no more tokens than a character can have: bytes that never become one must not silence a stream.
    """

    def __init__(self, tokenizer: Decoder, kept_texts: Mapping[int, str] | None = None) -> None:
        """`kept_texts`: of special tokens, which are left out otherwise."""
        self._tokenizer = tokenizer
        self._kept_texts = kept_texts or {}
        self._context: list[int] = []
        self._context_text = ""
        self._pending: list[int] = []

    def add(self, token_id: int) -> str:
        """The text that is certain once this token is known; may be empty."""
        if (kept := self._kept_texts.get(token_id)) is not None:
            return self.flush() + kept
        self._pending.append(token_id)
        text = self._tokenizer.decode(self._context + self._pending)
        if not text.endswith("\ufffd"):
            return self._emit(text)
        if len(self._pending) < _MAX_TOKENS_OF_A_CHARACTER:
            return ""
        # The oldest token cannot be part of a character any more; those behind it may be.
        oldest, *later = self._pending
        self._pending = [oldest]
        emitted = self._emit(self._tokenizer.decode([*self._context, oldest]))
        self._pending = later
        return emitted

    def flush(self) -> str:
        """What was held back, when no more tokens come."""
        return self._emit(self._tokenizer.decode(self._context + self._pending)) if self._pending else ""

    def _emit(self, text: str) -> str:
        added = text[len(self._context_text) :]
        if self._pending:
            self._context, self._pending = self._pending, []
            self._context_text = self._tokenizer.decode(self._context)
        return added
