"""What the handlers of a server share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from aiohttp import web

from ..errors import ContextLengthError, DrainingError, RequestError
from ..protocol.fields import CommonFields
from .front.json_bodies import aside
from .generation import TextGenerator
from .grammars import Grammars
from .metrics import ServerMetrics
from .tools.formats import HERMES, ToolFormat

_T = TypeVar("_T")


class ServerState:
    """One served model and whether it still takes requests."""

    def __init__(
        self,
        generator: TextGenerator,
        model_name: str,
        metrics: ServerMetrics,
        *,
        tool_format: ToolFormat | None = HERMES,
        has_vocabulary: bool = False,
        tiny_tool_calls: bool = False,
    ) -> None:
        """See `tool_format` and `tiny_tool_calls`, and `Grammars` for `has_vocabulary`."""
        self.generator = generator
        self.model_name = model_name
        self.metrics = metrics
        self.grammars = Grammars(has_vocabulary=has_vocabulary)
        self.tool_format = tool_format
        """How the model calls tools; None if that is unknown."""
        self.tiny_tool_calls = tiny_tool_calls
        """The model calls tools because it is told to (`tools/tiny_calls.py`)."""
        self.created = int(time.time())
        self.is_draining = False

    def check_request(self, body: CommonFields) -> None:
        """Refuse what can be refused without looking at the prompt.

        Raises:
            DrainingError: the server is shutting down (503).
            RequestError: it names another model (404).
        """
        if self.is_draining:
            raise DrainingError("the server is shutting down and takes no new requests")
        self.check_model(body.model)

    async def tokenize(self, num_bytes: int, num_characters: Sequence[int], encode: Callable[[], _T]) -> _T:
        """Call `encode`, in a thread if the body is large.

        Args:
            num_bytes: Of the body.
            num_characters: Of each prompt in it.
            encode: Makes tokens of the prompts.

        Raises:
            ContextLengthError: this much text cannot fit the context, which shows without tokenizing it.
            RequestError: tools or arguments are nested too deeply.
        """
        ready = self.generator.engine.ready
        least = self.generator.tokenizer.least_tokens(max(num_characters, default=0))
        if least > ready.max_model_len:
            raise ContextLengthError(
                f"the request has at least {least} tokens, but the context is {ready.max_model_len} tokens"
            )
        return await self.prepare(num_bytes, encode)

    async def prepare(self, num_bytes: int, work: Callable[[], _T]) -> _T:
        """The result of `work` on a request, done in a thread if its body is large.

        Raises:
            RequestError: tools or arguments are nested too deeply.
        """
        try:
            return await aside(num_bytes, work)
        except RecursionError:
            raise RequestError("tools or arguments of tool calls are nested too deeply", param="messages") from None

    def check_model(self, name: str | None) -> None:
        """Raise `RequestError` (404) unless `name` is the served model or left out."""
        if name is not None and name != self.model_name:
            raise RequestError(
                f"the model {name!r} is not served here; this server has {self.model_name!r}",
                param="model",
                status=404,
                code="model_not_found",
            )


STATE: web.AppKey[ServerState] = web.AppKey("state", ServerState)
