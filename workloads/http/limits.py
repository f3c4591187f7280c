"""How much of what a server sends is read: the one place for these limits, which docs/metrics.md shows as a table."""

from __future__ import annotations

HEADER_LINE_BYTES = 8190
"""Of a status line or a header; what aiohttp and most servers use."""
EVENT_BYTES = 4 << 20
"""Of one event, or of JSON in place of a stream: a gateway may send an answer of 100,000 tokens as one event, and does
not need more."""
ANSWER_BYTES, ANSWER_BYTES_PER_TOKEN = 1 << 20, 4 << 10
"""Of a stream, and of each token asked for on top: the wordiest gateways known need 1 kB for an event."""
TEXT_CHARS, TEXT_CHARS_PER_TOKEN = 64 << 10, 256
"""Of the text in it, which is kept while its session lasts: the longest tokens of common vocabularies have 128."""
CHUNKS, CHUNKS_PER_TOKEN = 1024, 8
"""Chunks with content: some gateways send letter by letter, and a token has four or five."""
EVENTS, EVENTS_PER_TOKEN = 8192, 32
"""Events of any kind: APIs that wrap everything need four for a token, and some servers say every second that they are
alive."""
BYTES_AFTER_END = 64 << 10
"""Behind `[DONE]` or an error, where nothing should be."""
END_OF_BODY_S = 1.0
"""How long the end of the body may take after that."""
END_OF_STREAM_S = 10.0
"""How long `[DONE]` and token counts may take after the finish reason."""
ERROR_BODY_BYTES = 64 << 10
"""Of an error: enough for any message, whose first 500 characters are kept."""
MODEL_LIST_BYTES = 4 << 20
"""Of a list of models: the largest public ones have 1 MB."""
MODEL_NAME_CHARS = 512
"""Of a name in it, which every request carries: a path of a file system at most."""
INFLATED_PIECE_BYTES = 1 << 18
"""Of a compressed body, inflated at a time: what is beyond a limit stays compressed."""
ENCODED_BYTES_PAST = 1 << 20
"""Compressed bytes beyond what they inflate to: headers, and blocks of nothing."""
ZSTD_WINDOW_BYTES = 8 << 20
"""What a zstd body may have its reader keep: what RFC 9659 allows on the web."""
METRICS_BYTES = 4 << 20
"""Of a page of metrics: vLLM's has 0.3 MB."""
METRICS_SERIES = 10_000
"""Series on it that are read: a thousand engines behind one page, and some milliseconds."""
FINISH_REASON_CHARS = 64
"""Of a finish reason: the longest known one has 28."""
MESSAGE_CHARS = 500
"""Of an error's message: a few lines."""
LOCATION_CHARS = 200
"""Of the place that a redirect names: a line or two."""
QUEUED_RESPONSES = 16
"""Responses on one connection that nobody has read yet, where one at a time is asked for: servers send a `100` or two
before an answer."""
USAGE_BYTES = 16 << 10
"""Of the token counts of an answer: real ones have 500."""
OUTPUT_TOKENS_PAST = 16
"""Tokens that a server may count beyond those asked for and those whose text it sent: end tokens and the like."""
TOKENS_PER_CHAR = 4
"""A character may be as many tokens as it has bytes."""
PROMPT_TOKENS_PAST = 1 << 17
"""Tokens of a prompt beyond one for each byte that was sent: what templates, tools and hidden instructions add."""
COUNT = 1 << 53
"""Of a number on a page of metrics: beyond this a float no longer counts one by one."""

ROWS: tuple[tuple[str, str], ...] = (
    ("one header line", f"{HEADER_LINE_BYTES:,} bytes, and as many lines as aiohttp reads (128)"),
    ("one event of a stream", f"{EVENT_BYTES >> 20} MiB"),
    ("a stream", f"{ANSWER_BYTES >> 20} MiB, and {ANSWER_BYTES_PER_TOKEN >> 10} KiB for each token asked for"),
    ("its text", f"{TEXT_CHARS:,} characters, and {TEXT_CHARS_PER_TOKEN} for each token asked for"),
    ("its chunks with content", f"{CHUNKS:,}, and {CHUNKS_PER_TOKEN} for each token asked for"),
    ("its events of any kind", f"{EVENTS:,}, and {EVENTS_PER_TOKEN} for each token asked for"),
    ("a JSON answer in place of a stream", f"{EVENT_BYTES >> 20} MiB"),
    ("what follows the finish reason", f"{END_OF_STREAM_S:g} seconds without content"),
    ("what follows `[DONE]` or an error", f"{BYTES_AFTER_END >> 10} KiB, or {END_OF_BODY_S:g} second"),
    ("an error's body", f"{ERROR_BODY_BYTES >> 10} KiB; {MESSAGE_CHARS} characters of its message are kept"),
    ("a finish reason", f"{FINISH_REASON_CHARS} characters"),
    ("its `usage`", f"{USAGE_BYTES >> 10} KiB"),
    ("a list of models", f"{MODEL_LIST_BYTES >> 20} MiB, and {MODEL_NAME_CHARS} characters for a name"),
    ("a page of metrics", f"{METRICS_BYTES >> 20} MiB, and {METRICS_SERIES:,} known series"),
    (
        "compressed bodies",
        f"what they inflate to counts; {ENCODED_BYTES_PAST >> 20} MiB of input beyond that; "
        f"{ZSTD_WINDOW_BYTES >> 20} MiB for zstd's window",
    ),
    ("unread responses on a connection", f"{QUEUED_RESPONSES}"),
    (
        "output tokens in `usage`",
        f"those asked for and {OUTPUT_TOKENS_PAST} more, and {TOKENS_PER_CHAR} for each character of text",
    ),
    ("prompt tokens in `usage`", f"one for each byte sent, and {PROMPT_TOKENS_PAST:,} more"),
    ("a number on a page of metrics", "0 to 2^53"),
)
"""The limits in words: what of, and how much."""
