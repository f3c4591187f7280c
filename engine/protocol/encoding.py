"""From wire types to bytes."""

from __future__ import annotations

import msgspec
from msgspec import Struct

DONE = b"data: [DONE]\n\n"
_encoder = msgspec.json.Encoder()


def encode(message: Struct) -> bytes:
    """A wire type as JSON."""
    return _encoder.encode(message)


def server_sent_event(message: Struct) -> bytes:
    """A wire type as one server-sent event."""
    return b"data: " + _encoder.encode(message) + b"\n\n"


def named_event(message: Struct) -> bytes:
    """The same with the event's name before it, which is the message's `type`."""
    name: str = message.type  # type: ignore[attr-defined] # every event that has a name says so itself
    return b"event: " + name.encode() + b"\ndata: " + _encoder.encode(message) + b"\n\n"
