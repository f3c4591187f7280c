"""Answers as servers of any API write them, and what the client makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from abatch.workloads.targets.target import Reply
from abatch.workloads.targets.wire.apis import APIS

from support.answers import answered

Event = dict[str, Any] | bytes
"""With its type, which is also its name; or as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the client should have made of an answer.

    Attributes:
        counts: Prompt, cached, output and reasoning tokens.
        message: Part of the error's.
        num_arrivals: Of content; None where it does not matter.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    counts: tuple[int | None, ...] = (None, None, None, None)
    error: str | None = None
    message: str = ""
    num_arrivals: int | None = None
    malformed: int = 0


def check_stream(api: str, events: Sequence[Event], said: Said) -> None:
    """That the client understands events, each in a read of its own, with their names or without them."""
    for has_names in (True, False):
        assert what_came(read(api, [as_bytes(event, has_name=has_names) for event in events]), said) == said


def check_json(api: str, body: Any, said: Said) -> None:
    """That the client understands JSON in place of a stream, and says that it was no stream."""
    reply = read(api, [json.dumps(body).encode()])
    assert what_came(reply, said) == said
    assert not reply.was_streamed


def read(api: str, pieces: Sequence[bytes]) -> Reply:
    """The reply to pieces of a body."""
    return answered(*pieces, api=APIS[api])


def what_came(reply: Reply, said: Said) -> Said:
    """A reply in the terms of what is expected of it."""
    message = reply.error_message or ""
    return Said(
        text="".join(reply.text),
        reasoning="".join(reply.reasoning),
        finish_reason=reply.finish_reason,
        counts=(reply.prompt_tokens, reply.cached_tokens, reply.output_tokens, reply.reasoning_tokens),
        error=reply.error,
        message=said.message if said.message in message else message,
        num_arrivals=None if said.num_arrivals is None else (reply.first_s is not None) + len(reply.gaps_us),
        malformed=reply.malformed_events,
    )


def as_bytes(event: Event, *, has_name: bool) -> bytes:
    """A server-sent event."""
    if isinstance(event, bytes):
        return event
    name = f"event: {event['type']}\n".encode() if has_name and "type" in event else b""
    return name + b"data: " + json.dumps(event).encode() + b"\n\n"
