"""An OpenAI-compatible server over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec

from ...engine.errors import ConfigurationError
from ...engine.loop.step_account import EngineTotals
from ...engine.protocol.conversation import ChatMessage
from ..http.faults import MALFORMED, RefusedError
from ..http.network import DIRECT, Network, proxy_variable
from ..watching.engine_metrics import EngineMetrics, read_engine_metrics
from ..watching.metrics_page import MetricsPage
from ..watching.server_watch import ServerWatch
from .api_search import find_api
from .model_list import NoListError, first_model, is_listed, listed_models, nearest_names
from .patience import Patience, silently
from .posting import Poster
from .prompts import PromptSizer
from .refused_fields import Accepted, find_accepted
from .secrets import Secrets
from .server_url import ServerUrl, is_this_machine
from .streams.pulse import pulse_of
from .target import Call, Reply
from .unreachable import TargetError, failure_of, speaks_tls
from .wire.api import Api, RequestSettings, request_body
from .wire.apis import api_named, key_headers
from .wire.names import AUTO, REQUEST_ID_HEADER, meant_api
from .wire.vendors import vendor_of

PLAIN = RequestSettings(model="")
_NOT_ALLOWED = ("http_401", "http_403")
_LIST_PATIENCE_S = 5.0
"""For a list of models that explains something, and without which a run goes on."""


class HttpTarget:
    """See `Target`. Make one with `connect`, close it when done."""

    def __init__(
        self,
        server: ServerUrl,
        headers: Mapping[str, str],
        settings: RequestSettings,
        timeout_s: float,
        *,
        network: Network = DIRECT,
        tells_sessions: bool = True,
    ) -> None:
        self.warnings: list[str] = []
        self._poster = Poster(server, headers, network, self._warn)
        self._network = network
        self._timeout_s = timeout_s
        self._patience = Patience(server.shown, timeout_s, silently)
        self.server = server
        self.shown_url = server.shown
        self.settings = settings
        """Of all requests. Whatever the server turns out to refuse is left out."""
        self._is_model_given = False
        self._api_key: str | None = None
        self._users_headers: frozenset[str] = frozenset()
        """Names of headers that the user gave, in lower case: they take the place of an API's."""
        self.further_models: Sequence[str] = ()
        """That calls name besides."""
        self.tokenizer: str | None = None
        """The server's tokenizer by name, if the client has it: prompts then have exact lengths."""
        self.tells_sessions = tells_sessions
        self.run_id = uuid.uuid4().hex[:8]  # sessions of an earlier run may be parked on the server
        self._request_numbers = itertools.count()
        self.engine: EngineMetrics | None = None
        """The last metrics of the engine, if it is an abatch one."""
        self._secrets = Secrets(server.base, headers, network.proxy_for(server.base))

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
        network: Network = DIRECT,
        say: Callable[[str], object] = silently,
    ) -> HttpTarget:
        """Connect to the server and find out its model's name, if `model` is None.

        `tells_sessions`: tell an abatch engine which requests belong to one session. `settings`: of all requests, but
        for the model. `network`: certificates and proxy. `say`: is told in a line what is waited for.

        Raises:
            ConfigurationError: the URL is invalid.
            TargetError: there is no server, or it lists no model.
        """
        server = ServerUrl.parse(url)
        all_headers = {"Accept-Encoding": "identity", **headers}
        if api_key:
            all_headers |= key_headers(api_key)
        if server.base.user and any(name.lower() == "authorization" for name in all_headers):
            raise ConfigurationError(
                "credentials are given twice, in --url and in a header or --api-key; give them once"
            )
        settings = replace(settings, model=model or "", api=meant_api(settings.api, server.named_endpoint))
        target = cls(server, all_headers, settings, timeout_s, network=network, tells_sessions=tells_sessions)
        target._note_unused_proxy()
        target._patience = Patience(server.shown, timeout_s, say)
        target._api_key, target._users_headers = api_key, frozenset(map(str.lower, headers))
        target._is_model_given = bool(model)
        try:
            if not model:
                target.settings = replace(settings, model=await target._first_model())
        except TargetError as error:
            await target.close()
            said = target._secrets.hidden(str(error))
            raise TargetError(said + await target._hint(getattr(error, "error", ""))) from None
        except BaseException:
            await target.close()
            raise
        return target

    async def _first_model(self) -> str:
        """The name of the server's first model, asked for again as long as the server may be starting."""
        while True:
            try:
                async with self._patience.told_if_slow("its list of models"):
                    return await first_model(self._poster.http, self.server, self._timeout_s)
            except NoListError as error:
                if not await self._patience.asks_again(error.error, error.reason, error.retry_after_s):
                    raise

    async def close(self) -> None:
        """Close all connections."""
        await self._poster.close()

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        loop = asyncio.get_running_loop()
        # In the form of a UUID, as middleware is known to refuse any other (starlette-context).
        reply.request_id = f"{self.run_id}-0000-4000-8000-{next(self._request_numbers):012x}"
        headers = {"Content-Type": "application/json", REQUEST_ID_HEADER: reply.request_id, **self._headers_of_api()}
        try:
            body = msgspec.json.encode(self._body(call))  # once: re-encoding long prompts per attempt is a known trap
            reply.sent_s = loop.time()
            reply.sent_bytes = len(body)
            with pulse_of(loop):
                await self._poster.post(self._api, body, headers, call, reply, self._timeout_s)
        except (aiohttp.ClientError, OSError, MemoryError, RefusedError, *MALFORMED) as error:
            reply.fail(*failure_of(error, self._timeout_s))
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
        if self._is_model_given:
            await self._note_unlisted()
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
        """Make a small call, and from then on use the API that the server has, and leave out what it refuses.

        A failure is in the reply.
        """

        async def ask(settings: RequestSettings) -> Reply:
            self.settings = settings
            while True:
                reply = Reply()
                async with self._patience.told_if_slow("an answer of one token"):
                    await self.send(call, reply)
                if not await self._patience.asks_again(reply.error, reply.error_message or "", reply.retry_after_s):
                    return reply

        def sent(settings: RequestSettings) -> Collection[str]:
            return request_body(api_named(settings.api), call, settings).keys()

        def accept(settings: RequestSettings) -> Awaitable[Accepted]:
            return find_accepted(ask, settings, sent)

        is_open = self.settings.api == AUTO
        accepted = await (find_api(accept, self.settings) if is_open else accept(self.settings))
        self.settings = accepted.settings
        self.warnings += accepted.notes
        return accepted.reply

    async def _probe(self, call: Call) -> Reply:
        reply = await self.settle(call)
        if reply.error == "connect":
            raise TargetError(f"cannot reach {self.shown_url}: {reply.error_message}{await self._hint()}")
        if reply.error not in (None, "empty"):  # one token may well have no text
            to_model = "" if call.model is None else f" to the model {call.model}"
            names = await self._listed_models()
            advice = "is it an OpenAI-compatible chat server?"
            if (model := call.model or self.model) and names and not is_listed(model, names):
                advice = f"it lists no model {model}, but {nearest_names(model, names)} (--model)"
            raise TargetError(
                f"{self.shown_url} rejected a one-token test request{to_model}: {reply.error}: {reply.error_message}; "
                f"{advice}{await self._hint(reply.error or '')}"
            )
        return reply

    async def _listed_models(self) -> Sequence[str]:
        """What the server lists; nothing if it lists nothing."""
        try:
            return await listed_models(self._poster.http, self.server, min(self._timeout_s, _LIST_PATIENCE_S))
        except TargetError:
            return ()

    async def _note_unlisted(self) -> None:
        """Warn of models that the server does not list and answers for all the same, with whichever it has."""
        names = await self._listed_models()
        for model in (self.model, *self.further_models):
            if names and not is_listed(model, names):
                has = nearest_names(model, names)
                self._warn(f"the server lists no model {model}, and answers all the same: it has {has}")

    def _note_unused_proxy(self) -> None:
        if self._unused_proxy is not None:
            self._warn(f"{self._unused_proxy} is set and not used: requests go straight to the server (see --proxy)")

    @property
    def _unused_proxy(self) -> str | None:
        """What the environment calls a proxy that it wants for this server, where the user has not said so."""
        base = self.server.base
        if self._network.proxy is not None or is_this_machine(str(base)):
            return None
        return proxy_variable(base)

    async def _hint(self, error: str = "") -> str:
        """What explains that there was no answer, if anything does. `error`: the class of the failure."""
        base = self.server.base
        vendor = vendor_of(self._api.name)
        if error in _NOT_ALLOWED and self._api_key is None and vendor.key is not None:
            return f" ({vendor.key_variable} is set and was not sent, as this is not its server: give --api-key)"
        if self._unused_proxy is not None:
            return f" ({self._unused_proxy} is set and was not used: --proxy env uses it)"
        if self._network.proxy is None and base.scheme == "http" and await speaks_tls(base):
            return " (it speaks https, not http: give --url https://...)"
        return ""

    @property
    def api(self) -> str:
        """The name of the API that is used, as far as is known; chat as long as it is not."""
        return self._api.name

    def _headers_of_api(self) -> dict[str, str]:
        headers = self._api.headers(self._api_key)
        return {name: value for name, value in headers.items() if name not in self._users_headers}

    @property
    def _api(self) -> Api:
        return api_named(self.settings.api)

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
        self.engine = await read_engine_metrics(self._poster.http, self.server.metrics)
        return None if self.engine is None else self.engine.totals

    async def watch_server(self, watch: ServerWatch, origin_s: float) -> None:
        """See `BenchTarget.watch_server`."""
        async with MetricsPage(watch.url, self.server.metrics, self._poster.http.headers, self._network) as page:
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
