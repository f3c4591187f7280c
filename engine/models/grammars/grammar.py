"""Grammars as text, and what they may cost."""

from __future__ import annotations

import json
from typing import Any

from llguidance import LLMatcher, LLParserLimits

_WHITE_SPACE = r"\x20|\x0A[\x20\x09]{0,40}"
"""Between two parts of JSON: a space, or one new line with its indent. Weak models would go on until their tokens are
used up."""


def limits() -> LLParserLimits:
    """Of one grammar: some 40 MB for its lexer's states, and 15 ms for the tokens that a step allows."""
    return LLParserLimits(
        max_grammar_size=100_000, max_lexer_states=20_000, precompute_large_lexemes=False, verbose_errors=False
    )


JSON_OPTIONS = {"coerce_one_of": True, "whitespace_pattern": _WHITE_SPACE}
"""Of llguidance. Generators of schemas write oneOf for alternatives that exclude each other anyhow."""


def lark_grammar(text: str) -> str:
    """A grammar in the syntax of Lark."""
    return str(LLMatcher.grammar_from_lark(text))


def json_grammar(schema: dict[str, Any]) -> str:
    """The grammar of JSON that a schema describes.

    Raises:
        ValueError: it is nested too deeply.
    """
    return str(LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=JSON_OPTIONS))  # type: ignore[arg-type]


def first_line(message: str) -> str:
    """Of what the library says, which may repeat the grammar."""
    return next(iter(message.splitlines()), "")[:300]
