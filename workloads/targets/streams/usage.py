"""Token counts as a server reports them, as far as they can be right."""

from __future__ import annotations

from typing import Any

from ...http.limits import OUTPUT_TOKENS_PAST, PROMPT_TOKENS_PAST, TOKENS_PER_CHAR
from ..target import Call, Reply
from ..wire.api import Api
from ..wire.fields import usage_object

NO_USAGE = frozenset((b"", b"null", b"{}", b"[]"))
"""JSON of a `usage` that says nothing."""
_MOST_DIGITS = 20


def note_usage(raw: bytes, api: Api, call: Call, reply: Reply, num_chars: int) -> None:
    """Fill in a reply's token counts. What cannot be right stays unknown, and the reply says so.

    The number of output tokens can be right if all beyond `max_tokens` have text, and some have if there is text; that
    of the prompt if it has hardly more tokens than bytes; that of cached ones if the prompt has as many. Nobody can
    tell more from outside. More reasoning than output is left out without a word: some servers keep them apart.

    Args:
        raw: The JSON of the last `usage`; `NO_USAGE` where there was none.
        api: How to read it.
        call: What was asked for.
        reply: To be filled in. Its `sent_bytes` are known.
        num_chars: Characters of text that came.
    """
    if raw in NO_USAGE:
        return
    usage = usage_object(raw)
    if usage is None:
        reply.has_odd_usage = True
        return
    counts = api.counts(usage)
    output, reasoning = counts.output, counts.reasoning
    prompt, cached = counts.prompt, counts.cached
    most_output = call.max_tokens + OUTPUT_TOKENS_PAST + TOKENS_PER_CHAR * num_chars
    reply.output_tokens = _count(output, 1 if num_chars else 0, most_output)
    reply.prompt_tokens = _count(prompt, 0, reply.sent_bytes + PROMPT_TOKENS_PAST)
    reply.cached_tokens = None if reply.prompt_tokens is None else _count(cached, 0, reply.prompt_tokens)
    reply.reasoning_tokens = None if reply.output_tokens is None else _count(reasoning, 0, reply.output_tokens)
    reply.has_odd_usage = (
        (output is not None and reply.output_tokens is None)
        or (prompt is not None and reply.prompt_tokens is None)
        or (cached is not None and reply.cached_tokens is None and prompt is not None)
    )


def _count(value: Any, least: int, most: int) -> int | None:
    """A count within a range; None if it is no such number. Some languages write 12 as 12.0, and some as "12"."""
    if (type(value) is float and value.is_integer()) or (
        type(value) is str and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    ):
        value = int(value)
    return value if type(value) is int and least <= value <= most else None
