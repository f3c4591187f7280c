"""A server looked at while it is measured: what is noted, and what is put up with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.hosting.virtual_engine import build_virtual_engine
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.engine_target import EngineTarget
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.server_url import is_this_machine, normalise_metrics_url
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.watching import metrics_page
from abatch.workloads.watching.gpu_watch import GpuReading
from abatch.workloads.watching.metrics_page import MetricsPage
from abatch.workloads.watching.server_metrics import ServerSample
from abatch.workloads.watching.server_watch import ServerWatch
from aiohttp import web
from support.app_server import app_server
from support.fake_server import Behaviour, fake_server
from yarl import URL

PAGE = b"vllm:num_requests_running 9.0\nvllm:num_requests_waiting 2.0\n"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Server:
    """One that answers each request for metrics by the next of its answers, and by the last for ever."""

    answers: list[Answer]
    requests: list[web.Request] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answers[min(len(self.requests), len(self.answers)) - 1](request)


@asynccontextmanager
async def serving(*answers: Answer, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    server = Server(list(answers))
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    async with app_server(app) as url:
        server.url = url.replace("127.0.0.1", host)
        yield server


def says(body: bytes = PAGE, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def dies_midway(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    await response.write(PAGE)
    assert request.transport is not None
    request.transport.abort()
    return response


async def watched(
    server: Server,
    *,
    for_s: float,
    interval_s: float = 0.05,
    gpu: Any = None,
    url: str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[list[ServerSample], bool]:
    """What is noted in a time, and whether the watch gave up by itself."""
    samples: list[ServerSample] = []
    watch = ServerWatch(samples.append, interval_s=interval_s, gpu=gpu, url=url)
    async with MetricsPage(url, URL(server.url) / "metrics", headers or {}) as page:
        polling = asyncio.create_task(watch.poll(page.read, asyncio.get_running_loop().time()))
        await asyncio.wait([polling], timeout=for_s)
        if gave_up := polling.done():
            polling.result()
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
    return samples, gave_up


async def test_each_interval_has_a_sample_with_its_time() -> None:
    async with serving(says()) as server:
        samples, gave_up = await watched(server, for_s=0.53, interval_s=0.1)
    assert not gave_up
    assert 3 <= len(samples) <= 6
    assert all((sample.kind, sample.running, sample.waiting) == ("vLLM", 9, 2) for sample in samples)
    assert all(sample.at_s % 0.1 < 0.09 and 0 < sample.took_s < 0.1 for sample in samples)
    assert {request.path for request in server.requests} == {"/metrics"}


@pytest.mark.parametrize(
    "answer",
    [
        says(status=404),
        says(status=503),
        says(b"<html>not here</html>"),
        says(b"\xff\x00\n" * 1000),
        says(b"process_open_fds 3\n"),
        says(PAGE + b"# \n" * (2 << 20)),
        says(status=302, Location="http://[broken/"),
        says(status=302, Location="/metrics"),
    ],
    ids=["404", "503", "page", "garbage", "unknown", "huge", "no URL", "loop"],
)
async def test_a_server_without_known_metrics_is_left_alone(answer: Answer) -> None:
    async with serving(answer) as server:
        samples, gave_up = await watched(server, for_s=2)
    assert samples == []
    assert gave_up
    assert len({id(request.transport) for request in server.requests}) <= 1, "asked once, redirects aside"
    assert len(server.requests) <= 4


async def test_a_server_that_never_answers_is_left_alone_after_three_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_page, "_TIMEOUT_S", 0.05)
    async with serving(hangs) as server:
        assert await watched(server, for_s=2) == ([], True)
        assert len(server.requests) == 3
    assert await watched(server, for_s=2) == ([], True), "nor one that nothing listens at any more"


@pytest.mark.parametrize("answer", [hangs, dies_midway], ids=["hangs", "dies midway"])
async def test_no_answer_of_a_known_server_is_noted_and_the_next_look_is_made(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_page, "_TIMEOUT_S", 0.2)
    async with serving(says(), answer, says()) as server:
        samples, _ = await watched(server, for_s=0.6)
    assert [sample.unanswered for sample in samples[:3]] == [False, True, False]
    silent = samples[1]
    assert (silent.running, silent.kind) == (None, None)
    assert samples[2].at_s >= silent.answered_s
    if answer is hangs:
        assert 0.19 < silent.took_s < 0.4


@pytest.mark.parametrize("answer", [says(status=500), says(b""), says(PAGE + b"# \n" * (2 << 20))])
async def test_an_answer_that_says_nothing_is_noted_once_there_was_one(answer: Answer) -> None:
    async with serving(says(), answer, says()) as server:
        samples, gave_up = await watched(server, for_s=0.5)
    assert len(samples) >= 3
    assert not gave_up
    assert [sample.running for sample in samples[:3]] == [9, None, 9]
    assert [sample.unreadable for sample in samples[:3]] == [False, True, False]


async def test_a_redirect_within_the_server_is_followed() -> None:
    async with serving(says(status=307, Location="/metrics/"), says()) as server:
        samples, _ = await watched(server, for_s=0.3, interval_s=5)
    assert [sample.running for sample in samples] == [9]
    assert [request.path for request in server.requests] == ["/metrics", "/metrics/"]


async def test_a_redirect_to_another_server_is_not() -> None:
    async with serving(says()) as other, serving(says(status=307, Location=f"{other.url}/metrics")) as server:
        assert await watched(server, for_s=1) == ([], True)
    assert other.requests == []


async def test_what_speaks_no_http_is_left_alone() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as raw:
        server = Server([], url=f"http://127.0.0.1:{raw.sockets[0].getsockname()[1]}")
        assert await watched(server, for_s=2) == ([], True)


async def test_the_traffic_s_credentials_go_to_its_host_and_to_no_other() -> None:
    secret = {"Authorization": "Bearer s3cret", "X-Token": "t0ken"}
    async with serving(says()) as server, serving(says()) as beside, serving(says(), host="localhost") as other:
        await watched(server, for_s=0.2, headers=secret)
        await watched(server, for_s=0.2, url=f"{beside.url}/metrics", headers=secret)
        await watched(server, for_s=0.2, url=f"{other.url}/metrics", headers=secret)
        for sent_to in (server, beside):
            assert sent_to.requests[0].headers["Authorization"] == "Bearer s3cret"
            assert sent_to.requests[0].headers["X-Token"] == "t0ken"
        assert not {"Authorization", "X-Token"} & set(other.requests[0].headers)


async def test_credentials_in_urls() -> None:
    async with serving(says()) as server, serving(says()) as beside:
        bare = beside.url
        server.url = server.url.replace("//", "//user:word@")
        await watched(server, for_s=0.2)
        await watched(server, for_s=0.2, url=f"{bare}/metrics")
        await watched(
            server, for_s=0.2, url=bare.replace("//", "//me:own@") + "/metrics", headers={"Authorization": "x"}
        )
    basic = {request.headers["Authorization"] for request in (server.requests[0], beside.requests[0])}
    assert basic == {"Basic dXNlcjp3b3Jk"}
    assert beside.requests[-1].headers["Authorization"] == "Basic bWU6b3du"


async def test_the_traffic_s_connections_are_not_used() -> None:
    behaviour = Behaviour(metrics=PAGE)
    samples: list[ServerSample] = []
    async with fake_server(behaviour) as url:
        target = await HttpTarget.connect(url, model="fake", api_key=None, headers={}, timeout_s=5)
        watch = ServerWatch(samples.append, interval_s=0.02)
        watching = asyncio.create_task(target.watch_server(watch, asyncio.get_running_loop().time()))
        try:
            for _ in range(5):
                await target.send(Call([ChatMessage(role="user", content="x")], 3, "s"), Reply())
                await asyncio.sleep(0.05)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await target.close()
    assert len(behaviour.peers) == 5
    assert len(set(behaviour.peers)) == 1, "nor is any of them closed or doubled for it"
    assert len(behaviour.metrics_peers) >= 3
    assert not {*behaviour.peers} & {*behaviour.metrics_peers}
    assert watch.has_seen


class _Gpu:
    is_reading = True

    def take(self) -> GpuReading:
        return GpuReading(power_w=412.34, busy=0.87, memory_bytes=7)


async def test_gpus_are_noted_with_a_server_and_without_one() -> None:
    async with serving(says()) as server:
        samples, _ = await watched(server, for_s=0.2, gpu=_Gpu())
    assert (samples[0].running, samples[0].gpu_power_w, samples[0].gpu_busy) == (9, 412.3, 0.87)
    async with serving(says(status=404)) as server:
        samples, gave_up = await watched(server, for_s=0.3, gpu=_Gpu())
    assert len(server.requests) == 1
    assert len(samples) > 2
    assert not gave_up
    assert {(sample.kind, sample.gpu_memory_bytes) for sample in samples} == {(None, 7)}


def test_in_virtual_time_the_engine_tells_it_and_no_timer_is_set() -> None:
    async def main(*, watching: bool) -> tuple[list[ServerSample], list[float | None], int]:
        virtual = build_virtual_engine(EngineConfig(model="llama-3.1-8b", device="simulated:h100", max_num_seqs=2))
        target = EngineTarget(virtual, "m")
        samples: list[ServerSample] = []
        loop = asyncio.get_running_loop()
        ends: list[float | None] = []

        async def send(number: int) -> None:
            reply = Reply()
            await target.send(Call([ChatMessage(role="user", content=f"a{number} b")], 100, f"s{number}"), reply)
            ends.append(reply.finished_s)

        stepping = asyncio.create_task(virtual.run())
        tasks = []
        if watching:
            tasks.append(asyncio.create_task(target.watch_server(ServerWatch(samples.append, interval_s=0.3), 0.05)))
        await asyncio.sleep(0.1)
        await asyncio.gather(*map(send, range(3)))
        await asyncio.sleep(2.0 - loop.time())
        for task in [*tasks, stepping]:
            task.cancel()
        await asyncio.gather(*tasks, stepping, return_exceptions=True)
        return samples, ends, loop._jumping._num_jumps  # type: ignore[attr-defined]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        samples, ends, num_jumps = runner.run(main(watching=True))
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main(watching=False)) == ([], ends, num_jumps)
    assert [sample.at_s for sample in samples] == [0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8], "the idle ends too"
    assert [(sample.running, sample.waiting) for sample in samples[:3]] == [(0, 0), (2, 1), (1, 0)]
    assert [(sample.running, sample.waiting) for sample in samples[-1:]] == [(0, 0)]
    assert samples[1].kv_used is not None
    assert samples[0].kv_used == 0 < samples[1].kv_used
    assert {sample.kind for sample in samples} == {"abatch"}
    assert samples[-1].prefix_query_tokens == 6


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://h:9", "http://h:9/metrics"),
        ("https://u:p@h/", "https://u:p@h/metrics"),
        ("http://h/prometheus/metrics?x=1", "http://h/prometheus/metrics?x=1"),
    ],
)
def test_where_metrics_are(url: str, normal: str) -> None:
    assert normalise_metrics_url(url) == normal


@pytest.mark.parametrize("url", ["h:9", "ftp://h", "http://", "http://u:secret@h:port"])
def test_what_is_no_url_of_metrics(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--metrics-url") as raised:
        normalise_metrics_url(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("http://127.0.0.1:80", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80", True),
        ("http://localhost:80", True),
        ("http://u:p@localhost", True),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("http://example.com", False),
    ],
)
def test_which_urls_are_of_this_machine(url: str, is_ours: bool) -> None:
    assert is_this_machine(url) is is_ours
