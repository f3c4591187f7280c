"""The events of a streamed response. `sequence_number` counts them from 0."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from .responses import OutputFunctionCall, OutputMessage, OutputText, Response


class ResponseEvent(Struct, kw_only=True):
    """The response as it is now: at its beginning, and at its end."""

    type: Literal[
        "response.created", "response.in_progress", "response.completed", "response.incomplete", "response.failed"
    ]
    sequence_number: int
    response: Response


class OutputItemEvent(Struct, kw_only=True):
    """An item begins, or is whole."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: int
    item: OutputMessage | OutputFunctionCall


class ContentPartEvent(Struct, kw_only=True):
    """A part of a message begins, or is whole."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int = 0
    part: OutputText


class OutputTextDeltaEvent(Struct, kw_only=True):
    """Text that a part gains."""

    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int = 0
    delta: str
    logprobs: list[Any] = msgspec.field(default_factory=list)


class OutputTextDoneEvent(Struct, kw_only=True):
    """All text of a part."""

    type: Literal["response.output_text.done"] = "response.output_text.done"
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int = 0
    text: str
    logprobs: list[Any] = msgspec.field(default_factory=list)


class ArgumentsDeltaEvent(Struct, kw_only=True):
    """Arguments that a call gains. They always come whole."""

    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"
    sequence_number: int
    item_id: str
    output_index: int
    delta: str


class ArgumentsDoneEvent(Struct, kw_only=True):
    """All arguments of a call."""

    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    sequence_number: int
    item_id: str
    output_index: int
    name: str
    arguments: str
