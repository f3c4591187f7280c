"""The null server over HTTP: it does what it was told, and its log says what it did."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from abatch.engine.null_server.behaviour import Behaviour
from abatch.engine.null_server.server import NullServer
from abatch.engine.null_server.truth import Truth, read_truths
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from support.app_server import app_server
from support.cli import abatch, command
from support.servers import get, null_server, post


@asynccontextmanager
async def served(behaviour: Behaviour) -> AsyncIterator[tuple[HttpTarget, list[Truth]]]:
    """A client of a null server in this process, and what the server says it did."""
    truths: list[Truth] = []
    async with app_server(NullServer(behaviour, on_truth=truths.append).app) as url:
        target = await HttpTarget.connect(url, model=None, api_key=None, headers={}, timeout_s=10)
        try:
            yield target, truths
        finally:
            await target.close()


async def ask(target: HttpTarget, max_tokens: int, text: str = "a b c") -> Reply:
    reply = Reply()
    await target.send(Call([ChatMessage(role="user", content=text)], max_tokens, "s"), reply)
    return reply


def since_sent(reply: Reply, at_s: float | None) -> float:
    assert at_s is not None
    assert reply.sent_s is not None
    return at_s - reply.sent_s


async def test_a_stream_is_written_as_told_and_the_log_agrees() -> None:
    async with served(Behaviour(ttft_s=0.1, itl_s=0.05, tokens_per_chunk=2)) as (target, truths):
        reply = await ask(target, 7)
    assert target.model == "null"
    assert reply.error is None
    assert (reply.finish_reason, reply.text) == ("length", ["w w "] * 3 + ["w "])
    assert (reply.prompt_tokens, reply.output_tokens) == (3, 7)
    assert 0.099 <= since_sent(reply, reply.first_s) <= 3
    assert sum(reply.gaps_us) >= 3 * 50_000 - 5000
    (truth,) = truths
    assert truth.request_id == reply.request_id
    assert truth.fault is None
    assert (truth.prompt_tokens, truth.output_tokens) == (3, 7)
    assert truth.first_s is not None
    assert reply.sent_s is not None
    assert reply.first_s is not None
    # One machine, one clock: it arrived after it was sent, and was written before it was seen.
    assert reply.sent_s <= truth.arrived_s <= truth.first_s - 0.099
    assert truth.first_s <= reply.first_s
    assert len(truth.gaps_us) == 3
    assert sum(truth.gaps_us) >= 3 * 50_000 - 5000
    assert truth.end_s == pytest.approx(truth.first_s + sum(truth.gaps_us) / 1e6, abs=1e-4)


async def test_a_prompt_that_was_seen_is_answered_at_once_and_said_to_be_cached() -> None:
    text = "word " * 200
    behaviour = Behaviour(ttft_s=0.0, prefill_tokens_per_s=1000, itl_s=0.0, prefix_cache=True, prefill_at_once=1)
    async with served(behaviour) as (target, truths):
        replies = [await ask(target, 1, text) for _ in range(2)]
    assert [(reply.prompt_tokens, reply.cached_tokens) for reply in replies] == [(200, 0), (200, 192)]
    assert [truth.cached_tokens for truth in truths] == [0, 192]
    assert since_sent(replies[0], replies[0].first_s) >= 0.2 > since_sent(replies[1], replies[1].first_s)


async def test_requests_have_ids_of_their_own() -> None:
    async with served(Behaviour(ttft_s=0.0, itl_s=0.0)) as (target, truths):
        replies = await asyncio.gather(*[ask(target, 1) for _ in range(20)])
        other = await HttpTarget.connect(str(target.server.base), model=None, api_key=None, headers={}, timeout_s=10)
        replies.append(await ask(other, 1))
        await other.close()
    assert len({reply.request_id for reply in replies}) == 21
    assert {truth.request_id for truth in truths} == {reply.request_id for reply in replies}


async def test_errors_and_resets_are_said_to_be_on_purpose() -> None:
    async with served(Behaviour(error_rate=1.0)) as (target, truths):
        reply = await ask(target, 4)
        assert (reply.error, reply.first_s) == ("http_500", None)
        assert "on purpose" in (reply.error_message or "")
        assert (truths[0].fault, truths[0].first_s) == ("error", None)
    async with served(Behaviour(ttft_s=0.02, itl_s=0.02, reset_rate=1.0)) as (target, truths):
        for max_tokens, seen in ((6, 3), (1, 0)):
            reply = await ask(target, max_tokens)
            assert (reply.error, len(reply.text)) == ("disconnected", seen)
            assert (truths[-1].fault, truths[-1].output_tokens) == ("reset", seen)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post_json(target, {"max_tokens": 6})
        assert (truths[-1].fault, truths[-1].output_tokens) == ("reset", 0)


async def post_json(target: HttpTarget, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """A request that is none of the load generator's."""
    body = {"messages": [{"role": "user", "content": "a b c"}], **fields}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{target.server.base}/chat/completions", json=body) as response,
    ):
        return response.status, await response.json()


async def test_a_whole_answer_comes_when_its_last_chunk_would() -> None:
    async with served(Behaviour(ttft_s=0.1, itl_s=0.05)) as (target, truths):
        status, body = await post_json(target, {"max_tokens": 3})
    assert status == 200
    assert body["choices"][0]["message"]["content"] == "w w w "
    assert body["usage"]["completion_tokens"] == 3
    assert truths[0].end_s - truths[0].arrived_s >= 0.199


async def test_what_is_no_request_is_refused_and_not_counted() -> None:
    async with served(Behaviour(error_rate=1.0)) as (target, truths):
        assert (await post_json(target, {"max_tokens": -1}))[0] == 400
        assert (await post_json(target, {"messages": []}))[0] == 400
        async with aiohttp.ClientSession() as http, http.get(target.server.base.with_path("/health")) as response:
            assert response.status == 200
    assert truths == []


async def test_a_freeze_holds_streams_and_arrivals_alike() -> None:
    async with served(Behaviour(ttft_s=0.05, itl_s=0.05, freeze_at_s=0.2, freeze_for_s=1.0)) as (target, _):
        first = asyncio.create_task(ask(target, 10))
        await asyncio.sleep(0.5)
        replies = [await first, await ask(target, 2), await ask(target, 2)]
    assert 1_000_000 <= max(replies[0].gaps_us) <= 3_000_000
    assert sorted(replies[0].gaps_us)[-2] <= 900_000, "once"
    assert since_sent(replies[1], replies[1].first_s) <= 0.9, "by then it is over"


async def test_who_arrives_in_a_freeze_waits_for_its_end() -> None:
    async with served(Behaviour(ttft_s=0.05, freeze_at_s=0.1, freeze_for_s=1.0)) as (target, truths):
        await ask(target, 1)
        await asyncio.sleep(0.2)
        reply = await ask(target, 1)
    assert truths[1].first_s is not None
    assert 0.3 <= truths[1].first_s - truths[1].arrived_s <= since_sent(reply, reply.first_s) <= 3


async def test_a_client_that_hangs_up_is_in_the_log() -> None:
    async with served(Behaviour(ttft_s=0.02, itl_s=0.1)) as (target, truths):
        for max_tokens in (50, 1):
            patience_s = 0.6 if max_tokens > 1 else 0.005
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(target, max_tokens), patience_s)
        deadline = time.monotonic() + 5
        while len(truths) < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    assert [truth.fault for truth in truths] == ["cancelled"] * 2
    assert 1 <= truths[0].output_tokens <= 10
    assert len(truths[0].gaps_us) == truths[0].output_tokens - 1
    assert (truths[1].output_tokens, truths[1].first_s) == (0, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cuts_off_what_is_under_way_and_leaves_a_whole_log(tmp_path: Path, number: signal.Signals) -> None:
    truths = tmp_path / "truths.jsonl"
    with null_server("--ttft", "10", "--itl", "60000", "--log", str(truths), log=tmp_path / "log") as server:
        url = f"{server.url}/v1/chat/completions"
        ended = {"messages": [{"role": "user", "content": "a b"}], "max_tokens": 1}
        assert post(url, ended, {"X-Request-ID": "first"})[0] == 200
        body = b'{"messages":[{"role":"user","content":"a"}],"max_tokens":9,"stream":true}'
        with urllib.request.urlopen(urllib.request.Request(url, body, {"X-Request-ID": "second"}), timeout=30) as held:
            assert held.readline().startswith(b"data: ")
            server.process.send_signal(number)
            assert server.process.wait(10) == 0
    assert [(truth.request_id, truth.fault, truth.output_tokens) for truth in read_truths(truths)] == [
        ("first", None, 1),
        ("second", "cancelled", 1),
    ]
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_log_is_never_written_over_nor_left_by_a_server_that_did_not_start(tmp_path: Path) -> None:
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_text("precious\n")
    result = abatch("null-server", "--port", "0", "--log", old)
    assert (result.returncode, old.read_text()) == (2, "precious\n")
    assert "exists already" in result.stderr
    with null_server(log=tmp_path / "log") as server:
        result = abatch("null-server", "--port", server.url.rpartition(":")[2], "--log", new)
    assert result.returncode == 2
    assert "in use" in result.stderr
    assert not new.exists()


def test_it_ends_when_whoever_launched_it_is_gone(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command("null-server", "--port", "0", "--exit-on-eof"), stdin=subprocess.PIPE, stderr=log
        )
    deadline = time.monotonic() + 30
    while " at http" not in (said := (tmp_path / "log").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert get(f"{said.partition(' at ')[2].split()[0]}/v1/models")[0] == 200
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0
