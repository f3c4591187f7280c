"""A server that is starting is asked again for a short time, and models that it does not have are found by asking."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from abatch.workloads.targets import patience
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.model_list import nearest_names
from abatch.workloads.targets.patience import Patience, retry_after_s
from abatch.workloads.targets.unreachable import TargetError
from aiohttp import web
from support.app_server import app_server
from support.fake_server import Behaviour, fake_server
from yarl import URL


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_S", 5.0)
    monkeypatch.setattr(patience, "_PAUSE_S", 0.01)


_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def _fails_at_first(path: str, failures: Sequence[_Answer]) -> AsyncIterator[tuple[str, list[float]]]:
    """A server that answers a path in these ways at first; when it was asked."""
    asked: list[float] = []
    left = [*failures]
    async with fake_server(Behaviour()) as behind, aiohttp.ClientSession() as http:

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == path:
                asked.append(asyncio.get_running_loop().time())
                if left:
                    return await left.pop(0)(request)
            body = await request.read()
            async with http.request(request.method, behind + request.path, data=body) as response:
                headers = {"Content-Type": response.headers["Content-Type"]}
                return web.Response(body=await response.read(), status=response.status, headers=headers)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        async with app_server(app) as url:
            yield url, asked


def _says(status: int, **headers: str) -> _Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "loading the model"}, status=status, headers=headers)

    return answer


async def _never(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def _hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _known(url: str, said: list[str], *, model: str | None = None, timeout_s: float = 5.0) -> HttpTarget:
    """A target that has been got to know."""
    target = await HttpTarget.connect(url, model=model, api_key=None, headers={}, timeout_s=timeout_s, say=said.append)
    try:
        await target.calibrate()
    finally:
        await target.close()
    return target


_LIST, _CHAT = "/v1/models", "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "failures", "line"),
    [
        (_LIST, [_says(503)] * 3, "waiting for {url}, 5 s at most: HTTP 503: loading the model"),
        (_CHAT, [_says(503)] * 3, "waiting for {url}, 5 s at most: loading the model"),
        (_CHAT, [_hangs_up] * 3, "waiting for {url}, 5 s at most: "),
        (_LIST, [_never], "{url} did not answer within 0.7 s (--timeout): it is asked once more"),
        (_CHAT, [_never], "{url} did not answer within 0.7 s (--timeout): it is asked once more"),
    ],
)
async def test_what_fails_at_first_is_asked_again_and_said_once(
    path: str, failures: Sequence[_Answer], line: str
) -> None:
    said: list[str] = []
    async with _fails_at_first(path, failures) as (url, asked):
        await _known(url, said, timeout_s=0.7 if failures == [_never] else 5.0)
    assert len(said) == 1
    assert said[0].startswith(line.format(url=url))
    assert len(asked) > len(failures)


async def test_a_server_that_starts_a_moment_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    heard: asyncio.Queue[str] = asyncio.Queue()
    connecting = asyncio.create_task(
        HttpTarget.connect(url, model=None, api_key=None, headers={}, timeout_s=5.0, say=heard.put_nowait)
    )
    assert await heard.get() == f"waiting for {url}, 5 s at most: Connection refused"

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "late"}]})

    app = web.Application()
    app.router.add_get(_LIST, models)
    async with app_server(app, URL(url).port or 0):
        target = await connecting
        await target.close()
    assert target.model == "late"
    assert heard.empty()


async def test_it_waits_as_long_as_the_server_wants() -> None:
    async with _fails_at_first(_LIST, [_says(503, **{"Retry-After": "0.3"})]) as (url, asked):
        await _known(url, [])
    assert asked[1] - asked[0] >= 0.3


@pytest.mark.parametrize("failures", [[_says(503, **{"Retry-After": "60"})], [_says(500)], [_says(401)], [_never] * 2])
async def test_what_would_not_help_is_not_done(failures: Sequence[_Answer]) -> None:
    async with _fails_at_first(_LIST, failures) as (url, asked):
        with pytest.raises(TargetError):
            await _known(url, [], timeout_s=0.2)
    assert len(asked) == len(failures)


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_S", 0.05)
    said: list[str] = []
    waiting = Patience("http://h", 5.0, said.append)
    tries = 0
    while await waiting.asks_again("connect", "Connection refused"):
        tries += 1
    assert 1 <= tries <= 6
    assert len(said) == 1
    assert not await waiting.asks_again("connect", "Name or service not known")
    assert not await waiting.asks_again(None, "")


async def test_a_long_timeout_is_not_waited_for_twice() -> None:
    assert not await Patience("http://h", 600.0, print).asks_again("timeout", "")


async def test_what_takes_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_SLOW_S", 0.01)
    said: list[str] = []
    async with Patience("http://h", 600.0, said.append).told_if_slow("its list of models"):
        await asyncio.sleep(0.05)
    assert said == ["still waiting for its list of models from http://h (--timeout 600)"]


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), (None, None)])
def test_retry_after(value: str | None, seconds: float | None) -> None:
    headers: dict[str, Any] = {} if value is None else {"Retry-After": value}
    assert retry_after_s(headers) == seconds


async def test_a_model_that_is_not_listed_and_answered_for_is_told() -> None:
    async with fake_server(Behaviour()) as url:
        assert not (await _known(url, [], model="fake")).warnings
        target = await _known(url, [], model="fakir")
    assert target.warnings == ["the server lists no model fakir, and answers all the same: it has fake"]


async def test_a_model_that_is_refused_is_told_with_those_that_there_are() -> None:
    async with fake_server(Behaviour(status=404)) as url:
        with pytest.raises(TargetError, match=r"http_404: go away .*; it lists no model fakir, but fake \(--model\)$"):
            await _known(url, [], model="fakir")
        with pytest.raises(TargetError, match=r"is it an OpenAI-compatible chat server\?$"):
            await _known(url, [], model="fake")


@pytest.mark.parametrize(
    ("model", "names", "shown"),
    [
        ("llama-8b", ["gpt", "Llama-3-8B", "mistral"], "Llama-3-8B, gpt, mistral"),
        ("x", [f"m{number}" for number in range(900)], "m0, m1, m2, m3, m4 and 895 more"),
        ("x", ["m" * 1000], "m" * 100),
    ],
)
def test_the_nearest_names_come_first(model: str, names: list[str], shown: str) -> None:
    assert nearest_names(model, names) == shown
