"""An OpenAI-compatible server over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec

from ...engine.errors import AbatchError, ConfigurationError
from ...engine.loop.step_account import EngineTotals
from ...engine.protocol.conversation import ChatMessage
from ..http.body import read_body, read_error_body
from ..http.faults import BAD_RESPONSE, RefusedError, http_fault
from ..http.limits import MESSAGE_CHARS, MODEL_LIST_BYTES, MODEL_NAME_CHARS
from ..http.session import open_session
from ..watching.engine_metrics import EngineMetrics, read_engine_metrics
from ..watching.metrics_page import MetricsPage
from ..watching.server_watch import ServerWatch
from .client_limit import CLIENT_LIMIT, client_limit
from .connection_timing import connection_timing
from .model_list import model_names
from .prompts import PromptSizer
from .redirects import REDIRECT, redirect_in_words, redirect_of
from .refused_fields import find_accepted
from .secrets import Secrets
from .server_url import ServerUrl, hide_credentials
from .streams.reading import read_answer
from .target import Call, Reply
from .wire.api import Api, RequestSettings, request_body
from .wire.chat import ChatApi
from .wire.failures import error_message

REQUEST_ID_HEADER = "X-Request-ID"
"""Servers and proxies write it to their logs, so that a run can be joined with them."""
_PROXY_WANTS_CREDENTIALS = 407
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


PLAIN = RequestSettings(model="")


class TargetError(AbatchError):
    """The server under test cannot be measured: it is unreachable, or it rejects the simplest request."""


class HttpTarget:
    """See `Target`. Make one with `connect`, close it when done."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        server: ServerUrl,
        settings: RequestSettings,
        timeout_s: float,
        *,
        tells_sessions: bool = True,
    ) -> None:
        self._http = http
        self._api: Api = ChatApi()
        self._url = server.endpoint(self._api.path)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, 30.0))
        self.server = server
        self.shown_url = server.shown
        self.settings = settings
        """Of all requests. Whatever the server turns out to refuse is left out."""
        self.further_models: Sequence[str] = ()
        """That calls name besides."""
        self.tokenizer: str | None = None
        """The server's tokenizer by name, if the client has it: prompts then have exact lengths."""
        self.tells_sessions = tells_sessions
        self.run_id = uuid.uuid4().hex[:8]  # sessions of an earlier run may be parked on the server
        self._request_numbers = itertools.count()
        self.engine: EngineMetrics | None = None
        """The last metrics of the engine, if it is an abatch one."""
        self.warnings: list[str] = []
        self._secrets = Secrets(server.base, {})

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        model: str | None,
        api_key: str | None,
        headers: dict[str, str],
        timeout_s: float,
        tells_sessions: bool = True,
        settings: RequestSettings = PLAIN,
    ) -> HttpTarget:
        """Connect to the server and find out its model's name, if `model` is None.

        `tells_sessions`: tell an abatch engine which requests belong to one session. `settings`: of all requests, but
        for the model.

        Raises:
            ConfigurationError: the URL is invalid.
            TargetError: there is no server, or it lists no model.
        """
        server = ServerUrl.parse(url)
        all_headers = {"Accept-Encoding": "identity", **headers}
        if api_key:
            all_headers["Authorization"] = f"Bearer {api_key}"
        if server.base.user and any(name.lower() == "authorization" for name in all_headers):
            raise ConfigurationError(
                "credentials are given twice, in --url and in a header or --api-key; give them once"
            )
        http = open_session(all_headers, traces=[connection_timing()])
        target = cls(http, server, replace(settings, model=model or ""), timeout_s, tells_sessions=tells_sessions)
        target._secrets = Secrets(server.base, all_headers)
        try:
            if not model:
                target.settings = replace(target.settings, model=await target._first_model())
        except TargetError as error:
            await http.close()
            raise TargetError(target._secrets.hidden(str(error))) from None
        except BaseException:
            await http.close()
            raise
        return target

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        clock = asyncio.get_running_loop().time
        reply.request_id = f"{self.run_id}-{next(self._request_numbers)}"
        headers = {"Content-Type": "application/json", REQUEST_ID_HEADER: reply.request_id}
        try:
            body = msgspec.json.encode(self._body(call))  # once: re-encoding long prompts per attempt is a known trap
            reply.sent_s = clock()
            reply.sent_bytes = len(body)
            async with self._http.post(
                self._url,
                data=body,
                headers=headers,
                timeout=self._timeout,
                trace_request_ctx=reply,
                allow_redirects=False,
            ) as response:
                await _read(response, self._api, call, reply)
        except (aiohttp.ClientError, OSError, MemoryError, RefusedError, *_MALFORMED) as error:
            reply.fail(*self._failure(error))
        if reply.compression:
            self._warn(
                f"the server compresses its answers ({reply.compression}), which it was not asked to: if that holds "
                "tokens back, their times are those of the compressor"
            )
        if reply.error_message is not None:
            reply.error_message = self._secrets.hidden(reply.error_message)

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _failure(self, error: Exception) -> tuple[str, str]:
        """Class and message of a failure."""
        if (limit := client_limit(error)) is not None:
            return CLIENT_LIMIT, limit
        match error:
            case RefusedError():
                return error.kind, str(error)
            case aiohttp.ConnectionTimeoutError():
                return "connect", str(error) or "the connection timed out"
            case TimeoutError():
                return "timeout", f"no complete answer within {self._timeout.total:g} s (--timeout)"
            case aiohttp.ClientConnectorError():
                return "connect", _why_not_connected(error)
            case aiohttp.ClientResponseError():
                return BAD_RESPONSE, f"not an HTTP response: {http_fault(error)}"
            case aiohttp.ClientError() | OSError():
                return "disconnected", str(error) or type(error).__name__
        return BAD_RESPONSE, str(error) or type(error).__name__

    async def calibrate(self) -> PromptSizer:
        """Find out which fields the server refuses, and how it counts tokens.

        Raises:
            TargetError: it rejects even a plain one-token request.
        """
        has_odd_usage = False

        async def count(text: str) -> int | None:
            reply = await self._probe(Call([ChatMessage(role="user", content=text)], 1, "calibration"))
            nonlocal has_odd_usage
            has_odd_usage = has_odd_usage or reply.has_odd_usage
            return reply.prompt_tokens

        sizer = await PromptSizer.measure(count, self.tokenizer)
        for model in self.further_models:
            await self._probe(Call([ChatMessage(role="user", content="hello")], 1, "calibration", model=model))
        if not sizer.is_measured:
            effect = (
                "the size of its chat template is unknown"
                if self.tokenizer
                else "prompt lengths are estimates, at one token per word"
            )
            reports = "token counts that cannot be right" if has_odd_usage else "no token counts"
            self.warnings.append(f"the server reports {reports}, so {effect}")
        return sizer

    async def settle(self, call: Call) -> Reply:
        """Make a small call, and from then on leave out what the server refuses of it. A failure is in the reply."""

        async def ask(settings: RequestSettings) -> Reply:
            reply = Reply()
            self.settings = settings
            await self.send(call, reply)
            return reply

        def sent(settings: RequestSettings) -> Collection[str]:
            return request_body(self._api, call, settings).keys()

        accepted = await find_accepted(ask, self.settings, sent)
        self.settings = accepted.settings
        self.warnings += accepted.notes
        return accepted.reply

    async def _probe(self, call: Call) -> Reply:
        reply = await self.settle(call)
        if reply.error not in (None, "empty"):  # one token may well have no text
            to_model = "" if call.model is None else f" to the model {call.model}"
            raise TargetError(
                f"{self.shown_url} rejected a one-token test request{to_model}: {reply.error}: {reply.error_message}; "
                "is it an OpenAI-compatible chat server?"
            )
        return reply

    @property
    def model(self) -> str:
        """What requests ask for, unless a call names another."""
        return self.settings.model

    @property
    def takes_ignore_eos(self) -> bool:
        """Answers have exactly the length that is asked for, as far as is known."""
        return self.settings.takes_ignore_eos

    async def engine_totals(self) -> EngineTotals | None:
        """See `Target.engine_totals`."""
        self.engine = await read_engine_metrics(self._http, self.server.metrics)
        return None if self.engine is None else self.engine.totals

    async def watch_server(self, watch: ServerWatch, origin_s: float) -> None:
        """See `BenchTarget.watch_server`."""
        async with MetricsPage(watch.url, self.server.metrics, self._http.headers) as page:
            await watch.poll(page.read, origin_s)

    def _body(self, call: Call) -> dict[str, Any]:
        settings = self.settings if call.model is None else replace(self.settings, model=call.model)
        body = request_body(self._api, call, settings)
        if self.tells_sessions and self.engine is not None:
            # Fields of the abatch engine: other servers might reject fields they do not know.
            name = hashlib.blake2b(call.session_id.encode(), digest_size=16).hexdigest()  # of any length in a trace
            body |= {"session_id": f"{self.run_id}/{name}", "end_session": call.ends_session}
            if call.next_tool is not None:
                body["next_tool"] = call.next_tool[:256]
        return body

    async def _first_model(self) -> str:
        url = f"{hide_credentials(str(self.server.models))}"
        try:
            async with self._http.get(
                self.server.models, timeout=aiohttp.ClientTimeout(total=30), allow_redirects=False
            ) as response:
                if (location := redirect_of(response)) is not None:
                    raise TargetError(f"{url}: {redirect_in_words(response, location)}")
                if response.status != 200:
                    body = await read_error_body(response)
                    raise TargetError(
                        f"{url} returned {response.status}: {error_message(body)[:MESSAGE_CHARS]}; "
                        f"{self._advice(response.status)} (--model NAME skips this request)"
                    )
                names = model_names(await read_body(response, MODEL_LIST_BYTES))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            detail = _why_not_connected(error) if isinstance(error, aiohttp.ClientConnectorError) else str(error)
            raise TargetError(f"cannot reach {self.shown_url}: {detail or type(error).__name__}") from error
        except (RefusedError, *_MALFORMED) as error:
            raise TargetError(
                f"{url} returned no OpenAI-compatible list of models: {error} (--model NAME skips this request)"
            ) from error
        if not names:
            raise TargetError(f"{url} lists no model; name one with --model")
        if len(names[0]) > MODEL_NAME_CHARS:
            raise TargetError(f"{url} lists a model whose name has {len(names[0]):,} characters; name one with --model")
        return names[0]

    def _advice(self, status: int) -> str:
        """What to try where the server has no list of models."""
        if status in (404, 405) and not self.server.has_version:
            return f"if its API lies below /v1, give --url {self.shown_url}/v1"
        return "is it an OpenAI-compatible server, and is --api-key right?"


async def _read(response: aiohttp.ClientResponse, api: Api, call: Call, reply: Reply) -> None:
    """Take in an answer, or what came in place of one."""
    if response.status == 200:
        await read_answer(response, api, call, reply)
    elif response.status == _PROXY_WANTS_CREDENTIALS:
        reply.fail(CLIENT_LIMIT, "a proxy wants credentials: give --header 'Proxy-Authorization: ...'")
    elif (location := redirect_of(response)) is not None:
        reply.fail(REDIRECT, redirect_in_words(response, location))
    else:
        body = await read_error_body(response)
        reply.fail(f"http_{response.status}", error_message(body))


def _why_not_connected(error: aiohttp.ClientConnectorError) -> str:
    """`Connection refused`, where the event loop says "Connect call failed" and an address."""
    code = error.os_error.errno
    # Failures to look up a name have negative numbers, and words of their own.
    return os.strerror(code) if code is not None and code > 0 else error.os_error.strerror or str(error)
