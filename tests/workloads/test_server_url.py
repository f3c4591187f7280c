"""URLs as people write them: what is wrong is said, and no part of a password is."""

from __future__ import annotations

import re

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.targets.server_url import hide_credentials, normalise_metrics_url, normalise_url
from hypothesis import given
from hypothesis import strategies as st

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
