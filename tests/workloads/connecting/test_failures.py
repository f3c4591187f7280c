"""What servers say when they refuse a request is shown in their own words, without the JSON around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from abatch.workloads.targets.wire.failures import error_message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "no", "type": "x", "param": None, "code": "y"}}, "no"),
        ({"error": {"message": "no", "code": 400}}, "no"),
        ({"error": {"message": "not supported", "param": "max_tokens"}}, "not supported (max_tokens)"),
        ({"error": {"message": "no 'seed' here", "param": "seed"}}, "no 'seed' here"),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"},
            "Overloaded",
        ),
        ({"object": "error", "message": "no", "type": "BadRequestError", "param": None, "code": 400}, "no"),
        ({"error": "no", "error_type": "validation"}, "no"),
        ({"error": None, "message": "no"}, "no"),
        ({"detail": "Not Found"}, "Not Found"),
        (
            {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "ignore_eos"], "msg": "Extra inputs", "input": True}
                ]
            },
            "Extra inputs (ignore_eos)",
        ),
        (
            {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "no"}, {"msg": "nor"}]},
            "no (messages.0.role); nor",
        ),
        ({"detail": {"error": {"message": "no"}}}, "no"),
        ([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}], "API key not valid"),
        ({"errors": [{"message": "a"}, {"message": "b"}]}, "a; b"),
        ({"message": ["a", 3]}, "a"),
        ({"message": 3}, '{"message": 3}'),
        ({"detail": {"a": {}}}, '{"detail": {"a": {}}}'),
        (3, "3"),
    ],
)
def test_the_message_of_a_body(body: Any, message: str) -> None:
    assert error_message(json.dumps(body).encode()) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "(no text)"),
        (b"<html>502", "(an HTML page)"),
        (b"upstream \xff failed", "upstream \N{REPLACEMENT CHARACTER} failed"),
        (b'{"error":' * 100, '{"error":' * 33 + '{"e'),
        (b'{"error":' * 90 + b'"deep"' + b"}" * 90, '{"error":' * 33 + '{"e'),
    ],
)
def test_what_is_no_json_is_shown_as_it_is(body: bytes, message: str) -> None:
    assert error_message(body) == message
