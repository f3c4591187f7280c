"""Fields that the user adds to every request."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from ...engine.errors import ConfigurationError
from ...workloads.regular_file import read_regular

_MOST_BYTES = 1 << 20
_OF_OTHERS = {
    "model": "give --model",
    "messages": "the workload says what is sent",
    "prompt": "the workload says what is sent",
    "input": "the workload says what is sent",
}
"""Fields that reports rely on."""
_FIELD = re.compile(r"[A-Za-z_]\w{0,63}")


def parse_extra_body(text: str) -> dict[str, Any]:
    """A JSON object, or `@` and the file that holds one.

    Raises:
        ConfigurationError: it is none, the file cannot be read, or a field of it is set by something else.
    """
    raw, source = text.encode(errors="replace"), "--extra-body"
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        source = f"--extra-body {path}"
        try:
            raw = read_regular(path, _MOST_BYTES)
        except OSError as error:
            raise ConfigurationError(f"cannot read {source}: {error.strerror}") from None
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{source} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ConfigurationError(f"{source} must be a JSON object, such as '{{\"top_k\": 1}}'")
    for field, advice in _OF_OTHERS.items():
        if field in body:
            raise ConfigurationError(f"{source} cannot set {field}: {advice}")
    return body


def checked_field(name: str) -> str:
    """The name of a field.

    Raises:
        ConfigurationError: no field is called like that.
    """
    if not _FIELD.fullmatch(name):
        raise ConfigurationError(f"--max-tokens-field {name!r} is no name of a field, such as max_completion_tokens")
    return name
