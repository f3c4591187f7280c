"""What is particular to the Hermes format."""

from __future__ import annotations

import pytest
from abatch.engine.server.tools.calls import ParsedToolCall
from abatch.engine.server.tools.hermes import hermes_parser

_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris", "days": [1, 2]}}\n</tool_call>'
_PARSED = ParsedToolCall("weather", '{"city": "Paris", "days": [1, 2]}')


def parse(parts: list[str]) -> tuple[str, list[ParsedToolCall]]:
    parser = hermes_parser()
    results = [*(parser.add(part) for part in parts), parser.flush()]
    return "".join(text for text, _ in results), [call for _, calls in results for call in calls]


def test_a_call_cut_off_before_its_closing_tag_counts_if_it_is_whole() -> None:
    assert parse([_CALL.removesuffix("</tool_call>")]) == ("", [_PARSED])


@pytest.mark.parametrize("rest", ["<", "</tool", "</tool_call"])
def test_a_call_cut_off_within_its_closing_tag_counts_too(rest: str) -> None:
    assert parse([_CALL.removesuffix("</tool_call>") + rest]) == ("", [_PARSED])


def test_text_behind_a_call_keeps_its_spaces() -> None:
    assert parse([_CALL, "\n\n", "Hello", " ", "world", "\n", "!"]) == ("Hello world\n!", [_PARSED])


def test_what_is_not_json_stays_text() -> None:
    broken = '<tool_call>{"name": "weather", </tool_call>'
    assert parse([broken, " then"]) == (broken + " then", [])
    assert parse(["<tool_call>{"]) == ("<tool_call>{", [])
