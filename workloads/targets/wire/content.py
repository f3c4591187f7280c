"""Content in the shapes that servers give it: text, typed parts, and parts of parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .api import Piece

_DEEPEST = 4
"""A list of parts that hold lists of parts, as Mistral's thinking does."""
_REASONING_FIELDS = ("thinking", "reasoning", "reasoning_content", "summary")
_TEXT_FIELDS = ("text", "content", "output_text")
_WITHOUT_TEXT = frozenset(
    "audio encrypted file image image_url input_audio reasoning.encrypted redacted_thinking reference refusal resource "
    "signature tool_call tool_reference tool_use".split()
)
"""Types of parts that have no text of the answer."""


def add_content(piece: Piece, value: Any, *, is_reasoning: bool = False) -> None:
    """Add content to a piece, whatever its shape. What may hold text and cannot be read puts the piece in doubt."""
    _add(piece, value, is_reasoning, 0)


def _add(piece: Piece, value: Any, is_reasoning: bool, depth: int) -> None:
    if isinstance(value, str):
        if is_reasoning:
            piece.reasoning += value
        else:
            piece.text += value
    elif isinstance(value, list | Mapping) and depth == _DEEPEST:
        piece.is_in_doubt = True
    elif isinstance(value, list):
        for part in value:
            _add(piece, part, is_reasoning, depth + 1)
    elif isinstance(value, Mapping):
        _add_part(piece, value, is_reasoning, depth + 1)
    elif value is not None:
        piece.is_in_doubt = True


def _add_part(piece: Piece, part: Mapping[str, Any], is_reasoning: bool, depth: int) -> None:
    kind = part.get("type")
    is_reasoning = is_reasoning or (isinstance(kind, str) and kind.startswith(("thinking", "reasoning", "summary")))
    for name in _TEXT_FIELDS:
        if name in part:
            _add(piece, part[name], is_reasoning, depth)
            return
    for name in _REASONING_FIELDS:
        if name in part:
            _add(piece, part[name], True, depth)
            return
    if isinstance(kind, str) and kind in _WITHOUT_TEXT:
        piece.num_other_chars += sum(len(value) for value in part.values() if isinstance(value, str)) - len(kind)
    elif part and {*part} != {"type"}:
        piece.is_in_doubt = True
