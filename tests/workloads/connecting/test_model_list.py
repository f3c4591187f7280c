"""Lists of models from all kinds of servers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.model_list import model_names
from abatch.workloads.targets.unreachable import TargetError
from support.raw_server import raw_server


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        (
            {"object": "models", "data": [{"id": "a", "owned_by": None, "created": 1.7e9, "max_model_len": "8192"}]},
            ["a"],
        ),
        ({"data": [{"id": "a", "object": None, "permission": [{}], "root": {}}, None, {"id": None}]}, ["a"]),
        ({"models": [{"name": "llama3:8b", "model": "llama3:8b", "size": 4}]}, ["llama3:8b"]),
        ({"models": [{"name": "x"}], "object": "list", "data": [{"id": "y"}]}, ["y"]),
        ({"data": None, "models": ["a"]}, ["a"]),
        ([{"id": "a"}], ["a"]),
        ({"data": []}, []),
    ],
)
def test_only_the_names_matter(answer: Any, names: list[str]) -> None:
    assert model_names(json.dumps(answer).encode()) == names


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'"models"', b'{"data": 3}', b'{"data": [1, {}]}', b"\xff"])
def test_what_is_no_list_of_models(answer: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        model_names(answer)


async def test_a_path_that_may_lack_its_version() -> None:
    body = b'{"detail": "Not Found"}'
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with raw_server([head + body], [head + body]) as server:
        for path, advice in (("/team", "give --url"), ("/v1", "is it an OpenAI-compatible server")):
            with pytest.raises(TargetError, match=f"404: Not Found; .*{advice}"):
                await HttpTarget.connect(server.url + path, model=None, api_key=None, headers={}, timeout_s=5)
