"""URLs as people write them: what is wrong is said, and no part of a password is."""

from __future__ import annotations

import re

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.secrets import Secrets
from abatch.workloads.targets.server_url import hide_credentials, normalise_metrics_url, normalise_url
from abatch.workloads.targets.target import Call, Reply
from hypothesis import given
from hypothesis import strategies as st
from support.fake_server import Behaviour, fake_server

_MALFORMED = [
    "http://user:hunter swordfish@host:99999999/",
    "https://user:hunter@swordfish@[::1",
    "user:hunter2@host",
    "http://user:hunter/swordfish@host:8000",
    "http://user:hunter?swordfish@host",
    "http://user:hunter#swordfish@host/v1",
    "http://user:hunter%40host:8000/",
    "http://user:hunter",
    "//user:hunter@host",
    "ftp://user:hunter@host",
    " http://user:hunter@host",
    "http://user:[hunter]@host:port",
    "http://:hunter@",
    "http://user:12/hunter@host",
]


@pytest.mark.parametrize("url", _MALFORMED)
def test_no_part_of_a_password_is_shown_where_the_url_is_none(url: str) -> None:
    assert "hunter" not in hide_credentials(url)
    for normalise in (normalise_url, normalise_metrics_url):
        said = ""
        try:
            normalise(url)
        except ConfigurationError as error:
            said = str(error)
        assert not re.search(r"hunter|swordfish|\n", said)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://user:word@host/v1?key=secret#part", "https://host/v1"),
        ("https://user:w%40rd@host:8000", "https://host:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("localhost:8000", "localhost:8000"),
        ("http://host:port/v1", "http://host:.../v1"),
        ("http://user:a@b@host", "http://host"),
        ("http://host/v1?mail=a@b", "http://b"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert hide_credentials(url) == shown


@given(st.text("ab:/?#[]@ %40\\\u00e9", max_size=30), st.sampled_from(["http://", "https://", "", "//", "x://"]))
def test_a_password_of_any_characters_is_hidden(odd: str, scheme: str) -> None:
    for password in (f"hunter2{odd}", f"{odd}hunter2", f"hunter2{odd}hunter2"):
        assert "hunter2" not in hide_credentials(f"{scheme}user:{password}@host:8000/v1")


def test_keys_that_a_server_sends_back_are_hidden() -> None:
    headers = {
        "Authorization": "Bearer sk-abcdef123",
        "X-Api-Key": "hunter22",
        "Cookie": "session=swordfish; theme=dark",
        "X-Team": "a-team-of-ours",
    }
    secrets = Secrets("https://user:w%40rd1234@host", headers)
    said = "no key sk-abcdef123, hunter22 or swordfish for a-team-of-ours (Bearer sk-abcdef123; w@rd1234, w%40rd1234)"
    assert secrets.hidden(said) == "no key ***, *** or *** for a-team-of-ours (***; ***, ***)"
    assert Secrets("http://host", {"Authorization": "Bearer k"}).hidden("ok") == "ok", "too short to be told from words"


async def test_a_key_in_an_error_message_reaches_no_reply() -> None:
    said = b'data: {"error": {"message": "wrong key: sk-abcdef123", "type": "x"}}\n\n'
    async with fake_server(Behaviour(raw=[said])) as url:
        target = await HttpTarget.connect(url, model="m", api_key="sk-abcdef123", headers={}, timeout_s=1)
        reply = Reply()
        await target.send(Call([ChatMessage(role="user", content="hi")], 1, "s"), reply)
        await target.close()
    assert (reply.error, reply.error_message) == ("server_error", "wrong key: ***")
