"""The Completions API: a prompt is one text, and answers come in the chunks of chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....engine.protocol.conversation import ChatMessage
from ..target import Call
from .api import RequestSettings
from .chat import ChatApi
from .message_text import message_text
from .names import API_PATHS


class CompletionsApi(ChatApi):
    """See `Api`."""

    name = "completions"
    path = API_PATHS[name]

    def body(self, call: Call, settings: RequestSettings) -> dict[str, Any]:
        """As for chat, with a text in place of the messages."""
        body = super().body(call, settings)
        del body["messages"]
        return {"model": body.pop("model"), "prompt": prompt_text(call.messages), **body}


def prompt_text(messages: Sequence[ChatMessage]) -> str:
    """A conversation as one text: what was said, without roles, each message after an empty line.

    An answer follows its prompt at once, as the server wrote it. So the prompt of each turn begins with all that the
    server has seen of the conversation, and a prefix cache finds it.
    """
    parts: list[str] = []
    for message in messages:
        if parts and message.role != "assistant":
            parts.append("\n\n")
        parts.append(message_text(message))
        for call in message.tool_calls or ():
            parts.append(f"\n{call.function.name}({call.function.arguments})")
    return "".join(parts)
