"""The grammar of server-sent events, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from abatch.workloads.http.events import EventReader, ServerSentEvent
from abatch.workloads.http.faults import RefusedError
from hypothesis import example, given
from hypothesis import strategies as st


def read(*pieces: bytes, most_bytes: int = 1 << 20) -> list[ServerSentEvent]:
    reader = EventReader(most_bytes)
    return [event for piece in pieces for event in reader.take(piece)] + [*reader.finish()]


def said(*pieces: bytes) -> list[tuple[str, bytes]]:
    return [(event.name, event.data) for event in read(*pieces)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data:a\n\ndata:  b\n\n", [("", b"a"), ("", b" b")]),
        (b"data: a\ndata\ndata:\ndata: b\n\n", [("", b"a\n\n\nb")]),
        (b"data:\n\ndata\n\n", [("", b""), ("", b"")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", b"a"), ("", b"b")]),
        (b"data: a\nevent: x\n\n", [("x", b"a")]),
        (b"event: x\n\ndata: a\n\n", [("", b"a")]),
        (b"event: error\n\n", [("error", b"")]),
        (b": comment\n:\n\ndata: a\n: another\n\n", [("", b"a")]),
        (b"id: 7\nretry: 10\ndata: a\nunknown: b\nnothing\n\n", [("", b"a")]),
        (b"error: {}\n\n", [("error", b"{}")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"\xef\xbb\xbfdata: a", [("", b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("", b"a")]),
        (b"data: a\n\ndata: b", [("", b"a"), ("", b"b")]),
        (b"data: a\n\ndata: b\n", [("", b"a"), ("", b"b")]),
        (b"\n\n\ndata: a\n\n\n\n", [("", b"a")]),
        (b" data: a\n\nDATA: b\n\n", []),
        (b"", []),
        (b'data: {"a":1}\ndata: {"a":2}\ndata: [DONE]\n', [("", b'{"a":1}'), ("", b'{"a":2}'), ("", b"[DONE]")]),
        (b'data: {"a":{}\ndata: ,"b":1}\n\n', [("", b'{"a":{}\n,"b":1}')]),
        (b'data: {\ndata: "a": [\ndata: {}]}\n\n', [("", b'{\n"a": [\n{}]}')]),
    ],
)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_every_line_of_the_grammar(stream: bytes, events: list[tuple[str, bytes]], newline: bytes) -> None:
    assert said(stream.replace(b"\n", newline)) == events


_LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"data: {}", b"data: [DONE]", b"event: x", b": c", b"id: 1", b"error: e", b"", b""]
)
_NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(
    st.lists(st.tuples(_LINES, _NEWLINES), max_size=20),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.sampled_from([b"", b"data: end", b"data"]),
    st.lists(st.integers(0, 200), max_size=12),
)
@example([(b"data: a", b"\r\n"), (b"data: b", b"\r\n")], b"", b"", [8])
@example([(b"data: a", b"\r"), (b"", b"\n")], b"", b"", [8, 9])
@example([(b"", b"\n"), (b"data: a", b"\r"), (b"data:b", b"\n"), (b"", b"\n")], b"", b"", [1])
def test_wherever_a_stream_is_cut_its_events_are_the_same(
    lines: list[tuple[bytes, bytes]], start: bytes, end: bytes, cuts: list[int]
) -> None:
    stream = start + b"".join(line + newline for line, newline in lines) + end
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert said(*pieces) == said(stream) == said(*(bytes([byte]) for byte in stream))


def test_an_event_is_read_when_it_is_complete_and_not_when_the_next_one_comes() -> None:
    for newline in (b"\n", b"\r\n", b"\r"):
        reader = EventReader()
        for _ in range(3):
            assert len(reader.take(b"data: a" + newline + newline)) == 1


def test_a_megabyte_is_an_event_and_cutting_it_costs_no_more() -> None:
    data = b"w" * (1 << 20)
    stream = b"data: " + data + b"\n\n"
    assert [event.data for event in read(stream, most_bytes=2 << 20)] == [data]
    pieces = [stream[start : start + 1000] for start in range(0, len(stream), 1000)]
    assert [event.data for event in read(*pieces, most_bytes=2 << 20)] == [data]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"w" * 1100],
        [b"data: " + b"w" * 1100 + b"\n\n"],
        [b"data: a\n\ndata: " + b"w" * 1100 + b"\n\n"],
        [b"data: a\n\ndata: " + b"w" * 1100 + b"\r\n\r\n"],
        [b"data: ", *[b"w" * 100] * 11],
        [b"data: 1234567890\n"] * 80,
        [b": 1234567890\n"] * 100,
        [b"data\n"] * 300,
    ],
)
def test_an_event_has_a_limit(pieces: list[bytes]) -> None:
    reader = EventReader(1000)
    with pytest.raises(RefusedError, match="an event of more than 1,000 bytes"):
        _ = [*map(reader.take, (b"\n", *pieces))]


def test_many_short_events_have_none() -> None:
    assert len(read(b"\n", b": comment\n\ndata: a\n\n" * 1000, b"data: a\r\n\r\n" * 1000, most_bytes=1000)) == 2000
