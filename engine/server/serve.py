"""A server's life: load, listen, drain, end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..config import EngineConfig
from ..errors import ConfigurationError, EngineDeadError
from ..hosting.descriptors import most_descriptors
from ..hosting.engine_client import EngineClient
from ..loop.messages import Ready
from .app import make_app
from .front.cross_origin import CrossOrigin
from .front.listening import Listening, base_url, is_local
from .front.serving import serving
from .generation import TextGenerator
from .metrics import ServerMetrics
from .state import ServerState
from .tools.formats import ToolFormatName, tool_format_named

if TYPE_CHECKING:
    from ..models.tokenizer import ChatTokenizer

_log = logging.getLogger("abatch.server")
_SWITCH_INTERVAL_S = 0.0005
"""For how long a thread with a large request keeps the interpreter's lock when the event loop wants it. The loop asks
again after each write to a client, and Python's default of 5 ms would add up to a stall where there are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How the API is served.

    Attributes:
        listening: Where, and when it stops.
        api_key: What clients must send. None: anyone may use the server, which is refused where others than this
            machine could, unless `is_open` says that it is meant.
        tool_format: How the model calls tools; `auto` goes by its chat template.
        tiny_tool_calls: Have the tiny model call the tools that a request brings.
        drain_timeout_s: How long a shutdown waits for what was accepted.
        cross_origin: Which web pages may call it. None: none.
    """

    listening: Listening = field(default_factory=Listening)
    api_key: str | None = None
    is_open: bool = False
    served_model_name: str | None = None
    tool_format: ToolFormatName = "auto"
    tiny_tool_calls: bool = False
    max_body_bytes: int = 4 << 20
    drain_timeout_s: float = 30.0
    cross_origin: CrossOrigin | None = None


async def serve(engine_config: EngineConfig, config: ServerConfig, on_ready: Callable[[str, Ready], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then finish what was accepted. A second signal ends at once.

    Args:
        engine_config: What to serve.
        config: How to serve it.
        on_ready: Called with the base URL and the engine's facts once requests can be taken.

    Raises:
        ConfigurationError: the model or the address cannot be used.
        EngineDeadError: the engine died. By then everything pending on it had been answered with an error, and
            /health had been red, until the server was stopped.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # Bound before the model is loaded: a port in use shows at once.
    with most_descriptors(), config.listening.bind() as listener:
        if config.api_key is None and not config.is_open and not is_local(listener):
            raise ConfigurationError(
                f"{base_url(listener)} can be reached from other machines: set ABATCH_API_KEY or give --api-key-file, "
                "or let anyone in with --no-auth"
            )
        await _serve(listener, engine_config, config, on_ready)


async def _serve(
    listener: socket.socket,
    engine_config: EngineConfig,
    config: ServerConfig,
    on_ready: Callable[[str, Ready], None],
) -> None:
    stop = config.listening.stop_event()
    # In a thread, while the engine's process imports torch and loads the model.
    loading = asyncio.create_task(asyncio.to_thread(_load_tokenizer, engine_config))
    # Where the engine cannot start either, its reason is the one to report; mark this one as retrieved.
    loading.add_done_callback(lambda task: task.cancelled() or task.exception())
    engine = await _start_unless(stop, EngineClient.start(engine_config))
    if engine is None:
        return
    try:
        tokenizer = await loading
        # As in the engine: a full collection would look at every object of the tokenizer's library.
        gc.collect()
        gc.freeze()
        metrics = ServerMetrics(engine.ready, lambda: engine.stats, lambda: engine.is_alive)
        name = config.served_model_name or engine_config.model
        tools = tool_format_named(config.tool_format, tokenizer.template)
        generator = TextGenerator(engine, tokenizer)
        vocabulary = None if engine.ready.simulated else tokenizer.vocabulary()
        if vocabulary is not None and generator.eos_token_ids:
            await engine.learn_vocabulary(vocabulary, sorted(generator.eos_token_ids))
        has_vocabulary = vocabulary is not None and bool(generator.eos_token_ids)
        state = ServerState(
            generator,
            name,
            metrics,
            tool_format=tools,
            has_vocabulary=has_vocabulary,
            tiny_tool_calls=config.tiny_tool_calls,
        )
        app = make_app(
            state,
            api_key=config.api_key,
            max_body_bytes=config.max_body_bytes,
            cross_origin=config.cross_origin,
        )
        async with serving(app, listener, _log, shutdown_timeout_s=1.0):
            on_ready(base_url(listener), engine.ready)
            await stop.wait()
            engine_died = not engine.is_alive
            await _drain(state, config.drain_timeout_s, stop)
            # Before the connections go: what is still pending is answered with an error, not with silence.
            await engine.close()
        if engine_died:
            raise EngineDeadError("stopped, after the engine process had died")
    finally:
        await engine.close()


def _load_tokenizer(config: EngineConfig) -> ChatTokenizer:
    from ..models.tokenizer import load_tokenizer  # transformers: a second or two, of which nothing else here needs any

    model = "tiny" if config.is_simulated else config.model  # a shape has no tokenizer, and its output is letters
    return load_tokenizer(model, config.tokenizer, load_format=config.load_format)


async def _start_unless(stop: asyncio.Event, starting: Coroutine[Any, Any, EngineClient]) -> EngineClient | None:
    """The engine, or None if the server was told to stop while the model was loading."""
    start, stopped = asyncio.ensure_future(starting), asyncio.create_task(stop.wait())
    await asyncio.wait({start, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not start.done():
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start
        return None
    return start.result()


async def _drain(state: ServerState, timeout_s: float, stop: asyncio.Event) -> None:
    """Refuse what is new, wait for what was accepted; leave early when told to stop again."""
    state.is_draining = True
    engine = state.generator.engine
    if engine.num_pending:
        _log.info("draining: %d requests to finish, at most %g s", engine.num_pending, timeout_s)
    stop.clear()
    drained, stopped = asyncio.create_task(engine.drain(timeout_s)), asyncio.create_task(stop.wait())
    await asyncio.wait({drained, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not (drained.done() and drained.result()):
        drained.cancel()
        _log.warning("stopped with %d requests unfinished", engine.num_pending)
