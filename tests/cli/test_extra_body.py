"""--extra-body and --max-tokens-field: what is no such thing is found before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from abatch.cli.options.connecting import ConnectingOptions
from abatch.cli.options.extra_body import checked_field, parse_extra_body
from abatch.engine.errors import ConfigurationError


def test_an_object_or_a_file_of_one(tmp_path: Path) -> None:
    assert parse_extra_body('{"top_k": 1, "chat_template_kwargs": {"enable_thinking": false}}') == {
        "top_k": 1,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    file = tmp_path / "body.json"
    file.write_text('{"top_k": 2}')
    assert parse_extra_body(f"@{file}") == {"top_k": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("top_k", "is not JSON"),
        ("[1]", "must be a JSON object"),
        ("{", "is not JSON"),
        ("\udcff", "is not JSON"),
        ("@/no/such/file", "cannot read --extra-body /no/such/file: No such file"),
        ("@/", "cannot read --extra-body /:"),
        ('{"model": "x"}', "give --model"),
        ('{"messages": []}', "the workload"),
    ],
)
def test_what_is_no_extra_body(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_extra_body(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_fields() -> None:
    assert checked_field("max_completion_tokens") == "max_completion_tokens"
    for name in ("", "max tokens", "max-tokens", "3"):
        with pytest.raises(ConfigurationError, match="--max-tokens-field"):
            checked_field(name)


def test_both_reach_the_connection() -> None:
    options = ConnectingOptions(extra_body='{"top_k": 1}', max_tokens_field="max_new_tokens")
    connection = options.connection("http://h")
    assert (connection.extra_body, connection.max_tokens_field) == ({"top_k": 1}, "max_new_tokens")
    saved = {"extra_body": {"top_k": 1}, "max_tokens_field": "max_new_tokens"}
    assert saved.items() <= options.saved_request().items()


def test_a_proxy_s_password_is_not_saved() -> None:
    options = ConnectingOptions(proxy="http://me:s3cret@127.0.0.1:1")
    assert options.connection("http://h").network.proxy == "http://me:s3cret@127.0.0.1:1"
    assert options.saved_request()["proxy"] == "http://127.0.0.1:1"
