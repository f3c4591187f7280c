"""`abatch serve`."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...engine.config import parse_bytes
from ...engine.errors import ConfigurationError
from ...engine.models.source import check_sources
from ...engine.server.front.listening import Listening
from ...engine.server.tools.formats import ToolFormatName
from ...engine.simulation.device_profile import is_simulated
from ...reports.renderings.terminal import terminal
from ..measuring.own_engine import default_model, require_engine
from ..naming.bare_words import model_to_serve, read_bare_words
from ..options.api_key import KEY_VARIABLE, find_api_key
from ..options.applies import refuse, refuse_of_engine
from ..options.engine import EngineOptions
from ..options.groups import given, with_options
from ..options.situations import Situation
from ..options.times import time_option

if TYPE_CHECKING:
    from ...engine.loop.messages import Ready


@with_options
def serve(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Short for --model.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="tiny (made in code, no download), a Hugging Face id, a folder, or a .gguf file. For a simulated "
            "device, or with --load-format dummy, a shape: llama-3.1-8b, llama-3.1-70b, qwen3-30b-a3b, smollm2-135m, "
            "or a config.json. Default: tiny; of a simulated device llama-3.1-8b.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8000,
    fd: Annotated[int | None, typer.Option(help="Use this listening socket, inherited from the parent.")] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar=KEY_VARIABLE, help="Key that clients must send.", show_envvar=True)
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with that key as its only line, which keeps it off the command line.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let anyone in, also from other machines, where --host lets them connect.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let web pages of this origin, such as https://example.org, call the server from a browser; * is all "
            "of them. Repeatable. Default: none.",
        ),
    ] = None,
    served_model_name: Annotated[str | None, typer.Option(help="Name in the API. Default: that of --model.")] = None,
    tool_format: Annotated[
        ToolFormatName,
        typer.Option(help="How the model writes tool calls. auto goes by its chat template; none leaves them as text."),
    ] = "auto",
    tiny_tool_calls: Annotated[
        bool,
        typer.Option(
            "--tiny-tool-calls",
            help="Have the tiny model call the tools that a request brings, with arguments that fit, to try tool calls "
            "without a download.",
        ),
    ] = False,
    max_body: Annotated[str, typer.Option(help="Largest request body.")] = "4MiB",
    drain_timeout: Annotated[
        float, time_option("--drain-timeout", "--drain", help="For requests to finish after SIGTERM. Default: 30s.")
    ] = 30.0,
    step_log: Annotated[Path | None, typer.Option(help="Log every step of the engine to this new file.")] = None,
    exit_on_eof: Annotated[bool, typer.Option(hidden=True, help="Shut down when standard input ends.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of random weights, and of requests that bring none.")] = 0,
    *,
    engine: EngineOptions,
) -> None:
    """Serve a model behind OpenAI's APIs (chat completions, completions, Responses) and Anthropic's Messages API.

    Listens on this machine only unless --host says otherwise, and then wants an API key or --no-auth. SIGTERM or Ctrl-C
    finishes what was accepted, then exits 0.
    """
    model = model_to_serve(read_bare_words(context, words), model)
    if not is_simulated(engine.device):
        refuse(Situation.REAL_DEVICE, given(engine))
    refuse_of_engine(engine)
    require_engine()
    from ...engine.server.front.cross_origin import CrossOrigin
    from ...engine.server.serve import ServerConfig
    from ...engine.server.serve import serve as run_server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    console = terminal(stderr=True, soft_wrap=True)
    model = model or default_model(engine.device)
    config = engine.config(model, seed, step_log=str(step_log) if step_log else None)
    if not config.is_simulated:
        check_sources(config)
    if tiny_tool_calls and (model != "tiny" or config.is_simulated or tool_format == "none"):
        raise ConfigurationError(
            "--tiny-tool-calls needs --model tiny, a real device and a --tool-format other than none"
        )
    key = find_api_key(api_key, api_key_file)
    if no_auth and key is not None:
        raise ConfigurationError(
            f"--no-auth and an API key exclude each other: leave one out (or unset {KEY_VARIABLE})"
        )
    max_body_bytes = parse_bytes(max_body)
    if max_body_bytes < 1:
        raise ConfigurationError("--max-body must be at least one byte")
    server_config = ServerConfig(
        listening=Listening(host=host, port=port, fd=fd, exit_on_eof=exit_on_eof),
        api_key=key,
        is_open=no_auth,
        served_model_name=served_model_name,
        tool_format=tool_format,
        tiny_tool_calls=tiny_tool_calls,
        max_body_bytes=max_body_bytes,
        drain_timeout_s=drain_timeout,
        cross_origin=CrossOrigin(cors_origin) if cors_origin else None,
    )

    def on_ready(url: str, ready: Ready) -> None:
        console.print(
            f"abatch: serving {served_model_name or model} at {url} ({config.batching} batching, {ready.device} "
            f"{ready.dtype}{_how(ready)}, context {ready.max_model_len}, {ready.num_blocks} KV blocks of "
            f"{ready.block_size} tokens, {ready.kv_bytes / 2**20:.0f} MiB; --park {config.park}, "
            f"{ready.num_host_blocks} blocks in the host tier)"
        )
        if ready.layers:
            console.print(f"abatch: layers: {ready.layers}")
        if ready.memory is not None:
            console.print(f"abatch: {ready.memory}")

    console.print(f"abatch: loading {model}")
    asyncio.run(run_server(config, server_config, on_ready))


def _how(ready: Ready) -> str:
    """How the device computes; nothing on a simulated one."""
    attention = f", {ready.attention} attention" if ready.attention else ""
    graphs = f", {ready.num_graphs} CUDA graphs" if ready.num_graphs else ""
    return attention + graphs
