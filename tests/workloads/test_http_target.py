"""The client against servers of known behaviour."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.unreachable import TargetError
from support.fake_server import Behaviour, fake_server


@asynccontextmanager
async def connected(behaviour: Behaviour, *, timeout_s: float = 5.0) -> AsyncIterator[HttpTarget]:
    async with fake_server(behaviour) as url:
        target = await HttpTarget.connect(url, model=None, api_key=None, headers={}, timeout_s=timeout_s)
        try:
            yield target
        finally:
            await target.close()


async def call(behaviour: Behaviour, *, max_tokens: int = 4, timeout_s: float = 5.0) -> Reply:
    reply = Reply()
    async with connected(behaviour, timeout_s=timeout_s) as target:
        await target.send(Call([ChatMessage(role="user", content="hi there")], max_tokens, "s"), reply)
    return reply


async def test_a_stream_is_timed_chunk_by_chunk() -> None:
    reply = await call(Behaviour(ttft_s=0.1, gaps_s=[0.05, 0.2, 0.05]))
    assert reply.error is None
    assert reply.sent_s is not None
    assert reply.first_s is not None
    # At least what the server waited; how much more is the machine's affair.
    assert reply.first_s - reply.sent_s >= 0.1
    assert [gap >= limit for gap, limit in zip(reply.gaps_us, (49_000, 199_000, 49_000), strict=True)] == [True] * 3
    assert reply.finish_reason == "length"
    assert (reply.prompt_tokens, reply.output_tokens) == (14, 4)
    assert reply.text == ["w"] * 4


async def test_what_a_new_connection_took_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of a request's wait, and the server has no part in it. An open connection takes no time."""
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo

    async def look_up_slowly(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0.1)
        return await look_up(*args, **kwargs)

    monkeypatch.setattr(loop, "getaddrinfo", look_up_slowly)
    async with fake_server(Behaviour()) as url:
        by_name = url.replace("127.0.0.1", "localhost")
        target = await HttpTarget.connect(by_name, model="m", api_key=None, headers={}, timeout_s=5.0)
        first, second = Reply(), Reply()
        for reply in (first, second):
            await target.send(Call([ChatMessage(role="user", content="hi there")], 1, "s"), reply)
        await target.close()
    assert first.sent_s is not None
    assert first.first_s is not None
    assert 0.1 <= first.dns_s <= first.connect_s <= first.first_s - first.sent_s
    assert (second.dns_s, second.connect_s) == (0.0, 0.0)


async def test_neither_the_role_nor_usage_nor_the_end_count_as_content() -> None:
    reply = await call(Behaviour(), max_tokens=1)
    assert reply.gaps_us == []
    assert reply.output_tokens == 1


async def test_chunks_of_several_tokens_are_chunks() -> None:
    reply = await call(Behaviour(tokens_per_chunk=4, gaps_s=[0.02, 0.02]))
    assert len(reply.gaps_us) == 2
    assert reply.output_tokens == 12


async def test_events_that_come_together_are_one_arrival() -> None:
    """A server that writes four tokens at once has no gaps of a microsecond between them."""
    event = _CONTENT + b"\n\n"
    reply = await call(Behaviour(raw=[event * 4, event * 4, _END + b"\n\n"]))
    assert len(reply.gaps_us) == 1
    assert reply.gaps_us[0] > 1000
    assert len(reply.text) == 8


_CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}'
_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def _ended(reason: str) -> bytes:
    return b'data: {"choices":[{"delta":{},"finish_reason":"%s"}]}\n\n' % reason.encode()


@pytest.mark.parametrize(
    ("raw", "num_chunks"),
    [
        ([_CONTENT[:9], _CONTENT[9:30], _CONTENT[30:] + b"\n\n" + _END + b"\n\n"], 1),  # cut anywhere
        ([_CONTENT + b"\r\n\r\n", _END + b"\r\n\r\n"], 1),
        ([b": keep-alive\n\nevent: message\nid: 3\n" + _CONTENT + b"\n\n", _END + b"\n\n"], 1),
        ([_CONTENT.replace(b"data: ", b"data:") + b"\n\n" + _CONTENT + b"\n\n", _END + b"\n\ndata: [DONE]\n\n"], 1),
        ([b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n', _END + b"\n\n"], 1),
        (
            [
                b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}\n\n',
                _END + b"\n\n",
            ],
            1,
        ),
        ([b'data: {"choices":null,"usage":{"completion_tokens":null}}\n\n', _CONTENT + b"\n\n", _END + b"\n\n"], 1),
        ([b'data: {"choices":[{"delta":null,"finish_reason":""}]}\n\n', _CONTENT + b"\n\n", _END + b"\n\n"], 1),
    ],
)
async def test_streams_as_servers_write_them(raw: list[bytes], num_chunks: int) -> None:
    reply = await call(Behaviour(raw=raw))
    assert reply.error is None
    assert 1 + len(reply.gaps_us) == num_chunks
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        (Behaviour(status=500), "http_500", "go away"),
        (Behaviour(status=429), "http_429", "go away"),
        (Behaviour(hangs_up_after=2), "disconnected", ""),
        (Behaviour(raw=[_CONTENT + b"\n\n"]), "disconnected", "ended before"),
        (Behaviour(raw=[_END + b"\n\n"]), "empty", "without any content"),
        (Behaviour(raw=[_CONTENT + b"\n\n", _ended("error")]), "server_error", "finish_reason 'error'"),
        (Behaviour(raw=[_CONTENT + b"\n\n", _ended("ABORT")]), "server_error", "ABORT"),
        (Behaviour(raw=[b"data: {oops\n\n"]), "bad_response", ""),
        (Behaviour(raw=[b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n']), "disconnected", ""),
        (Behaviour(raw=[b'{"error":{"message":"not today","type":"x"}}']), "server_error", "not today"),
        (Behaviour(raw=[b"data: [DONE]\n\n"]), "empty", "without any content"),
        (Behaviour(raw=[b'data: {"error":{"message":"boom","type":"x"}}\n\n']), "server_error", "boom"),
    ],
)
async def test_failures_have_a_class_and_are_never_raised(behaviour: Behaviour, error: str, message: str) -> None:
    reply = await call(behaviour)
    assert reply.error == error
    assert message in (reply.error_message or "")


async def test_connections_are_used_again() -> None:
    """Leaving a stream at [DONE] would close its connection, and the next turn's TTFT would include a new one."""
    behaviour = Behaviour()
    async with connected(behaviour) as target:
        for _ in range(20):
            await target.send(Call([ChatMessage(role="user", content="hi")], 2, "s"), Reply())
    assert len(set(behaviour.peers)) == 1


async def test_a_request_that_takes_too_long() -> None:
    reply = await call(Behaviour(ttft_s=3), timeout_s=0.1)
    assert reply.error == "timeout"
    assert "--timeout" in (reply.error_message or "")


async def test_a_server_that_is_gone() -> None:
    async with connected(Behaviour()) as target:
        pass
    with pytest.raises(TargetError, match="cannot reach"):
        await HttpTarget.connect(str(target.server.base), model=None, api_key=None, headers={}, timeout_s=1)
    named = await HttpTarget.connect(str(target.server.base), model="m", api_key=None, headers={}, timeout_s=1)
    reply = Reply()
    await named.send(Call([ChatMessage(role="user", content="hi")], 1, "s"), reply)
    await named.close()
    assert reply.error == "connect"


async def test_an_interrupted_call_keeps_what_it_saw() -> None:
    class NoticedReply(Reply):
        def saw_content(self, now_s: float) -> None:
            super().saw_content(now_s)
            seen.set()

    seen = asyncio.Event()
    reply = NoticedReply()
    async with connected(Behaviour(gaps_s=[5.0])) as target:
        sending = asyncio.create_task(target.send(Call([ChatMessage(role="user", content="hi")], 2, "s"), reply))
        await asyncio.wait_for(seen.wait(), 5)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert reply.sent_s is not None
    assert reply.error is None


async def test_output_lengths_are_fixed_where_the_server_lets_us() -> None:
    behaviour = Behaviour()
    async with connected(behaviour) as target:
        await target.calibrate()
        await target.send(Call([ChatMessage(role="user", content="hi")], 7, "s"), Reply())
    assert {"ignore_eos": True, "min_tokens": 7, "max_tokens": 7, "stream": True}.items() <= behaviour.bodies[
        -1
    ].items()

    behaviour = Behaviour(refuses="ignore_eos")
    async with connected(behaviour) as target:
        sizer = await target.calibrate()
        await target.send(Call([ChatMessage(role="user", content="hi")], 7, "s"), Reply())
    assert sizer.is_measured
    assert "ignore_eos" not in behaviour.bodies[-1]
    assert any("ignore_eos" in warning for warning in target.warnings)


async def test_prompts_get_the_length_that_the_server_counts() -> None:
    """This server counts two tokens a word and ten for its template."""
    async with connected(Behaviour()) as target:
        sizer = await target.calibrate()
    assert sizer.tokens_per_word == pytest.approx(2.0)
    assert sizer.overhead_tokens == pytest.approx(10.0)
    assert len(sizer.text(Random(0), 200).split()) == 100


async def test_without_usage_lengths_are_guesses_and_that_is_said() -> None:
    async with connected(Behaviour(sends_usage=False)) as target:
        sizer = await target.calibrate()
    assert not sizer.is_measured
    assert any("estimates" in warning for warning in target.warnings)


async def test_a_server_that_refuses_everything_is_not_measured() -> None:
    async with connected(Behaviour(status=503)) as target:
        with pytest.raises(TargetError, match="go away"):
            await target.calibrate()


async def test_keys_and_headers_are_sent_and_credentials_not_shown() -> None:
    behaviour = Behaviour()
    async with fake_server(behaviour) as url:
        with_user = url.replace("http://", "http://user:pass@")
        target = await HttpTarget.connect(with_user, model="m", api_key=None, headers={"X-Team": "a"}, timeout_s=1)
        await target.send(Call([ChatMessage(role="user", content="hi")], 1, "s"), Reply())
        await target.close()
        assert target.shown_url == url
        keyed = await HttpTarget.connect(url, model="m", api_key="k", headers={}, timeout_s=1)
        await keyed.send(Call([ChatMessage(role="user", content="hi")], 1, "s"), Reply())
        await keyed.close()
    assert behaviour.headers[0]["X-Team"] == "a"
    assert behaviour.headers[1]["Authorization"] == "Bearer k"
    assert json.dumps(behaviour.bodies[0]["messages"]) == '[{"role": "user", "content": "hi"}]'


async def test_requests_have_ids_that_middleware_takes() -> None:
    behaviour = Behaviour()
    for _ in range(2):
        async with connected(behaviour) as target:
            for _ in range(2):
                await target.send(Call([ChatMessage(role="user", content="hi")], 1, "s"), Reply())
    ids = [headers["X-Request-ID"] for headers in behaviour.headers]
    assert len({*ids}) == 4
    for id_ in ids:
        assert (str(uuid.UUID(id_)), uuid.UUID(id_).version) == (id_, 4)
