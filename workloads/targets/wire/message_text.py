"""Messages as other APIs than chat completions want them: as text, and calls of tools as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ....engine.protocol.conversation import ChatMessage


def message_text(message: ChatMessage) -> str:
    """What a message says. Its parts follow each other without a gap, as chat templates have them."""
    match message.content:
        case None:
            return ""
        case str() as text:
            return text
        case parts:
            return "".join([part.text or "" for part in parts])


def leading_system_text(messages: Sequence[ChatMessage]) -> tuple[str, Sequence[ChatMessage]]:
    """The text of the system messages at the start, and the messages behind them."""
    count = 0
    while count < len(messages) and messages[count].role == "system":
        count += 1
    return "\n\n".join(map(message_text, messages[:count])), messages[count:]


def json_object(text: str) -> dict[str, Any]:
    """The arguments of a tool call, which models may write as they like, as an object that every API takes."""
    try:
        decoded = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        decoded = text
    return decoded if isinstance(decoded, dict) else {"arguments": decoded}
