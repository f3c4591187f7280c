"""Web pages of other origins: which may call a server, and what browsers are told."""

from __future__ import annotations

import json

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.server.front.cross_origin import CrossOrigin
from aiohttp.test_utils import TestClient
from support.scripted_server import Script, scripted_server

_PAGE = "https://page.example"
_HI = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
_PREFLIGHT = {
    "Origin": _PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,x-stainless-os",
}
_ALLOWED = "Access-Control-Allow-Origin"


@pytest.mark.parametrize(("origin", "allowed"), [(_PAGE, _PAGE), ("*", "*")])
async def test_a_preflight_needs_no_key_and_every_answer_is_marked(origin: str, allowed: str) -> None:
    async with (
        scripted_server(Script(dies_after=1), api_key="secret", origins=(origin,)) as server,
        TestClient(server) as client,
    ):
        preflight = await client.options("/v1/chat/completions", headers=_PREFLIGHT)
        assert preflight.status == 204
        assert preflight.headers[_ALLOWED] == allowed
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert preflight.headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
        key = {"Origin": _PAGE, "Authorization": "Bearer secret"}
        answers = [
            await client.get("/v1/models", headers=key),
            await client.get("/v1/models", headers={"Origin": _PAGE}),
            await client.get("/nowhere", headers=key),
            await client.post("/v1/chat/completions", headers=key, data=b"{"),
            await client.post("/v1/chat/completions", headers=key, data=json.dumps(_HI | {"stream": True})),
            await client.post("/v1/messages", headers=key, data=b"{"),
        ]
        assert [answer.status for answer in answers] == [200, 401, 404, 400, 200, 400]
        assert {answer.headers.get(_ALLOWED) for answer in answers} == {allowed}
        assert all(("Vary" in answer.headers) is (origin != "*") for answer in [preflight, *answers])
        assert "exit code -9" in await answers[4].text(), "a stream that fails is readable, too"


@pytest.mark.parametrize("origins", [(), ("https://other.example",), ("https://page.example:8443",)])
async def test_pages_that_were_not_named_are_told_nothing(origins: tuple[str, ...]) -> None:
    async with scripted_server(Script(), origins=origins) as server, TestClient(server) as client:
        preflight = await client.options("/v1/chat/completions", headers=_PREFLIGHT)
        answer = await client.get("/v1/models", headers={"Origin": _PAGE})
        assert preflight.status == 405
        assert answer.status == 200
        for response in (preflight, answer):
            assert not [name for name in response.headers if name.startswith("Access-Control")]


async def test_an_options_that_is_no_preflight_is_no_route() -> None:
    async with scripted_server(Script(), origins=("*",)) as server, TestClient(server) as client:
        assert (await client.options("/v1/models", headers={"Origin": _PAGE})).status == 405


@pytest.mark.parametrize("origin", ["HTTPS://Page.Example", "https://page.example:443", "https://page.example/"])
async def test_an_origin_is_written_as_browsers_write_it(origin: str) -> None:
    async with scripted_server(Script(), origins=(origin,)) as server, TestClient(server) as client:
        answer = await client.get("/v1/models", headers={"Origin": _PAGE})
        assert answer.headers[_ALLOWED] == _PAGE


@pytest.mark.parametrize(
    "origin",
    ["", "page.example", "https://", "https://page.example/path", "https://u:p@page.example", "null", "http://a b"],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="--cors-origin"):
        CrossOrigin([origin])
