"""Answers that are a call of a tool, whatever the model would rather say: a `tool_choice` that names one, or any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import RequestError, UnsupportedError
from ...protocol.chat import ChatCompletionRequest
from ...protocol.conversation import FunctionDefinition
from .formats import ToolFormat


def forced_functions(body: ChatCompletionRequest) -> list[FunctionDefinition] | None:
    """Those of which the answer must call one; None if it may say what it likes.

    Raises:
        RequestError: there is no such function; `UnsupportedError` for choices of other kinds.
    """
    choice = body.tool_choice
    if choice in (None, "auto", "none"):
        return None
    functions = [tool.function for tool in body.tools or ()]
    if isinstance(choice, dict) and choice.get("type") == "function" and isinstance(choice.get("function"), dict):
        name = choice["function"].get("name")
        functions = [function for function in functions if function.name == name]
    elif choice != "required":
        raise UnsupportedError(
            "tool_choice is auto, none, required, or a function by its name; others are not supported",
            param="tool_choice",
        )
    if not functions:
        raise RequestError("tool_choice wants a function that is not among the tools", param="tool_choice")
    return functions


def call_grammar(
    tools: ToolFormat,
    functions: Sequence[FunctionDefinition],
    tokens: Mapping[int, str],
    options: Mapping[str, Any],
    *,
    num_calls: tuple[int, int] = (1, 1),
) -> str:
    """The grammar of calls of these functions, in the syntax of Lark, as llguidance extends it.

    Args:
        tools: How the model writes it.
        functions: Any of these.
        tokens: Texts that are a token of their own, by its id.
        options: Of llguidance, for the JSON of the arguments.
        num_calls: That the answer makes, at least and at most.
    """
    ids = {text: token for token, text in tokens.items()}
    rules = []
    for number, function in enumerate(functions):
        head = f'{{"name": {json.dumps(function.name)}, "{tools.arguments_key}": '
        schema = {"type": "object", **(function.parameters or {}), "x-guidance": options}
        rules.append(f'call_{number}: {json.dumps(head)} arguments_{number} "}}"')
        rules.append(f"arguments_{number}: %json {json.dumps(schema)}")

    def written(texts: Sequence[str]) -> str:
        return " ".join(f"<[{ids[text]}]>" if text in ids else json.dumps(text) for text in texts)

    calls = " | ".join(f"call_{number}" for number in range(len(functions)))
    one = f"{written(tools.begins)} ({calls}) {written(tools.ends)}"
    least, most = num_calls
    return "\n".join([f"start: call{{{least},{most}}}", f"call: {one}", *rules])
