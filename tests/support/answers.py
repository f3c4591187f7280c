"""Answers without a server: bytes at given times, and the reply that the client makes of them."""

from __future__ import annotations

from abatch.workloads.targets.streams.answer import Answer
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.wire.api import Api
from abatch.workloads.targets.wire.chat import ChatApi

STEP_S = 0.02
"""Between two reads."""


def call_for(max_tokens: int) -> Call:
    return Call([], max_tokens, "s")


def answered(*reads: bytes | str, max_tokens: int = 64, api: Api | None = None, step_s: float = STEP_S) -> Reply:
    """The reply to a body that arrives in these reads, the first of them at 1 s, and ends in order."""
    reply = Reply(sent_s=0.9, sent_bytes=1000)
    answer = Answer(api or ChatApi(), call_for(max_tokens), reply)
    now_s = 1.0
    for read in reads:
        answer.take(read if isinstance(read, bytes) else read.encode(), now_s)
        now_s += step_s
    answer.finish(now_s)
    return reply


def event(json: str) -> str:
    """An event of a stream."""
    return f"data: {json}\n\n"


def delta(json: str) -> str:
    """An event with a delta, all of whose fields are given."""
    return event(f'{{"choices":[{{"index":0,"delta":{{{json}}},"finish_reason":null}}]}}')


def text(text: str) -> str:
    """An event with text."""
    return delta(f'"content":"{text}"')


END = event('{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
USAGE = event('{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":3}}')
DONE = event("[DONE]")
