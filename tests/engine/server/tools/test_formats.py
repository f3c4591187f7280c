"""Tool calls in every format: found however the text is cut, always a JSON object or text, never lost."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from abatch.engine.models.tiny_tokenizer import CHAT_TEMPLATE
from abatch.engine.server.tools.calls import ParsedToolCall
from abatch.engine.server.tools.formats import HERMES, LLAMA3, MISTRAL, ToolFormat, tool_format_named
from abatch.engine.server.tools.marked import JsonExtent
from hypothesis import given
from hypothesis import strategies as st
from support.chat_templates import LLAMA_3_1, LLAMA_3_2, MISTRAL_2407, MISTRAL_2506, QWEN_2_5

_PARIS = ParsedToolCall("weather", '{"city": "Par]}is\\"", "days": [1, 2]}')
_NOW = ParsedToolCall("now", "{}")

_CALLS = [
    (HERMES, f'<tool_call>\n{{"name": "weather", "arguments": {_PARIS.arguments}}}\n</tool_call>', [_PARIS]),
    (HERMES, '<tool_call>{"name": "now"}</tool_call>\n<tool_call>{"name": "now"}</tool_call>', [_NOW, _NOW]),
    (LLAMA3, f'{{"name": "weather", "parameters": {_PARIS.arguments}}}', [_PARIS]),
    (LLAMA3, f'{{"type": "function", "name": "weather", "parameters": {_PARIS.arguments}}}', [_PARIS]),
    (LLAMA3, f'<|python_tag|>{{"name": "weather", "arguments": {_PARIS.arguments}}}', [_PARIS]),
    (LLAMA3, '{"name": "now", "parameters": {}}; {"name": "now", "parameters": null}', [_NOW, _NOW]),
    (LLAMA3, '<|python_tag|>{"name": "now"}<|python_tag|>{"name": "now"}', [_NOW, _NOW]),
    (MISTRAL, f'[TOOL_CALLS] [{{"name": "weather", "arguments": {_PARIS.arguments}}}]', [_PARIS]),
    (MISTRAL, '[TOOL_CALLS][{"name": "now", "arguments": {}, "id": "123456789"}, {"name": "now"}]', [_NOW, _NOW]),
    (MISTRAL, f"[TOOL_CALLS]weather[ARGS]{_PARIS.arguments}[TOOL_CALLS]now[ARGS]{{}}", [_PARIS, _NOW]),
    (MISTRAL, f"[TOOL_CALLS]weather[CALL_ID]123456789[ARGS]{_PARIS.arguments}", [_PARIS]),
    (MISTRAL, f"[TOOL_CALLS]weather{_PARIS.arguments}", [_PARIS]),
]
_FORMATS = [HERMES, LLAMA3, MISTRAL]


def parse(tools: ToolFormat, parts: Sequence[str]) -> tuple[str, list[ParsedToolCall]]:
    parser = tools.parser()
    results = [*(parser.add(part) for part in parts), parser.flush()]
    calls = [call for _, calls in results for call in calls]
    assert parser.num_calls == len(calls)
    return "".join(text for text, _ in results), calls


def cut(text: str, cuts: Sequence[int]) -> list[str]:
    edges = [0, *sorted(each % (len(text) + 1) for each in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


_CUTS = st.lists(st.integers(0, 300), max_size=8)


@pytest.mark.parametrize(("tools", "text", "calls"), _CALLS)
@given(cuts=_CUTS)
def test_calls_are_found_however_the_text_is_cut(
    tools: ToolFormat, text: str, calls: list[ParsedToolCall], cuts: list[int]
) -> None:
    assert parse(tools, cut(text, cuts)) == ("", calls)


@pytest.mark.parametrize(("tools", "text", "calls"), [one for one in _CALLS if not one[1].startswith("{")])
def test_text_before_and_behind_calls_is_said(tools: ToolFormat, text: str, calls: list[ParsedToolCall]) -> None:
    said = parse(tools, list(f"One {{moment}}, [please].{text}\n\nThere.\n!"))
    assert said == ("One {moment}, [please].There.\n!", calls)


def _written(tools: ToolFormat, arguments: str, key: str = "arguments") -> str:
    call = f'{{"name": "f", "{key}": {arguments}}}'
    return {"hermes": f"<tool_call>{call}</tool_call>", "llama3": call, "mistral": f"[TOOL_CALLS] [{call}]"}[tools.name]


@pytest.mark.parametrize("tools", _FORMATS)
@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("null", "{}"),
        ('""', "{}"),
        ('"  "', "{}"),
        ('"{\\"x\\": 1}"', '{"x": 1}'),
        ('{"x": "\\ud800"}', None),  # half a character, which no decoder takes
        ('{"x": 1e999, "y": 5e-99215}', '{"x": 1e999, "y": 5e-99215}'),  # JSON, although no float holds it
        ('"hello"', None),
        ('"[1]"', None),
        ("[1, 2]", None),
        ("5", None),
        ("true", None),
        ("[" * 1500 + "]" * 1500, None),
        ('{"x": ' + "[" * 5000 + "]" * 5000 + "}", None),
    ],
)
def test_arguments_are_an_object_or_the_call_stays_text(tools: ToolFormat, arguments: str, read: str | None) -> None:
    for key in ("arguments", "parameters"):
        text = _written(tools, arguments, key)
        assert parse(tools, [text]) == (("", [ParsedToolCall("f", read)]) if read else (text, []))


@pytest.mark.parametrize(
    ("tools", "text"),
    [
        (LLAMA3, '{"name": "Ada", "age": 36}'),  # an answer in JSON
        (LLAMA3, '{"answer": 42} and more'),
        (LLAMA3, '[{"name": "f", "parameters": {}}]'),
        (LLAMA3, "<|python_tag|>print({1: 2})"),
        (LLAMA3, '<|python_tag|>brave_search.call(query="x")'),
        (LLAMA3, 'Say {"name": "f", "parameters": {}}'),
        (LLAMA3, '{"name": "f", "parameters": {'),
        (LLAMA3, "\n\n"),
        (MISTRAL, '[{"name": "f"}]'),
        (MISTRAL, "[TOOL_CALLS] I would call a tool"),
        (MISTRAL, "[TOOL_CALLS]a b[ARGS]{}"),
        (MISTRAL, '[TOOL_CALLS][{"name": "f"}, {"nam": "f"}] so'),
        (MISTRAL, "[TOOL_CALLS][]"),
        (MISTRAL, "[TOOL_CALLS]" + "x" * 2000 + "{}"),
        (MISTRAL, "[TOOL_CA"),
        (HERMES, '<tool_call>{"name": ""}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": {}'),
    ],
)
def test_what_is_no_call_stays_text(tools: ToolFormat, text: str) -> None:
    assert parse(tools, [text]) == parse(tools, list(text)) == (text, [])


_FRAGMENTS = [
    *("<tool_call>", "</tool_call>", "<tool_c", "[TOOL_CALLS]", "[TOOL", "[ARGS]", "<|python_tag|>", "<|python"),
    *('{"name": "f"}', '{"name": "f", "parameters": {}}', "{", "}", "[", "]", '"', "\\", "; ", " ", "\n", "f"),
]
_MIXTURES = st.lists(st.sampled_from(_FRAGMENTS), max_size=12).map("".join)


@pytest.mark.parametrize("tools", _FORMATS)
@given(text=_MIXTURES, cuts=_CUTS)
def test_any_mixture_reads_the_same_however_it_is_cut(tools: ToolFormat, text: str, cuts: list[int]) -> None:
    content, calls = parse(tools, cut(text, cuts))
    assert (content, calls) == parse(tools, [text])
    assert all(isinstance(json.loads(call.arguments), dict) for call in calls)
    if not calls:
        assert content == text


@pytest.mark.parametrize("tools", _FORMATS)
def test_each_character_is_searched_once(tools: ToolFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of 20,000 pieces: what is handed to the search adds up to about its length."""
    num_searched = 0

    class Counted:
        def __init__(self, pattern: re.Pattern[str]) -> None:
            self._pattern = pattern

        def search(self, text: str, position: int) -> re.Match[str] | None:
            nonlocal num_searched
            match = self._pattern.search(text, position)
            num_searched += (match.end() if match else len(text)) - position
            return match

    for name in ("_IN_STRING", "_OUTSIDE"):
        monkeypatch.setattr(JsonExtent, name, Counted(getattr(JsonExtent, name)))
    text = _written(tools, json.dumps({"x": "abc" * 20_000}))
    content, calls = parse(tools, [text[start : start + 3] for start in range(0, len(text), 3)])
    assert content == ""
    assert len(calls) == 1
    assert num_searched <= len(text) + 100


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (CHAT_TEMPLATE, "hermes"),
        (QWEN_2_5, "hermes"),
        (LLAMA_3_1, "llama3"),
        (LLAMA_3_2, "llama3"),
        (MISTRAL_2407, "mistral"),
        (MISTRAL_2506, "mistral"),
        (QWEN_2_5.replace('{"name": ', "<function="), None),  # as Qwen3-Coder
        ("{% for m in messages %}{{ m.content }}{% endfor %}", None),
    ],
)
def test_the_format_is_that_of_the_chat_template(template: str, name: str | None) -> None:
    found = tool_format_named("auto", template)
    assert (found and found.name) == name


def test_a_format_that_was_asked_for_goes_before_the_template() -> None:
    assert tool_format_named("mistral", LLAMA_3_1) is MISTRAL
    plain = tool_format_named("none", LLAMA_3_1)
    assert plain is not None
    text = '<|python_tag|>{"name": "f"}<tool_call>[TOOL_CALLS]'
    assert parse(plain, list(text)) == (text, [])
