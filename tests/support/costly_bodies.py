"""Requests that cost a server as much as their size allows, each in its own way."""

from __future__ import annotations

import json
from collections.abc import Iterator

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"

_USER = b'"max_tokens":2,"messages":[{"role":"user","content":"hi"}]'
_HOLE = b"@"


def costly_bodies(most_bytes: int) -> Iterator[tuple[str, str, bytes]]:
    """A name, a path and a body of at most so many bytes, for each way."""

    def filled(body: bytes, item: bytes) -> bytes:
        """The body with as many of the item in its hole as there is room for."""
        before, _, after = body.partition(_HOLE)
        return before + (item * ((most_bytes - len(body)) // len(item))).rstrip(b",") + after

    def numbered(body: bytes, item: bytes) -> bytes:
        """As `filled`, each item with a number of its own."""
        before, _, after = body.partition(_HOLE)
        count = (most_bytes - len(body)) // (len(item) + 6)
        return before + b",".join(item.replace(b"#", b"%06x" % number) for number in range(count)) + after

    yield "token ids", COMPLETIONS, filled(b'{"max_tokens":2,"prompt":[@]}', b"1,")
    yield "prompts of one token", COMPLETIONS, filled(b'{"max_tokens":2,"prompt":[@]}', b"[1],")
    yield "empty prompts", COMPLETIONS, filled(b'{"max_tokens":2,"prompt":[@]}', b"[],")
    yield (
        "64 long prompts",
        COMPLETIONS,
        json.dumps({"prompt": ["a b" * (most_bytes // 200)] * 64, "n": 16, "max_tokens": 1}).encode(),
    )
    yield "empty messages", CHAT, filled(b'{"max_tokens":2,"messages":[@]}', b'{"role":"user"},')
    yield (
        "16,000 messages",
        CHAT,
        json.dumps({"messages": [{"role": "user", "content": "a"}] * 16_000, "max_tokens": 2}).encode(),
    )
    yield (
        "content parts",
        CHAT,
        filled(b'{"max_tokens":2,"messages":[{"role":"user","content":[@]}]}', b'{"type":"text","text":""},'),
    )
    yield "tools", CHAT, filled(b"{" + _USER + b',"tools":[@]}', b'{"type":"function","function":{"name":"f"}},')
    yield (
        "1,000 tools with schemas",
        CHAT,
        json.dumps(
            {
                "messages": [{"role": "user", "content": "hi"}],
                "max_tokens": 2,
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": f"f{n}", "parameters": {"properties": {"a": {}, "b": {}}}},
                    }
                    for n in range(1000)
                ],
            }
        ).encode(),
    )
    yield (
        "calls of tools",
        CHAT,
        filled(
            b'{"max_tokens":2,"messages":[{"role":"assistant","tool_calls":[@]}]}',
            b'{"id":"","function":{"name":"f","arguments":""}},',
        ),
    )
    yield (
        "arguments",
        CHAT,
        filled(
            b'{"max_tokens":2,"messages":[{"role":"assistant","tool_calls":[{"id":"","function":{"name":"f","arguments":"[@]"}}]}]}',
            b"[],",
        ),
    )
    yield (
        "a schema of keys",
        CHAT,
        numbered(b"{" + _USER + b',"tools":[{"type":"function","function":{"name":"f","parameters":{@}}}]}', b'"#":0'),
    )
    yield "logit_bias", CHAT, numbered(b"{" + _USER + b',"logit_bias":{@}}', b'"#":0')
    yield "lists that are not looked at", CHAT, filled(b"{" + _USER + b',"functions":[@]}', b"[],")
    yield "doubles at their limits", CHAT, filled(b"{" + _USER + b',"functions":[@]}', b"1.7976931348623157e308,")
    yield "integers of 4,000 digits", CHAT, filled(b"{" + _USER + b',"functions":[@]}', b"7" * 4000 + b",")
    yield "unknown fields", CHAT, numbered(b"{" + _USER + b",@}", b'"#":0')
    yield "one field again and again", CHAT, filled(b"{" + _USER + b",@}", b'"n":1,')
    yield "text", CHAT, filled(b'{"max_tokens":2,"messages":[{"role":"user","content":"@"}]}', b"a b")
    yield "escaped text", CHAT, filled(b'{"max_tokens":2,"messages":[{"role":"user","content":"@"}]}', rb"\n")
    yield (
        "text of emoji",
        CHAT,
        filled(b'{"max_tokens":2,"messages":[{"role":"user","content":"@"}]}', "\U0001f600".encode()),
    )
    yield "the name of a model", CHAT, filled(b"{" + _USER + b',"model":"@"}', b"x")
    yield "a role", CHAT, filled(b'{"max_tokens":2,"messages":[{"role":"@"}]}', b"x")
    yield "stop strings", CHAT, filled(b"{" + _USER + b',"stop":[@]}', b'"a",')
    yield "white space", CHAT, filled(b"{" + _USER + b"@}", b" ")
    yield (
        "log-probabilities of 16 answers",
        CHAT,
        (
            b'{"messages":[{"role":"user","content":"hi"}],"n":16,"logprobs":true,"top_logprobs":20,'
            b'"max_tokens":100,"ignore_eos":true}'
        ),
    )
    yield (
        "stop strings of overlapping borders",
        CHAT,
        json.dumps(
            {
                "messages": [{"role": "user", "content": "hi"}],
                "stop": ["a" * 1000 + chr(98 + number) for number in range(16)],
                "max_tokens": 400,
            }
        ).encode(),
    )
    yield "items", RESPONSES, filled(b'{"max_output_tokens":2,"input":[@]}', b'{"role":"user","content":""},')
    yield (
        "8,000 items",
        RESPONSES,
        json.dumps({"input": [{"role": "user", "content": "a"}] * 8000, "max_output_tokens": 2}).encode(),
    )
    yield (
        "instructions that come back",
        RESPONSES,
        json.dumps({"input": "hi", "instructions": "a" * 90_000, "max_output_tokens": 2}).encode(),
    )
    yield (
        "blocks",
        MESSAGES,
        filled(b'{"max_tokens":2,"messages":[{"role":"user","content":[@]}]}', b'{"type":"text","text":""},'),
    )
    yield (
        "inputs of tools",
        MESSAGES,
        numbered(
            b'{"max_tokens":2,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"","name":"f",'
            b'"input":{@}}]},{"role":"user","content":"hi"}]}',
            b'"#":0',
        ),
    )
    yield "tokens", "/detokenize", filled(b'{"tokens":[@]}', b"97,")
    yield "100,000 tokens", "/detokenize", json.dumps({"tokens": [97] * 100_000}).encode()
    yield "text that becomes tokens", "/tokenize", filled(b'{"prompt":"@"}', b"a b")
    yield "100,000 letters", "/tokenize", json.dumps({"prompt": "a" * 100_000, "return_token_strs": True}).encode()
