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
