"""Fields of JSON as servers fill them in, whatever is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...http.faults import MALFORMED
from ...http.limits import USAGE_BYTES

KEEP_ALIVE = frozenset(("ping", "heartbeat", "keepalive", "keep-alive"))
"""Names and types of events that only say that the server is alive."""
_NOTHING = frozenset((b"null", b"[]", b"{}", b'""', b"false", b"0", b"[null]"))


def says_something(raw: msgspec.Raw) -> bool:
    """Whether a field is there with more in it than servers write where they mean nothing."""
    return bool(raw) and bytes(raw) not in _NOTHING


def nested(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object in a field; empty where there is none."""
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def usage_object(raw: bytes) -> dict[str, Any] | None:
    """The token counts in the JSON of a `usage`; None where it is no object, or too long to be one."""
    try:
        usage = msgspec.json.decode(raw) if len(raw) <= USAGE_BYTES else None
    except MALFORMED:
        return None
    return usage if isinstance(usage, dict) else None
