"""URLs as people write them: what is wrong is said, and no part of a password is."""

from __future__ import annotations

import re

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.secrets import Secrets
from abatch.workloads.targets.server_url import ServerUrl, hide_credentials, normalise_metrics_url, with_scheme
from abatch.workloads.targets.target import Call, Reply
from hypothesis import given
from hypothesis import strategies as st
from support.fake_server import Behaviour, fake_server
from yarl import URL

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
    for normalise in (ServerUrl.parse, normalise_metrics_url):
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


@pytest.mark.parametrize(
    ("url", "chat", "metrics"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions", "http://h:1/metrics"),
        ("HTTP://h:1/#top", "http://h:1/v1/chat/completions", "http://h:1/metrics"),
        (" http://h:1/v1/ ", "http://h:1/v1/chat/completions", "http://h:1/metrics"),
        ("http://h/v1?api-version=1", "http://h/v1/chat/completions?api-version=1", "http://h/metrics?api-version=1"),
        ("http://h?a=1%2B2&b=c+d", "http://h/v1/chat/completions?a=1%2B2&b=c+d", "http://h/metrics?a=1%2B2&b=c+d"),
        ("http://h/v1beta/openai", "http://h/v1beta/openai/chat/completions", "http://h/metrics"),
        ("http://h/api/paas/v4/", "http://h/api/paas/v4/chat/completions", "http://h/api/paas/metrics"),
        ("http://h/v2", "http://h/v2/chat/completions", "http://h/metrics"),
        ("http://h/api/v3", "http://h/api/v3/chat/completions", "http://h/api/metrics"),
        ("http://h/team%2Fa/v1", "http://h/team%2Fa/v1/chat/completions", "http://h/team%2Fa/metrics"),
        ("http://h/team", "http://h/team/chat/completions", "http://h/team/metrics"),
        ("http://h/chat/completions", "http://h/chat/completions", "http://h/metrics"),
        ("http://h/v1/chat/completions/", "http://h/v1/chat/completions", "http://h/metrics"),
        (
            "https://h/openai/deployments/d/chat/completions?api-version=1",
            "https://h/openai/deployments/d/chat/completions?api-version=1",
            "https://h/openai/deployments/d/metrics?api-version=1",
        ),
        ("http://h/v1/models", "http://h/v1/chat/completions", "http://h/metrics"),
        ("http://u:w%40rd@[::1]:1", "http://u:w%40rd@[::1]:1/v1/chat/completions", "http://u:w%40rd@[::1]:1/metrics"),
    ],
)
def test_urls_as_people_write_them(url: str, chat: str, metrics: str) -> None:
    server = ServerUrl.parse(url)
    assert str(server.endpoint("chat/completions")) == chat
    assert str(server.metrics) == metrics
    assert str(server.models) == chat.replace("chat/completions", "models")


@pytest.mark.parametrize("endpoint", ["chat/completions", "completions", "responses", "messages"])
def test_a_whole_endpoint_is_recognised(endpoint: str) -> None:
    server = ServerUrl.parse(f"https://h/v1beta/{endpoint}?key=x")
    assert server.named_endpoint == endpoint
    assert str(server.endpoint(endpoint)) == f"https://h/v1beta/{endpoint}?key=x"
    assert server.shown == f"https://h/v1beta/{endpoint}"
    assert ServerUrl.parse("https://h/v1/models").named_endpoint is None


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "", "http://", "http://u:s3cret@h:99999", "http://[::1"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServerUrl.parse(url)
    assert "--url" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_keys_that_a_server_sends_back_are_hidden() -> None:
    headers = {
        "Authorization": "Bearer sk-abcdef123",
        "X-Api-Key": "hunter22",
        "Cookie": "session=swordfish; theme=dark",
        "X-Team": "a-team-of-ours",
    }
    secrets = Secrets(URL("https://user:w%40rd1234@host/v1?api-version=2026-01-01&key=in%2Furl%2Ftoo"), headers)
    said = (
        "no key sk-abcdef123, hunter22 or swordfish for a-team-of-ours "
        "(Bearer sk-abcdef123; w@rd1234, w%40rd1234, in%2Furl%2Ftoo)"
    )
    assert secrets.hidden(said) == "no key ***, *** or *** for a-team-of-ours (***; ***, ***, ***)"
    assert Secrets(URL("http://host"), {"Authorization": "Bearer k"}).hidden("ok") == "ok", (
        "too short to be told from words"
    )


async def test_a_key_in_an_error_message_reaches_no_reply() -> None:
    said = b'data: {"error": {"message": "wrong key: sk-abcdef123", "type": "x"}}\n\n'
    async with fake_server(Behaviour(raw=[said])) as url:
        target = await HttpTarget.connect(url, model="m", api_key="sk-abcdef123", headers={}, timeout_s=1)
        reply = Reply()
        await target.send(Call([ChatMessage(role="user", content="hi")], 1, "s"), reply)
        await target.close()
    assert (reply.error, reply.error_message) == ("server_error", "wrong key: ***")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" localhost:8000 ", "http://localhost:8000"),
        ("gpu-box:8000/v1?a=b", "http://gpu-box:8000/v1?a=b"),
        (":8000", "http://127.0.0.1:8000"),
        ("8000", "http://127.0.0.1:8000"),
        ("[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("api.example.org/v1", "http://api.example.org/v1"),
        ("api.example.org:443/v1", "https://api.example.org:443/v1"),
        ("http://h", "http://h"),
        ("htp://h", "htp://h"),
        ("user:hunter2@host:80", "user:hunter2@host:80"),
        ("//host", "//host"),
        ("", ""),
        ("/v1", "/v1"),
        ("./folder", "./folder"),
    ],
)
def test_a_scheme_that_was_left_out(text: str, meant: str) -> None:
    assert with_scheme(text) == meant
