"""Counts of several recorders, added up."""

from __future__ import annotations

from typing import Any

import msgspec


def summed_fields(one: msgspec.Struct, other: msgspec.Struct) -> dict[str, Any]:
    """Each field of two structs of the same kind, added up; counts by class, class by class."""
    return {name: _sum(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__}


def _sum(one: Any, other: Any) -> Any:
    if not isinstance(one, dict):
        return one + other
    return {name: one.get(name, 0) + other.get(name, 0) for name in one | other}
