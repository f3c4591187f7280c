"""Calls of tools as a null server makes them: the words of an answer, as arguments that come bit by bit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .behaviour import Answer


@dataclass(frozen=True, slots=True)
class NullCall:
    """A call of a tool. `arguments`: JSON text of an object, or the beginning of one."""

    index: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """What a chunk says of a call: some of its arguments, behind its name where it begins."""

    number: int
    """Of the chunk."""
    call: NullCall
    arguments: str
    is_first: bool
    is_last: bool


def call_parts(answer: Answer, names: Sequence[str]) -> list[CallPart]:
    """What each chunk of an answer says that is all calls, one call behind the other.

    Args:
        answer: With as many chunks as calls, or more.
        names: Of the tools; each is called in turn.
    """
    parts: list[CallPart] = []
    bounds = [len(answer.tokens) * index // answer.num_calls for index in range(answer.num_calls + 1)]
    for index, (start, end) in enumerate(pairwise(bounds)):
        texts = [json.dumps(f"{answer.word} " * count)[1:-1] for count in answer.tokens[start:end]]
        texts[0] = '{"text": "' + texts[0]
        texts[-1] += "" if answer.is_malformed else '"}'
        name = names[index % len(names)]
        call = NullCall(index, f"call_{answer.number}_{index}", name, "".join(texts))
        last = len(texts) - 1
        parts += [
            CallPart(start + place, call, text, is_first=place == 0, is_last=place == last)
            for place, text in enumerate(texts)
        ]
    return parts
