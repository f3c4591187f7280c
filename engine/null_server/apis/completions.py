"""Completions."""

from __future__ import annotations

import msgspec

from ...protocol.completions import Completion, CompletionChoice, CompletionRequest
from ...protocol.encoding import DONE, encode, server_sent_event
from ...protocol.usage import Usage
from ...server.front.json_bodies import decode_json
from ..tool_calls import CallPart
from .api import MODEL, Asked, Outcome, words_of
from .chat import usage_of

_decoder = msgspec.json.Decoder(CompletionRequest)


class CompletionsNull:
    """See `NullApi`. Of several prompts it answers all as one."""

    path = "/v1/completions"

    def asked(self, raw: bytes) -> Asked:
        body = decode_json(raw, _decoder)
        return Asked(
            words=words_of(body.prompt),
            max_tokens=body.max_tokens,
            is_stream=bool(body.stream),
            has_usage=body.wants_usage,
        )

    def begin(self, *, is_text: bool) -> bytes:
        return b""

    def tokens(self, text: str) -> bytes:
        return server_sent_event(_completion([CompletionChoice(text=text)]))

    def call_part(self, part: CallPart) -> bytes:
        raise AssertionError("this API has no tools")

    def end(self, outcome: Outcome, *, has_usage: bool) -> bytes:
        last = _completion([CompletionChoice(text="", finish_reason=outcome.finish_reason)])
        counts = [_completion([], usage_of(outcome))] * has_usage
        return b"".join(map(server_sent_event, [last, *counts])) + DONE

    def whole(self, outcome: Outcome) -> bytes:
        choice = CompletionChoice(text=outcome.text, finish_reason=outcome.finish_reason)
        return encode(_completion([choice], usage_of(outcome)))


def _completion(choices: list[CompletionChoice], usage: Usage | msgspec.UnsetType = msgspec.UNSET) -> Completion:
    return Completion(id="cmpl-null", created=0, model=MODEL, choices=choices, usage=usage)
