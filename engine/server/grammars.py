"""What an answer is to keep to, as a grammar that is known to compile."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import RequestError, UnsupportedError
from ..hosting.child_process import environment_of_children
from ..loop.messages import Ready
from ..protocol.conversation import FunctionDefinition
from ..protocol.fields import ResponseFormat
from .front.json_bodies import shortened
from .tools.forced import call_grammar
from .tools.formats import ToolFormat

CHECK_CPU_S = 3
"""To compile a grammar. The largest schemas that are taken need half of it."""
_WALL_S = 20.0
_MOST_AT_ONCE = 2
_MOST_REMEMBERED = 256
_MOST_GRAMMAR_CHARACTERS = 1 << 17
"""Some thousands of properties, as in OpenAI's API."""


class Grammars:
    """Makes grammars, and checks each of them once.

    Args:
        has_vocabulary: The engine knows the text of its tokens (`EngineClient.learn_vocabulary`).
        check_cpu_s: What compiling one may take.
    """

    def __init__(self, *, has_vocabulary: bool = False, check_cpu_s: int = CHECK_CPU_S) -> None:
        self._check_cpu_s = check_cpu_s
        self.has_vocabulary = has_vocabulary
        self._failures: OrderedDict[str, str] = OrderedDict()
        """By grammar; empty for those that compile."""
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)

    async def grammar_of(self, wanted: ResponseFormat | None, ready: Ready) -> str:
        """The grammar of a `response_format`; empty if any text will do.

        Raises:
            RequestError: its schema is invalid, or costs too much.
            UnsupportedError: it is of another type, or the device draws no tokens.
        """
        schema = _schema(wanted)
        return "" if schema is None else await self._checked(lambda: _json_grammar(schema), "response_format", ready)

    async def grammar_of_call(
        self,
        tools: ToolFormat,
        functions: Sequence[FunctionDefinition],
        tokens: Mapping[int, str],
        ready: Ready,
        *,
        num_calls: tuple[int, int] = (1, 1),
    ) -> str:
        """The grammar of an answer that calls these functions (see `call_grammar`).

        Raises:
            RequestError: the schema of one is invalid, or costs too much.
            UnsupportedError: the device draws no tokens, or calls are not told from text.
        """
        if not tools.markers:
            raise UnsupportedError("tool_choice needs a --tool-format other than none", param="tool_choice")
        return await self._checked(lambda: _call_grammar(tools, functions, tokens, num_calls), "tool_choice", ready)

    async def grammar_of_short_text(self, ready: Ready) -> str:
        """The grammar of a line of text that ends soon, whatever the model would rather do.

        Raises:
            UnsupportedError: the device draws no tokens.
        """
        return await self._checked(_short_text_grammar, "tools", ready)

    async def _checked(self, make: Callable[[], str], param: str, ready: Ready) -> str:
        if not self.has_vocabulary:
            why = (
                "a simulated device writes letters" if ready.simulated else "the tokenizer does not say what tokens are"
            )
            raise UnsupportedError(f"this {param} is not supported: {why}", param=param)
        try:
            grammar = make()
            if len(grammar) > _MOST_GRAMMAR_CHARACTERS:
                raise ValueError(f"it has more than {_MOST_GRAMMAR_CHARACTERS} characters")
            await self._check(grammar)
        except ValueError as error:
            raise RequestError(f"{param}: {shortened(str(error))}", param=param) from error
        return grammar

    async def _check(self, grammar: str) -> None:
        """Wait until it is known that the grammar compiles: a tenth of a second, the first time."""
        if grammar not in self._failures:
            async with self._turns:
                failure = await _failure(grammar, self._check_cpu_s)
            self._failures[grammar] = failure
            while len(self._failures) > _MOST_REMEMBERED:
                self._failures.popitem(last=False)
        self._failures.move_to_end(grammar)
        if failure := self._failures[grammar]:
            raise ValueError(failure)


async def _failure(grammar: str, cpu_s: int) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "abatch.engine.models.grammars.check", str(cpu_s)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment_of_children(),
        start_new_session=True,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(grammar.encode()), _WALL_S)
    except TimeoutError:
        said = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        return "it takes too much time or memory to compile"
    return " ".join(said.decode(errors="replace").split())[:300]


def _schema(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    """The JSON schema that a `response_format` asks for; None if any text will do.

    Raises:
        RequestError: it asks for a schema and has none.
        UnsupportedError: it is of another type.
    """
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.type != "json_schema":
        raise UnsupportedError(
            f"response_format of type {wanted.type!r} is not supported; text, json_object and json_schema are",
            param="response_format",
        )
    if wanted.json_schema is None or wanted.json_schema.schema is None:
        raise RequestError("response_format of type 'json_schema' needs json_schema.schema", param="response_format")
    return wanted.json_schema.schema


def _json_grammar(schema: dict[str, Any]) -> str:
    from ..models.grammars.grammar import json_grammar  # llguidance: only where it is used

    return json_grammar(schema)


def _short_text_grammar() -> str:
    from ..models.grammars.grammar import lark_grammar

    return lark_grammar("start: /[ -~]{3,200}/")


def _call_grammar(
    tools: ToolFormat, functions: Sequence[FunctionDefinition], tokens: Mapping[int, str], num_calls: tuple[int, int]
) -> str:
    from ..models.grammars.grammar import JSON_OPTIONS, lark_grammar

    return lark_grammar(call_grammar(tools, functions, tokens, JSON_OPTIONS, num_calls=num_calls))
