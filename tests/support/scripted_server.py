"""The application of `abatch serve` in this process, with a model that says what a test tells it to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from abatch.engine.errors import EngineDeadError
from abatch.engine.loop.stats import EngineStats
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer
from abatch.engine.request import FinishReason, SamplingParams, check_length
from abatch.engine.server.app import make_app
from abatch.engine.server.front.cross_origin import CrossOrigin
from abatch.engine.server.generation import TextDelta, TextGenerator
from abatch.engine.server.metrics import ServerMetrics
from abatch.engine.server.state import ServerState
from aiohttp import web
from aiohttp.test_utils import TestServer

from support.engines import make_ready

CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'


@dataclass(slots=True)
class Script:
    """What the model says, some characters at a time, and what it was asked.

    Attributes:
        said: All of it.
        finish_reason: How it ends.
        stop_string: That ended it.
        num_cached_tokens: Of the prompt.
        dies_after: The engine dies after so many deltas.
        refuses: What requests are refused with, one after the other, before they begin.
        prompts: Of the requests so far.
        sampling: Of the last one.
        told_tools: What sessions were said to wait for.
    """

    said: str = "Hello, world."
    finish_reason: FinishReason = FinishReason.STOP
    stop_string: str | None = None
    num_cached_tokens: int = 3
    dies_after: int | None = None
    refuses: list[Exception] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    sampling: SamplingParams | None = None
    told_tools: list[tuple[str, str | None]] = field(default_factory=list)


class ScriptedGenerator(TextGenerator):
    """Reads prompts as a real one does, and answers by its script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._ready = make_ready(max_model_len=2000)
        engine = SimpleNamespace(
            ready=self._ready,
            check=self._check,
            tell=lambda session_id, *, tool: script.told_tools.append((session_id, tool)),
            is_alive=True,
            is_responding=True,
            stats=EngineStats(),
        )
        super().__init__(engine, ChatTokenizer(tiny_tokenizer()))  # type: ignore[arg-type]

    def _check(self, prompt_ids: list[int], sampling: SamplingParams, *_: Any, **__: Any) -> None:
        if self._script.refuses:
            raise self._script.refuses.pop(0)
        check_length(len(prompt_ids), sampling.max_tokens, self._ready.max_model_len)

    async def stream(  # type: ignore[override]
        self, prompt_ids: list[int], sampling: SamplingParams, *_: Any, **__: Any
    ) -> AsyncIterator[TextDelta]:
        script = self._script
        script.prompts.append(self.tokenizer.decode(prompt_ids, skip_special_tokens=False))
        script.sampling = sampling
        for number, start in enumerate(range(0, len(script.said), 7)):
            if number == script.dies_after:
                raise EngineDeadError("the engine process ended unexpectedly (exit code -9)")
            yield TextDelta(script.said[start : start + 7], 1, num_cached_tokens=script.num_cached_tokens)
        yield TextDelta(
            "",
            1,
            finish_reason=script.finish_reason,
            num_cached_tokens=script.num_cached_tokens,
            stop_string=script.stop_string,
        )


@asynccontextmanager
async def scripted_server(
    script: Script,
    *,
    model_name: str = "scripted",
    api_key: str | None = None,
    max_body_bytes: int = 1 << 20,
    origins: tuple[str, ...] = (),
) -> AsyncIterator[TestServer]:
    """Serve the script while the context is open."""
    app = scripted_app(
        ScriptedGenerator(script),
        model_name=model_name,
        api_key=api_key,
        max_body_bytes=max_body_bytes,
        cross_origin=CrossOrigin(origins) if origins else None,
    )
    server = TestServer(app)
    async with server:
        yield server


def scripted_app(generator: ScriptedGenerator, *, model_name: str = "scripted", **options: Any) -> web.Application:
    """The application, with the options of `make_app`."""
    metrics = ServerMetrics(generator.engine.ready, EngineStats, lambda: True)
    state = ServerState(generator, model_name, metrics)
    return make_app(state, **({"api_key": None, "max_body_bytes": 1 << 20} | options))
