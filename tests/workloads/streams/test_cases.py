"""Streams that failed when they were tried, where they lie beside the repository: each says what is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.answers import answered

_FILE = Path(__file__).parents[4] / "shared" / "cases" / "streams.jsonl"
_CASES = [json.loads(line) for line in _FILE.read_text().splitlines()] if _FILE.exists() else []


@pytest.mark.skipif(not _CASES, reason="no shared cases here; test_shapes.py has the same kinds")
@pytest.mark.parametrize("case", _CASES, ids=lambda case: case["name"])
def test_every_shared_case(case: dict[str, Any]) -> None:
    right = case["right"]
    reply = answered(*case["chunks"])
    assert ("ok" if reply.error is None else "failed") == right["status"]
    assert reply.error == right.get("error_class")
    assert right.get("message_contains", "") in (reply.error_message or "")
    assert len(reply.text) == right.get("content_chunks", len(reply.text))
    assert reply.output_tokens == right.get("completion_tokens", reply.output_tokens)
    assert reply.malformed_events == right.get("malformed_events", 0)
    assert (reply.finish_reason is None and reply.error is None) is (right.get("note") == "no finish reason")
    assert reply.was_streamed is (right.get("note") != "not streamed")
    assert reply.has_odd_usage is (right.get("note") == "usage out of range")
