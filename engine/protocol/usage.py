"""Token counts of a request."""

from __future__ import annotations

from msgspec import Struct


class PromptTokensDetails(Struct):
    """Of the prompt's tokens, how many the prefix cache had."""

    cached_tokens: int = 0


class Usage(Struct, kw_only=True):
    """Token counts of a request."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None
