"""The formats of tool calls that there are."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from .calls import ToolCallParser
from .hermes import HermesParser


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How a model calls tools.

    Attributes:
        name: As in `--tool-format`.
        parser: Makes a parser of one answer's text.
        call_id: Makes an id that the model's chat template takes back.
    """

    name: str
    parser: Callable[[], ToolCallParser]
    call_id: Callable[[], str] = _call_id


HERMES = ToolFormat("hermes", HermesParser)
