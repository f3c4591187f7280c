"""What the formats of tool calls have in common: the call, and how a parser is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ParsedToolCall:
    """A call the model made. `arguments` is JSON text, as OpenAI's API has it."""

    name: str
    arguments: str


class ToolCallParser(Protocol):
    """Splits one answer's text, as it streams, into what the assistant says and the tools it calls.

    What looks like a call but is none stays text: nothing is lost.
    """

    num_calls: int
    """Calls so far."""

    def add(self, text: str) -> tuple[str, list[ParsedToolCall]]:
        """Text that is certainly not part of a call, and the calls completed by `text`."""

    def flush(self) -> tuple[str, list[ParsedToolCall]]:
        """The rest, when no more text comes."""


def parse_whole(parser: ToolCallParser, text: str) -> tuple[str, list[ParsedToolCall]]:
    """What a whole answer says, and the tools it calls."""
    content, calls = parser.add(text)
    rest, last_calls = parser.flush()
    return content + rest, calls + last_calls
