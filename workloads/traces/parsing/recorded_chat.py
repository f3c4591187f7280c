"""Recorded messages: how many tokens they are, and which turns they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from ....engine.protocol.conversation import ChatMessage, ContentPart
from ...session import MessagePrompt, Pause, Turn

CHARACTERS_PER_TOKEN = 4
"""An estimate, good for English: traces of text do not say what a tokenizer made of it."""
UNSTATED_OUTPUT_TOKENS = 128
"""For requests that were recorded without their answer and without a limit: a choice, not a measurement."""


NOTHING = msgspec.Raw()
"""For JSON that is not there."""


def raw_text(raw: msgspec.Raw) -> str:
    """JSON as it stands in the file; empty where there is none."""
    text = bytes(raw).decode()
    return "" if text == "null" else text


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is; at least one."""
    return max(1, round(len(text) / CHARACTERS_PER_TOKEN))


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something somebody said.

    Attributes:
        role: `assistant` is the server, `tool` a tool; everybody else counts as a person.
        tool: Whose result it is.
    """

    role: str
    text: str
    tool: str | None = None


def turns_of(utterances: Iterable[Utterance]) -> tuple[Turn, ...]:
    """A turn for each answer; its question is all that was said since the answer before.

    What was recorded of an answer gives only its length, by estimate. An answer to nothing is left out, a second one
    in a row is part of the first, and so is left out what nobody answers.
    """
    turns: list[Turn] = []
    asked: list[Utterance] = []
    answers: list[Utterance] = []
    for utterance in utterances:
        if utterance.role == "assistant":
            if asked:
                answers.append(utterance)
            continue
        if answers:
            turns.append(_turn(asked, answers, is_first=not turns))
            asked, answers = [], []
        asked.append(utterance)
    if answers:
        turns.append(_turn(asked, answers, is_first=not turns))
    return tuple(turns)


def _turn(asked: Sequence[Utterance], answers: Sequence[Utterance], *, is_first: bool) -> Turn:
    text = "\n\n".join(utterance.text for utterance in asked)
    results = [utterance for utterance in asked if utterance.role == "tool"]
    return Turn(
        estimated_tokens(text),
        estimated_tokens("".join(utterance.text for utterance in answers)),
        pause=Pause.NONE if is_first else Pause.TOOL if results else Pause.HUMAN,
        tool=results[-1].tool if results else None,
        num_tools=len(results),
        text=text,
    )


class MessageChain:
    """Makes the prompts of one session from recorded messages, one after the other."""

    def __init__(self) -> None:
        self._messages: Sequence[ChatMessage] = ()

    def prompt(self, messages: Sequence[ChatMessage], tools: msgspec.Raw) -> tuple[MessagePrompt, int]:
        """The next prompt, and about how many of its tokens are new.

        Tool definitions become text at its beginning: servers write them into the prompt as well.
        """
        if schema := raw_text(tools):
            messages = _with_tools(messages, schema)
        shared = 0
        for ours, theirs in zip(messages, self._messages, strict=False):
            if ours != theirs:
                break
            shared += 1
        self._messages = messages
        new_characters = sum(map(_num_characters, messages[shared:]))
        return MessagePrompt(tuple(messages)), max(1, round(new_characters / CHARACTERS_PER_TOKEN))


def last_pause(messages: Sequence[ChatMessage]) -> Pause:
    """What was waited for before a prompt was sent: a tool, if its result comes last."""
    return Pause.TOOL if messages[-1].role == "tool" else Pause.HUMAN


def text_of(content: str | list[ContentPart] | None) -> str:
    """What a message says."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text or "" for part in content)


def _num_characters(message: ChatMessage) -> int:
    calls = message.tool_calls or ()
    return len(text_of(message.content)) + sum(len(call.function.name + call.function.arguments) for call in calls)


def _with_tools(messages: Sequence[ChatMessage], tools: str) -> Sequence[ChatMessage]:
    """Templates refuse a second system message, so the first one gets the tools too."""
    if messages and messages[0].role == "system":
        tools = f"{tools}\n\n{text_of(messages[0].content)}"
        messages = messages[1:]
    return [ChatMessage(role="system", content=tools), *messages]
