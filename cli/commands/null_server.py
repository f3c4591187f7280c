"""`abatch null-server`."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from ...engine.hosting.precise_loop import new_precise_loop
from ...engine.null_server.behaviour import Behaviour
from ...engine.null_server.truth import OnTruth, truth_log
from ...engine.server.front.listening import Listening
from ...reports.renderings.terminal import terminal
from ..options.groups import with_options
from ..options.situations import Situation, does_not_apply
from ..options.times import time_option

_FAULTS = "Faults"
_FREEZE_S, _STALL_S = 2.0, 1.0


@with_options
def null_server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8000,
    fd: Annotated[int | None, typer.Option(hidden=True, help="Listening socket inherited from the parent.")] = None,
    exit_on_eof: Annotated[bool, typer.Option(hidden=True, help="Stop when standard input ends.")] = False,
    drain_timeout: Annotated[
        float, time_option("--drain-timeout", hidden=True, help="Accepted, as by every server of ours.")
    ] = 0.0,
    ttft: Annotated[
        float, time_option("--ttft", unit="ms", help="To the first chunk (milliseconds). Default: 50ms.")
    ] = 50.0,
    itl: Annotated[float, time_option("--itl", unit="ms", help="Between chunks (milliseconds). Default: 10ms.")] = 10.0,
    jitter: Annotated[float, typer.Option(help="Coefficient of variation of both; 0 is none.")] = 0.0,
    prefill_rate: Annotated[
        float | None, typer.Option(help="Prompt tokens per second, on top of --ttft. A word is a token.")
    ] = None,
    prefill_at_once: Annotated[
        int | None, typer.Option(help="Prompts prefilled at the same time; the others wait. Default: all.")
    ] = None,
    prefix_cache: Annotated[
        bool,
        typer.Option("--prefix-cache", help="Prompt tokens that an earlier prompt began with take no --prefill-rate."),
    ] = False,
    tokens_per_chunk: Annotated[int, typer.Option(help="Tokens in a chunk.")] = 1,
    burst: Annotated[int, typer.Option(help="Chunks held back and sent together, as a buffering proxy does.")] = 1,
    tool_calls: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Answer requests that bring tools with N calls, whose arguments are the tokens."
        ),
    ] = None,
    header_delay: Annotated[
        float, time_option("--header-delay", unit="ms", help="Before the response's headers (milliseconds).")
    ] = 0.0,
    freeze_at: Annotated[
        float | None,
        time_option(
            "--freeze-at",
            help="Freeze this long after the first request, which may be a client's probe before its run ...",
            panel=_FAULTS,
        ),
    ] = None,
    freeze_for: Annotated[
        float, time_option("--freeze-for", help="... for this long. Default: 2s.", panel=_FAULTS)
    ] = _FREEZE_S,
    block: Annotated[
        bool,
        typer.Option(
            "--block",
            help="Freeze by blocking the server's own event loop: its log does not see what waited.",
            rich_help_panel=_FAULTS,
        ),
    ] = False,
    stall_every: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stall one of every N requests half way ...", rich_help_panel=_FAULTS),
    ] = None,
    stall_for: Annotated[
        float, time_option("--stall-for", help="... for this long. Default: 1s.", panel=_FAULTS)
    ] = _STALL_S,
    error_rate: Annotated[float, typer.Option(help="Share of requests answered 500.", rich_help_panel=_FAULTS)] = 0.0,
    reset_rate: Annotated[
        float, typer.Option(help="Share of requests whose connection is cut half way.", rich_help_panel=_FAULTS)
    ] = 0.0,
    malformed_rate: Annotated[
        float,
        typer.Option(help="Share of --tool-calls answers whose arguments are no JSON.", rich_help_panel=_FAULTS),
    ] = 0.0,
    stop_after: Annotated[
        int | None, typer.Option(help="End every answer after this many tokens.", rich_help_panel=_FAULTS)
    ] = None,
    cut_prompts: Annotated[
        int | None, typer.Option(help="Take in only this many tokens of a prompt.", rich_help_panel=_FAULTS)
    ] = None,
    finish_reason: Annotated[
        str | None, typer.Option(help="End answers with this reason, such as error.", rich_help_panel=_FAULTS)
    ] = None,
    word: Annotated[str, typer.Option(help="What each token says.")] = "w",
    seed: Annotated[int, typer.Option(help="Seed of jitter and faults.")] = 0,
    log: Annotated[
        Path | None, typer.Option(help="Write what the server really did to this new file, one request per line.")
    ] = None,
) -> None:
    """Serve an API that computes nothing and behaves exactly as told, to test load generators against.

    Chat completions, completions, Responses and Messages. Times are accurate to about a millisecond; --log has the
    real ones.
    """
    from ...engine.null_server.server import NullServer, serve_null  # aiohttp's server: only this command needs it

    behaviour = Behaviour(
        ttft_s=ttft / 1e3,
        prefill_tokens_per_s=prefill_rate,
        prefill_at_once=prefill_at_once,
        prefix_cache=prefix_cache,
        itl_s=itl / 1e3,
        jitter=jitter,
        tokens_per_chunk=tokens_per_chunk,
        burst=burst,
        header_delay_s=header_delay / 1e3,
        freeze_at_s=freeze_at,
        freeze_for_s=freeze_for if freeze_at is not None else 0.0,
        stall_every=stall_every,
        stall_for_s=stall_for if stall_every is not None else 0.0,
        error_rate=error_rate,
        reset_rate=reset_rate,
        tool_calls=tool_calls,
        malformed_rate=malformed_rate,
        stop_after=stop_after,
        cut_prompts=cut_prompts,
        finish_reason=finish_reason,
        word=word,
        seed=seed,
    )
    for flag, is_given, needed, situation in (
        ("--block", block, freeze_at, Situation.NO_FREEZE),
        ("--freeze-for", freeze_for != _FREEZE_S, freeze_at, Situation.NO_FREEZE),
        ("--stall-for", stall_for != _STALL_S, stall_every, Situation.NO_STALL),
        ("--prefill-at-once", prefill_at_once is not None, prefill_rate, Situation.NO_PREFILL),
        ("--prefix-cache", prefix_cache, prefill_rate, Situation.NO_PREFILL),
    ):
        if is_given and needed is None:
            raise does_not_apply(flag, situation)
    console = terminal(stderr=True, soft_wrap=True)
    listening = Listening(host=host, port=port, fd=fd, exit_on_eof=exit_on_eof)
    with listening.bind() as listener, contextlib.ExitStack() as files:  # in this order: no log if the port is in use
        on_truth: OnTruth | None = files.enter_context(truth_log(log)) if log is not None else None
        server = NullServer(behaviour, blocks=block, on_truth=on_truth)

        def on_ready(url: str) -> None:
            console.print(f"abatch: null server at {url} (Ctrl-C stops it)")

        with asyncio.Runner(loop_factory=new_precise_loop) as runner:
            runner.run(serve_null(server, listener, listening, on_ready))
