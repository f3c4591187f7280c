"""The formats of tool calls that there are, and which of them a model's chat template shows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from . import hermes, llama3, mistral
from .calls import ParsedToolCall, ToolCallParser

ToolFormatName = Literal["auto", "hermes", "llama3", "mistral", "none"]


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How a model calls tools.

    Attributes:
        name: As in `--tool-format`.
        parser: Makes a parser of one answer's text.
        markers: What the parser looks for. A tokenizer may have special tokens for it, which it skips otherwise.
        begins: What a call begins with.
        arguments_key: Its word for arguments.
        ends: What a call ends with.
        call_id: Makes an id that the model's chat template takes back.
    """

    name: str
    parser: Callable[[], ToolCallParser]
    markers: tuple[str, ...]
    begins: tuple[str, ...] = ()
    arguments_key: str = "arguments"
    ends: tuple[str, ...] = ()
    call_id: Callable[[], str] = _call_id


class _PlainParser:
    """Leaves everything text. See `ToolCallParser`."""

    num_calls = 0

    def add(self, text: str) -> tuple[str, list[ParsedToolCall]]:
        """See `ToolCallParser.add`."""
        return text, []

    def flush(self) -> tuple[str, list[ParsedToolCall]]:
        """See `ToolCallParser.flush`."""
        return "", []


HERMES = ToolFormat(
    "hermes", hermes.hermes_parser, hermes.MARKERS, begins=("<tool_call>", "\n"), ends=("\n", "</tool_call>")
)
LLAMA3 = ToolFormat("llama3", llama3.llama3_parser, llama3.MARKERS, arguments_key="parameters")
MISTRAL = ToolFormat(
    "mistral",
    mistral.mistral_parser,
    mistral.MARKERS,
    begins=("[TOOL_CALLS]", "["),
    ends=("]",),
    call_id=mistral.mistral_call_id,
)
_NONE = ToolFormat("none", _PlainParser, ())
_FORMATS = {each.name: each for each in (HERMES, LLAMA3, MISTRAL, _NONE)}


def tool_format_named(name: ToolFormatName, template: str) -> ToolFormat | None:
    """The format that was asked for; `auto` is that of the model's chat template, None if it is none of ours."""
    return tool_format_of(template) if name == "auto" else _FORMATS[name]


def tool_format_of(template: str) -> ToolFormat | None:
    """The format that a chat template writes earlier calls in, which the model was taught; None if it is none of ours.

    Some put another language than JSON between the tags of Hermes, such as Qwen3-Coder and GLM.
    """
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<tool_call>" in template:
        return None if "<function=" in template or "<arg_key>" in template else HERMES
    # Llama 3.2 knows no tag, but writes `'"parameters": '` behind the name.
    if "<|python_tag|>" in template or ("<|start_header_id|>" in template and '"parameters": ' in template):
        return LLAMA3
    return None
