"""Mistral's formats: `[TOOL_CALLS] [{"name": ..., "arguments": {...}}]`, and lately `[TOOL_CALLS]name[ARGS]{...}`."""

from __future__ import annotations

import re
import secrets
import string

from .calls import ParsedToolCall, decode_calls, named_call
from .marked import JsonExtent, MarkedCallParser

_TAG = "[TOOL_CALLS]"
MARKERS = (_TAG, "[CALL_ID]", "[ARGS]")
_LONGEST_NAME = 512
"""Characters between the tag and the arguments, spaces and the call's own id included. More is no call."""
_NAMED = re.compile(r"\s*([^\s\[{]+)\s*(?:\[CALL_ID\][^\[{]*)?(?:\[ARGS\])?\s*(\{.*)", re.DOTALL)
_ID_CHARACTERS = string.ascii_letters + string.digits


def mistral_parser() -> MarkedCallParser:
    """Of one answer."""
    return MarkedCallParser(_TAG, _ListedOrNamedExtent, _parse)


def mistral_call_id() -> str:
    """Nine letters and digits: Mistral's templates refuse others."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(9))


class _ListedOrNamedExtent:
    """The tag and a JSON value, with a name between them or without."""

    def __init__(self) -> None:
        self._json: JsonExtent | None = None
        self._num_skipped = -len(_TAG)
        self._has_name = False

    def end(self, text: str, position: int) -> int | None:
        """See `Extent.end`."""
        if self._json is None:
            while position < len(text):
                character = text[position]
                if self._num_skipped >= 0:
                    if character == "{" or (character == "[" and not self._has_name):
                        break
                    self._has_name = self._has_name or not character.isspace()
                self._num_skipped += 1
                position += 1
                if self._num_skipped > _LONGEST_NAME:
                    return position
            else:
                return None
            self._json = JsonExtent()
        return self._json.end(text, position)


def _parse(whole: str) -> list[ParsedToolCall] | None:
    body = whole.removeprefix(_TAG)
    if body.lstrip()[:1] in ("[", "{"):
        return decode_calls(body)
    match = _NAMED.fullmatch(body)
    if match is None:
        return None
    call = named_call(match[1], match[2])
    return None if call is None else [call]
