"""Whether an answer was streamed, or written whole and sent at once."""

from __future__ import annotations

from ..target import Reply

_FEWEST_CHUNKS = 3
"""Two tokens may well come in one packet: a scheduler's step, or a client that was late."""
_FEWEST_TOKENS = 16
"""In one chunk: speculative decoding finds eight at a time."""
_CHARS_PER_TOKEN = 4
_TOKENS_PER_ARRIVAL = 16
_TOKENS_PER_S = 10_000
"""Three times what the fastest servers give one stream."""


def came_at_once(reply: Reply, num_arrivals: int, num_chunks: int, num_chars: int) -> bool:
    """Whether its content came in one burst although there was something to stream.

    That is one read of three chunks or 16 tokens; or reads of 16 tokens or more each that follow one another at more
    than 10,000 tokens a second, as what does not fit one read does. A client that is late finds everything at once,
    too: see `pulse.py`.

    Args:
        reply: When its content came. Its token counts are filled in, if there are any.
        num_arrivals: Reads that had content.
        num_chunks: Events that had content.
        num_chars: Characters of content.
    """
    if not num_arrivals or reply.first_s is None or reply.last_s is None:
        return False
    num_tokens = max(num_chunks, num_chars // _CHARS_PER_TOKEN if reply.output_tokens is None else reply.output_tokens)
    if num_arrivals == 1:
        return num_chunks >= _FEWEST_CHUNKS or num_tokens >= _FEWEST_TOKENS
    is_fast = (reply.last_s - reply.first_s) * _TOKENS_PER_S < num_tokens
    return is_fast and num_tokens >= _TOKENS_PER_ARRIVAL * num_arrivals
