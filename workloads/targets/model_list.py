"""Lists of models, as servers of all kinds give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_LISTS = ("data", "models")
"""Where they are: OpenAI's and everybody's; Ollama's own, which llama.cpp's server has beside the other."""
_NAMES = ("id", "model", "name")


def model_names(body: bytes) -> Sequence[str]:
    """The names in a list of models, in its order. Nothing else in it matters, whatever it is.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is no such list.
    """
    answer = msgspec.json.decode(body)
    if isinstance(answer, Mapping):
        lists = [answer[key] for key in _LISTS if key in answer]
        # Go writes an empty list as null: Ollama does, as long as it has no model.
        found = next((value for value in lists if isinstance(value, list)), [] if None in lists else None)
    else:
        found = answer
    if not isinstance(found, list):
        raise msgspec.ValidationError("there is no list `data` in it")
    names = [name for model in found if (name := _name(model))]
    if found and not names:
        raise msgspec.ValidationError("none of its models has an `id`")
    return names


def _name(model: Any) -> str | None:
    if isinstance(model, str):
        return model
    if not isinstance(model, Mapping):
        return None
    return next((name for key in _NAMES if isinstance(name := model.get(key), str) and name), None)
