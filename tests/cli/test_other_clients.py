"""OPENAI_BASE_URL and OPENAI_API_KEY, as other clients read them: used where nothing else is said, and said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from abatch.cli.options.connecting import ConnectingOptions
from abatch.engine.errors import ConfigurationError
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.unreachable import TargetError
from abatch.workloads.targets.wire.vendors import vendor_of
from aiohttp import web
from support.app_server import app_server
from support.cli import abatch

_SERVER = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "ANTHROPIC_BASE_URL": "http://127.0.0.1:10"}
_KEYS = {"OPENAI_API_KEY": "sk-s3cret", "ANTHROPIC_API_KEY": "sk-ant-s3cret"}
_NAMED = "abatch: OPENAI_BASE_URL names the server: http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("words", "variables", "lines"),
    [
        (["bench"], {}, [_NAMED]),
        (["bench"], _KEYS, [_NAMED, "abatch: OPENAI_API_KEY is sent to http://127.0.0.1:9/v1"]),
        (["bench", "--api-key", "mine"], _KEYS, [_NAMED]),
        (["bench"], {**_KEYS, "ABATCH_API_KEY": "mine"}, [_NAMED]),
        (["bench", "--header", "Authorization: mine"], _KEYS, [_NAMED]),
        (["bench", "--url", "http://127.0.0.1:11"], _KEYS, ["abatch: OPENAI_API_KEY is sent to http://127.0.0.1:11"]),
        (["bench", "--url", "http://127.0.0.1:11"], {}, []),
        (
            ["calibrate", "-r", "5", "http://127.0.0.1:11"],
            _KEYS,
            ["abatch: OPENAI_API_KEY is sent to http://127.0.0.1:11"],
        ),
        (
            ["bench", "--api", "messages"],
            _KEYS,
            [
                "abatch: ANTHROPIC_BASE_URL names the server: http://127.0.0.1:10/v1",
                "abatch: ANTHROPIC_API_KEY is sent to http://127.0.0.1:10/v1",
            ],
        ),
    ],
)
def test_what_is_used_is_said(words: list[str], variables: dict[str, str], lines: list[str], tmp_path: Path) -> None:
    result = abatch(*words, cwd=tmp_path, **_SERVER, **variables)
    *said, last = result.stderr.splitlines()
    assert (result.returncode, said) == (1, lines)
    assert last.startswith("abatch: cannot reach http://127.0.0.1:")
    assert "s3cret" not in result.stderr


def test_compare_says_which_servers_get_a_key(tmp_path: Path) -> None:
    words = ["compare", "http://127.0.0.1:11", "http://10.255.255.1:1", "--workload", "nope"]
    result = abatch(*words, cwd=tmp_path, **_KEYS)
    assert result.stderr.splitlines()[:-1] == ["abatch: OPENAI_API_KEY is sent to http://127.0.0.1:11"]


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "--device", "simulated:h9000"],
        ["bench", "--max-num-seqs", "4", "--num-blocks", "0"],
        ["bench", "--step-log", "-m", "a/b/c"],
        ["bench", "a/b/c"],
        ["serve", "-m", "a/b/c"],
        ["compare", "-m", "a/b/c"],
    ],
)
def test_where_our_own_engine_is_meant_it_is_ours(words: list[str], tmp_path: Path) -> None:
    result = abatch(*words, cwd=tmp_path, **_SERVER)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "127.0.0.1" not in result.stderr


@pytest.mark.parametrize(
    ("url", "api", "key"),
    [
        ("http://127.0.0.1:7", "auto", "sk-s3cret"),
        ("http://localhost:7/v1", "chat", "sk-s3cret"),
        ("https://api.openai.com/v1", "auto", "sk-s3cret"),
        ("http://gateway.example:8080/other/v1", "auto", "sk-s3cret"),
        ("http://gateway.example:8081/v1", "auto", None),
        ("https://gateway.example:8080/v1", "auto", None),
        ("http://api.openai.com/v1", "auto", None),
        ("https://api.openai.com.example/v1", "auto", None),
        ("https://api.anthropic.com", "auto", None),
        ("https://api.anthropic.com", "messages", "sk-ant-s3cret"),
        ("https://api.openai.com/v1", "messages", None),
        ("http://me:word@127.0.0.1:7", "auto", None),
    ],
)
def test_a_key_goes_to_its_own_server_or_to_this_machine(
    url: str, api: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway.example:8080/v1")
    for name, value in _KEYS.items():
        monkeypatch.setenv(name, value)
    assert ConnectingOptions(api=api).connection(url).api_key == key


def test_a_key_that_can_be_none_is_one_line_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "two s3cret words")
    with pytest.raises(ConfigurationError, match=r"^OPENAI_API_KEY must be one word") as error:
        ConnectingOptions().connection("http://127.0.0.1:7")
    assert "s3cret" not in str(error.value)


def test_anthropic_s_clients_add_the_version_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for url, meant in (("http://h", "http://h/v1"), ("http://h/a/", "http://h/a/v1"), ("http://h/v1", "http://h/v1")):
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        assert vendor_of("messages").url == meant


@asynccontextmanager
async def _wants_a_key() -> AsyncIterator[str]:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": "no key"}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    async with app_server(app) as url:
        yield url


async def _refusal(url: str, model: str | None, api_key: str | None) -> str:
    """What a target is refused with."""
    try:
        target = await HttpTarget.connect(url, model=model, api_key=api_key, headers={}, timeout_s=5)
    except TargetError as error:
        return str(error)
    try:
        await target.calibrate()
    except TargetError as error:
        return str(error)
    finally:
        await target.close()
    raise AssertionError


@pytest.mark.parametrize("model", [None, "m"])
async def test_a_401_names_the_key_that_was_not_sent(model: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "(OPENAI_API_KEY is set and was not sent, as this is not its server: give --api-key)"
    async with _wants_a_key() as url:
        assert "OPENAI" not in await _refusal(url, model, None)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-s3cret")
        assert (await _refusal(url, model, None)).endswith(hint)
        assert "OPENAI" not in await _refusal(url, model, "mine")
