"""Tool calls in a text stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from abatch.engine.server.tools.calls import ParsedToolCall
from abatch.engine.server.tools.hermes import HermesParser
from hypothesis import given
from hypothesis import strategies as st

_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris", "days": [1, 2]}}\n</tool_call>'
_PARSED = ParsedToolCall("weather", '{"city": "Paris", "days": [1, 2]}')


def parse(parts: list[str]) -> tuple[str, list[ParsedToolCall]]:
    parser = HermesParser()
    results = [*(parser.add(part) for part in parts), parser.flush()]
    return "".join(text for text, _ in results), [call for _, calls in results for call in calls]


@given(st.lists(st.integers(0, 200), max_size=8))
def test_calls_are_found_however_the_text_is_cut(cuts: list[int]) -> None:
    text = f"Let me see. {_CALL}\n{_CALL}"
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    parts = [text[start:end] for start, end in pairwise(edges)]
    content, calls = parse(parts)
    assert calls == [_PARSED, _PARSED]
    assert content.strip() == "Let me see."


def test_text_without_calls_passes_unchanged() -> None:
    assert parse(["a < b, ", "<tool", "box>", " c"]) == ("a < b, <toolbox> c", [])


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


def test_arguments_may_be_a_string_of_json_or_missing() -> None:
    assert parse(['<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>'])[1] == [
        ParsedToolCall("f", '{"x": 1}')
    ]
    assert parse(['<tool_call>{"name": "f"}</tool_call>'])[1] == [ParsedToolCall("f", "{}")]
    assert parse(['<tool_call>{"name": "f", "arguments": null}</tool_call>'])[1] == [ParsedToolCall("f", "{}")]


_FRAGMENTS = ["<tool_call>", "</tool_call>", '{"name": "f"}', " ", "x", "<tool_c", "</tool_", "all>"]


@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=12).map("".join), st.lists(st.integers(0, 90), max_size=8))
def test_any_mixture_of_tags_reads_the_same_however_it_is_cut(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    assert parse([text[start:end] for start, end in pairwise(edges)]) == parse([text])


def test_arguments_nested_too_deeply_stay_text() -> None:
    said = f'<tool_call>{{"name": "f", "arguments": {"[" * 5000}{"]" * 5000}}}</tool_call>'
    assert parse([said]) == (said, [])
