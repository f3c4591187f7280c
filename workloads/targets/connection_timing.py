"""How long a request waited for a new connection: it is part of its latency, and says nothing of the model."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import aiohttp

from ..http.session import HANDSHAKE, Handshake
from .target import Reply


def connection_timing() -> aiohttp.TraceConfig:
    """A trace that notes in a request's `Reply`, given as its `trace_request_ctx`, what a connection took.

    A request on an open connection costs it nothing but the client library's own bookkeeping.
    """
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(_begin)
    trace.on_connection_create_end.append(_end)
    trace.on_dns_resolvehost_start.append(_begin_look_up)
    trace.on_dns_resolvehost_end.append(_end_look_up)
    return trace


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _begin(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionCreateStartParams
) -> None:
    context.began_s = _now_s()
    context.handshake = Handshake()
    HANDSHAKE.set(context.handshake)


async def _end(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionCreateEndParams) -> None:
    if isinstance(context.trace_request_ctx, Reply):
        context.trace_request_ctx.connect_s += _now_s() - context.began_s
        context.trace_request_ctx.tls_s += context.handshake.took_s


async def _begin_look_up(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceDnsResolveHostStartParams
) -> None:
    context.look_up_began_s = _now_s()


async def _end_look_up(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceDnsResolveHostEndParams
) -> None:
    if isinstance(context.trace_request_ctx, Reply):
        context.trace_request_ctx.dns_s += _now_s() - context.look_up_began_s
