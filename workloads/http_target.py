"""An OpenAI-compatible server over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from ..engine.errors import AbatchError, ConfigurationError
from ..engine.protocol import ChatMessage, Delta, ErrorBody, ModelList, Usage
from .prompts import PromptSizer
from .target import Call, Reply

_MAX_EVENT_BYTES = 16 << 20
_DONE = b"[DONE]"


class TargetError(AbatchError):
    """The server under test cannot be measured at all: unreachable, or it refuses the simplest request."""


class _Choice(msgspec.Struct):
    """The part of a chunk that the clock looks at. Everything else is skipped unparsed."""

    delta: Delta = msgspec.field(default_factory=Delta)
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: Any = None


_event_decoder = msgspec.json.Decoder(_Event)


class HttpTarget:
    """See `Target`. Make one with `connect`, close it when done."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, model: str, timeout_s: float) -> None:
        self._http = http
        self._url = f"{base_url}/v1/chat/completions"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, 30.0))
        self.base_url = base_url
        self.shown_url = str(URL(base_url).with_user(None))
        """The URL without credentials, for people and for files."""
        self.model = model
        self.takes_ignore_eos = True
        self.warnings: list[str] = []

    @classmethod
    async def connect(
        cls, url: str, *, model: str | None, api_key: str | None, headers: dict[str, str], timeout_s: float
    ) -> HttpTarget:
        """Reach the server and find out its model's name.

        Raises:
            ConfigurationError: the URL is none.
            TargetError: no server there, or it does not say which model to ask for.
        """
        base_url = normalise_url(url)
        all_headers = dict(headers)
        if api_key:
            all_headers["Authorization"] = f"Bearer {api_key}"
        # No limit on connections: a pool that is too small would queue requests inside the client.
        http = aiohttp.ClientSession(
            headers=all_headers,
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=1 << 20,
        )
        target = cls(http, base_url, model or "", timeout_s)
        try:
            if not model:
                target.model = await target._first_model()
        except BaseException:
            await http.close()
            raise
        return target

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        body = msgspec.json.encode(self._body(call))  # once: re-encoding long prompts per attempt is a known trap
        clock = asyncio.get_running_loop().time
        reply.sent_s = clock()
        try:
            async with self._http.post(
                self._url, data=body, headers={"Content-Type": "application/json"}, timeout=self._timeout
            ) as response:
                if response.status != 200:
                    reply.fail(f"http_{response.status}", error_message(await response.read()))
                    return
                buffer = bytearray()
                async for data in response.content.iter_any():
                    now_s = clock()
                    buffer += data
                    for payload in _take_events(buffer):
                        if payload == _DONE:
                            return
                        self._read(payload, reply, now_s)
                        if reply.error is not None:
                            return
                if reply.finish_reason is None:
                    reply.fail("disconnected", "the stream ended before the answer did")
        except TimeoutError:
            reply.fail("timeout", f"no complete answer within {self._timeout.total:g} s (--timeout)")
        except aiohttp.ClientConnectorError as error:
            reply.fail("connect", str(error))
        except (aiohttp.ClientError, OSError) as error:
            reply.fail("disconnected", str(error) or type(error).__name__)
        except (msgspec.DecodeError, _EventTooLongError) as error:
            reply.fail("bad_response", str(error))
        finally:
            if reply.error is None and reply.finish_reason is not None and reply.first_s is None:
                reply.fail("empty", "the server answered without any content")

    async def calibrate(self) -> PromptSizer:
        """Find out how the server counts tokens, and whether it lets a client fix the output's length.

        Raises:
            TargetError: it refuses even a plain one-token request.
        """

        async def count(text: str) -> int | None:
            reply = Reply()
            message = ChatMessage(role="user", content=text)
            await self.send(Call([message], 1, "calibration", ignore_eos=self.takes_ignore_eos), reply)
            if reply.error in ("http_400", "http_422") and self.takes_ignore_eos:
                self.takes_ignore_eos = False
                self.warnings.append("the server refuses ignore_eos: outputs may be shorter than the workload asks for")
                return await count(text)
            if reply.error not in (None, "empty"):  # one token may well have no text
                raise TargetError(f"{self.base_url} fails a one-token request: {reply.error}: {reply.error_message}")
            return reply.prompt_tokens

        sizer = await PromptSizer.measure(count)
        if not sizer.is_measured:
            self.warnings.append("the server reports no token counts: prompt lengths are guesses, one token a word")
        return sizer

    def _body(self, call: Call) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": call.messages,
            "max_tokens": call.max_tokens,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if call.ignore_eos and self.takes_ignore_eos:
            # min_tokens too: an end-of-sequence token sampled and ignored has no text, so it would hide a gap.
            body |= {"ignore_eos": True, "min_tokens": call.max_tokens}
        return body

    def _read(self, payload: bytes, reply: Reply, now_s: float) -> None:
        event = _event_decoder.decode(payload)
        if event.error is not None:
            reply.fail("server_error", error_message(payload))
            return
        for choice in event.choices:
            delta = choice.delta
            text = delta.content or delta.reasoning_content or delta.reasoning
            if text or delta.tool_calls:
                reply.saw_content(now_s)
                if delta.content:
                    reply.text.append(delta.content)
            if choice.finish_reason is not None:
                reply.finish_reason = choice.finish_reason
                reply.finished_s = now_s
        if event.usage is not None:
            reply.prompt_tokens = event.usage.prompt_tokens
            reply.output_tokens = event.usage.completion_tokens
            if event.usage.prompt_tokens_details is not None:
                reply.cached_tokens = event.usage.prompt_tokens_details.cached_tokens

    async def _first_model(self) -> str:
        url = f"{self.base_url}/v1/models"
        try:
            async with self._http.get(url, timeout=aiohttp.ClientTimeout(total=30)) as response:
                body = await response.read()
                if response.status != 200:
                    raise TargetError(
                        f"{url} answers {response.status}: {error_message(body)}; is it an OpenAI-compatible server, "
                        "and is --api-key right? (--model NAME skips this question)"
                    )
                models = msgspec.json.decode(body, type=ModelList)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TargetError(f"cannot reach {self.base_url}: {error or type(error).__name__}") from error
        except msgspec.DecodeError as error:
            raise TargetError(f"{url} is not an OpenAI-compatible list of models: {error}") from error
        if not models.data:
            raise TargetError(f"{url} lists no model; name one with --model")
        return models.data[0].id


class _EventTooLongError(Exception):
    pass


def _take_events(buffer: bytearray) -> Iterator[bytes]:
    """Remove the complete lines from `buffer` and yield the payload of each `data:` line among them."""
    end = buffer.rfind(b"\n")
    if end < 0:
        if len(buffer) > _MAX_EVENT_BYTES:
            raise _EventTooLongError(f"an event of more than {_MAX_EVENT_BYTES} bytes")
        return
    lines = bytes(buffer[:end]).split(b"\n")
    del buffer[: end + 1]
    for line in lines:
        if line.startswith(b"data:"):
            yield line[5:].strip()


def error_message(body: bytes) -> str:
    """The message in an error body, of OpenAI's shape or any other."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).error.message
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace").strip() or "(no text)"


def normalise_url(url: str) -> str:
    """`http://host:port`, without the `/v1` that some write and some do not.

    Raises:
        ConfigurationError: it is no HTTP URL.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--url must begin with http:// or https://, not {url!r}")
    return url.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1")
