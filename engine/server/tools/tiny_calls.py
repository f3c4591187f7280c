"""Calls that the tiny model is told to make (`--tiny-tool-calls`): it has nothing to say, and would never call a tool.

Its tokens are drawn as ever, under a grammar of calls, so a client sees what it would of a model that knows tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from msgspec.structs import replace

from ...protocol.chat import ChatCompletionRequest
from ...protocol.conversation import FunctionDefinition

_MOST_CALLS = 3
_MOST_CHARACTERS = 12
_MOST_ITEMS = 3
_SPAN = 1000
"""Of numbers without bounds of their own."""
_SAYS_WHAT = frozenset({"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "properties", "items"})
"""Keywords that say what a value is."""
_MIXED = frozenset({"$ref", "anyOf", "oneOf", "allOf", "patternProperties", "minProperties"})
"""Keywords by which an object needs properties that its own list does not show."""


def is_time_to_call(body: ChatCompletionRequest) -> bool:
    """Whether the user spoke last. What a tool answered is followed by text, so that an agent's loop ends."""
    roles = {message.role for message in takewhile(lambda message: message.role != "assistant", body.messages[::-1])}
    return bool(body.tools) and body.tool_choice != "none" and "user" in roles and "tool" not in roles


def is_free_text(body: ChatCompletionRequest) -> bool:
    """Whether an answer beside tools may be any text, of any length: noise might not end before the context does."""
    is_bounded = body.max_tokens or body.max_completion_tokens or body.min_tokens or body.ignore_eos
    return bool(body.tools) and body.response_format is None and not is_bounded


def num_calls(body: ChatCompletionRequest) -> tuple[int, int]:
    """How many calls an answer makes, at least and at most: several for sure if the request asks for that."""
    return {None: (1, _MOST_CALLS), True: (2, _MOST_CALLS), False: (1, 1)}[body.parallel_tool_calls]


def with_small_arguments(function: FunctionDefinition) -> FunctionDefinition:
    """The same function, taking only short arguments: noise under a schema without bounds would go on and on.

    A schema that is none stays as it is, for the grammar to refuse.
    """
    try:
        return replace(function, parameters=_small({"type": "object", **(function.parameters or {})}))
    except TypeError:
        return function


def _small(schema: Any, *, is_whole: bool = True) -> Any:
    """A schema for some of the values of another, bounded wherever that is not.

    Args:
        schema: The other.
        is_whole: All properties of an object are listed here, so that no others are needed.
    """
    if not isinstance(schema, Mapping):
        return _short_text({"type": "string"}) if schema is True else schema
    small = dict(schema)
    if not _SAYS_WHAT & small.keys():
        small["type"] = "string"
    for name in ("properties", "$defs", "definitions"):
        if isinstance(small.get(name), Mapping):
            small[name] = {key: _small(value) for key, value in small[name].items()}
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(small.get(name), list):
            small[name] = [_small(part, is_whole=name == "prefixItems") for part in small[name]]
    types = small.get("type", "object" if "properties" in small else ())
    types = [types] if isinstance(types, str) else types
    if "string" in types:
        small = _short_text(small)
    if "array" in types:
        small["items"] = _small(small.get("items", {}))
        small.setdefault("maxItems", max(small.get("minItems", 0), len(small.get("prefixItems", ())), _MOST_ITEMS))
    if {"number", "integer"} & {*types}:
        _bound(small)
    if "object" in types and is_whole and not _MIXED & small.keys():
        _close(small)
    return small


def _close(schema: dict[str, Any]) -> None:
    """Give an object the properties that it lists and needs, and no others."""
    others = schema.get("additionalProperties", True)
    missing = {name: _small(others) for name in schema.get("required", ()) if name not in schema.get("properties", ())}
    schema["properties"] = {**schema.get("properties", {}), **missing}
    schema["additionalProperties"] = False


def _short_text(schema: dict[str, Any]) -> dict[str, Any]:
    if {"maxLength", "pattern", "format", "enum", "const"} & schema.keys():
        return schema
    return {**schema, "maxLength": max(schema.get("minLength", 0), _MOST_CHARACTERS)}


def _bound(schema: dict[str, Any]) -> None:
    """Give a number both bounds, where it has no other reason to be short."""
    if {"enum", "const", "multipleOf"} & schema.keys():
        return
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    if most is None:
        schema["maximum"] = (0 if least is None else least) + _SPAN
    if least is None:
        schema["minimum"] = (0 if most is None else most) - _SPAN
