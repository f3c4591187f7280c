"""Fields of JSON as servers fill them in, whatever is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_NOTHING = frozenset((b"null", b"[]", b"{}", b'""', b"false", b"0", b"[null]"))


def says_something(raw: msgspec.Raw) -> bool:
    """Whether a field is there with more in it than servers write where they mean nothing."""
    return bool(raw) and bytes(raw) not in _NOTHING


def nested(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object in a field; empty where there is none."""
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}
