"""Who is let in: with a key, and from where."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.server.front.bearer import is_authorized
from abatch.engine.server.front.listening import Listening, is_local
from abatch.engine.server.serve import ServerConfig, serve
from support.fronts import engine_app, front, head, status_of


def test_the_scheme_may_be_in_any_case_and_the_key_may_not() -> None:
    for header in ("Bearer Key", "bearer Key", "BEARER  Key"):
        assert is_authorized(header, "Key")
    for header in ("", "Bearer", "Bearer key", "Basic Key", "Key", "Bearer Key2", "Bearer\tKey", "Bearer K\udcffy"):
        assert not is_authorized(header, "Key")


async def test_a_key_in_any_case_of_bearer_over_http() -> None:
    async with front(engine_app(api_key="Key")) as server:
        for scheme, status in ((b"bearer Key", 200), (b"bEARER Key", 200), (b"bearer key", 401)):
            request = head(b"GET", b"/v1/models", b"Authorization: " + scheme, b"Connection: close")
            assert status_of(await server.exchange(request)) == status


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_only_this_machine_can_reach(host: str, expected: bool) -> None:
    with Listening(host=host, port=0).bind() as listener:
        assert is_local(listener) is expected


def test_an_inherited_socket_is_judged_by_where_it_is_bound() -> None:
    with Listening(host="0.0.0.0", port=0).bind() as bound, Listening(fd=os.dup(bound.fileno())).bind() as listener:
        assert not is_local(listener)
    with socket.socket(socket.AF_INET6) as mapped:
        mapped.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        mapped.bind(("::ffff:127.0.0.1", 0))
        assert is_local(mapped)
    with socket.socket(socket.AF_UNIX) as named:
        named.bind("\0abatch-test-" + str(os.getpid()))
        assert is_local(named)


def test_a_server_that_others_can_reach_wants_a_key_or_a_word() -> None:
    open_to_all = ServerConfig(listening=Listening(host="0.0.0.0", port=0))
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0:\d+ can be reached from other machines: .*--no-auth"):
        asyncio.run(serve(EngineConfig(), open_to_all, lambda *_: None))
