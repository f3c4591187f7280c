"""Messages of failures, however servers write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...http.faults import MALFORMED

_WHERE_MESSAGES_ARE = ("error", "message", "msg", "detail", "errors", "error_message", "title")
"""Keys, from the one that says most: OpenAI's and Anthropic's, FastAPI's, and what gateways make up."""
_MOST_NESTING = 5
_MOST_PARTS = 8
"""Of a list of messages: one for each field that a server objects to."""


def error_message(body: bytes) -> str:
    """The message in an error body.

    It may be `{"error": {"message": ...}}` with whatever else, `{"error": "text"}`, `{"message": "text"}`, FastAPI's
    `detail` (a text, or a list of what is wrong with which field), or a list of such. The name of the field in question
    is kept, in brackets where the message does not have it. Anything else is shown as it is, in 300 bytes.
    """
    try:
        said = _said(msgspec.json.decode(body), _MOST_NESTING)
    except MALFORMED:
        said = ""
    if said:
        return said
    text = " ".join(body[:300].decode(errors="replace").split())
    return "(an HTML page)" if text.startswith("<") else text or "(no text)"


def _said(value: Any, nesting: int) -> str:
    """The message in a part of a body; empty where there is none."""
    if isinstance(value, str):
        return value.strip()
    if not nesting:
        return ""
    if isinstance(value, list):
        return "; ".join(said for part in value[:_MOST_PARTS] if (said := _said(part, nesting - 1)))
    if not isinstance(value, Mapping):
        return ""
    for key in _WHERE_MESSAGES_ARE:
        if said := _said(value.get(key), nesting - 1):
            field = _field(value)
            return said if not field or field in said else f"{said} ({field})"
    return ""


def _field(failure: Mapping[str, Any]) -> str:
    """The field of the request that a failure is about: OpenAI's `param`, or the end of FastAPI's `loc`."""
    if isinstance(param := failure.get("param"), str):
        return param
    match failure.get("loc"):
        case [*parts] if parts:
            return ".".join(str(part) for part in parts if part != "body" and isinstance(part, str | int))
    return ""
