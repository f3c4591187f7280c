"""Messages of failures, however servers write them."""

from __future__ import annotations

import msgspec

from ....engine.protocol.failures import ErrorBody


def error_message(body: bytes) -> str:
    """The message in an error body, in OpenAI's format or any other."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).error.message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = " ".join(body[:300].decode(errors="replace").split())
        return "(an HTML page)" if text.startswith("<") else text or "(no text)"
