"""What a server refuses is found by asking it, and left out with a line; what cannot be left out stays an error."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import msgspec
import pytest
from abatch.cli.measuring.worker_messages import SendShare
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_connection import Connection
from abatch.workloads.targets.refused_fields import Accepted, find_accepted
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.unreachable import TargetError
from abatch.workloads.targets.wire.api import RequestSettings, request_body
from abatch.workloads.targets.wire.chat import ChatApi
from support.fake_server import Behaviour, fake_server

_CALL = Call([ChatMessage(role="user", content="hi")], 1, "s", seed=0)
_LENGTH = {"ignore_eos", "min_tokens"}


async def found(refuses: set[str], names: str = "{}", settings: RequestSettings | None = None) -> tuple[Accepted, int]:
    """What comes of a server that refuses fields, and how often it was asked. `names`: what it says of the first."""
    num_asked = 0

    def sent(settings: RequestSettings) -> Collection[str]:
        return request_body(ChatApi(), _CALL, settings).keys()

    async def ask(settings: RequestSettings) -> Reply:
        nonlocal num_asked
        num_asked += 1
        reply = Reply()
        if bad := [field for field in sent(settings) if field in refuses]:
            reply.fail("http_400", names.format(bad[0]))
        return reply

    return await find_accepted(ask, settings or RequestSettings("m"), sent), num_asked


@pytest.mark.parametrize("names", ["Unsupported value: '{}' has only its default", "body.{}: no extras", "no"])
@pytest.mark.parametrize("field", ["temperature", "seed", "stream_options"])
async def test_a_field_that_is_refused_is_left_out(field: str, names: str) -> None:
    accepted, num_asked = await found({field}, names)
    assert accepted.reply.error is None
    assert accepted.settings == RequestSettings("m", left_out=frozenset({field}))
    assert len(accepted.notes) == 1
    assert accepted.notes[0].startswith(f"the server rejects {field}, so ")
    assert num_asked <= (2 if "{}" in names else 7)


@pytest.mark.parametrize("names", ["unknown parameter {}", "no"])
async def test_a_length_that_cannot_be_fixed_is_known(names: str) -> None:
    accepted, _ = await found({"ignore_eos", "min_tokens"}, names)
    assert not accepted.settings.takes_ignore_eos
    assert "outputs may be shorter" in accepted.notes[0]


@pytest.mark.parametrize("names", ["'{}' is not supported with this model. Use 'max_completion_tokens' instead.", "no"])
async def test_the_newer_name_of_max_tokens(names: str) -> None:
    accepted, _ = await found({"max_tokens"}, names)
    assert accepted.settings == RequestSettings("m", max_tokens_field="max_completion_tokens")
    assert accepted.notes == ["the server rejects max_tokens: it is sent as max_completion_tokens"]


async def test_several_are_refused_one_after_the_other() -> None:
    accepted, num_asked = await found({"max_tokens", "temperature", "stream_options", *_LENGTH}, "what is {}?")
    assert accepted.reply.error is None
    assert len(accepted.notes) == 4, "ignore_eos and min_tokens go together"
    assert num_asked == 5


async def test_without_names_all_are_left_out_together() -> None:
    accepted, num_asked = await found({"temperature", "stream_options"}, "no")
    assert accepted.reply.error is None
    assert {"temperature", "stream_options"} <= accepted.settings.left_out
    assert num_asked <= 12


@pytest.mark.parametrize("refused", ["model", "messages", "stream"])
async def test_what_cannot_be_left_out_stays_an_error(refused: str) -> None:
    for names in ("what is {}?", "no"):
        accepted, num_asked = await found({refused}, names)
        assert accepted.reply.error == "http_400"
        assert (accepted.settings, accepted.notes) == (RequestSettings("m"), ())
        assert num_asked <= 12


async def test_what_the_user_asked_for_is_not_left_out() -> None:
    settings = RequestSettings("m", max_tokens_field="max_tokens", extra={"temperature": 1})
    for refused in ("temperature", "max_tokens"):
        accepted, _ = await found({refused}, "no {}", settings)
        assert accepted.reply.error == "http_400"


async def test_a_run_s_requests_are_as_the_server_wants_them() -> None:
    def objects(body: dict[str, Any]) -> str | None:
        if "max_tokens" in body:
            return "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return "'temperature' does not support 0.0" if "temperature" in body else None

    behaviour = Behaviour(objects=objects)
    async with fake_server(behaviour) as url:
        target = await Connection(url=url, timeout_s=5, extra_body={"top_k": 1, "seed": 7}).open("fake")
        await target.calibrate()
        reply = Reply()
        await target.send(Call(_CALL.messages, 3, "s"), reply)
        await target.close()
    assert reply.error is None
    sent = behaviour.bodies[-1]
    assert (sent["max_completion_tokens"], sent["top_k"], sent["seed"]) == (3, 1, 7)
    assert not {"temperature", "max_tokens"} & sent.keys()
    assert len(behaviour.bodies) == 5, "two refusals, two prompts of different lengths, one call"
    assert len(target.warnings) == 2


def test_worker_processes_get_the_findings() -> None:
    found = RequestSettings("m", False, "max_new_tokens", frozenset({"seed"}), {"top_k": [1]})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=RequestSettings) == found
    assert SendShare.__annotations__["settings"] == "RequestSettings"


async def test_a_server_that_refuses_everything_is_asked_a_few_times() -> None:
    behaviour = Behaviour(objects=lambda body: json.dumps(sorted(body)))
    async with fake_server(behaviour) as url:
        target = await Connection(url=url, timeout_s=5).open("m")
        with pytest.raises(TargetError, match="rejected a one-token test request"):
            await target.calibrate()
        await target.close()
    assert len(behaviour.bodies) <= 12


async def test_what_stands_in_the_way_is_said() -> None:
    """A server that wants other fields first, and has no such model then."""

    async def ask(settings: RequestSettings) -> Reply:
        reply = Reply()
        reply.fail("http_400", "no model 'm' here" if settings.left_out >= _LENGTH else f"unexpected: {_LENGTH}")
        return reply

    accepted = await find_accepted(ask, RequestSettings("m"), lambda settings: request_body(ChatApi(), _CALL, settings))
    assert accepted.reply.error_message == "no model 'm' here"
    assert (accepted.settings, accepted.notes) == (RequestSettings("m"), ())
