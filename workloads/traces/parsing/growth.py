"""How much a conversation grew, where a trace says only how long each prompt was."""

from __future__ import annotations


class Growth:
    """Follows the replayed conversation, and says what to add so that it is as long as the recorded one.

    The replayed one holds every answer in full; a recorded one may drop some (hidden reasoning), so it can be a
    little shorter. Much shorter, and it was compacted or is another conversation.

    Args:
        prefix_tokens: The session's shared prefix.
        compacts_below: The share of the replayed length below which a recorded prompt begins anew.
    """

    def __init__(self, prefix_tokens: int = 0, *, compacts_below: float) -> None:
        self._prefix_tokens = prefix_tokens
        self._compacts_below = compacts_below
        self._tokens = prefix_tokens

    def turn(self, prompt_tokens: int, output_tokens: int) -> tuple[int, bool]:
        """New tokens of a turn with such a prompt, and whether it compacts. The first is no shorter than the prefix."""
        compacts = prompt_tokens < self._compacts_below * self._tokens
        if compacts:
            self._tokens = self._prefix_tokens
        new_tokens = max(1, prompt_tokens - self._tokens)
        self._tokens += new_tokens + output_tokens
        return new_tokens, compacts
