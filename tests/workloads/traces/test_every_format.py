"""What holds for every format: it is recognised, bad rows are named, and every reading begins at the beginning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.traces.parsing.trace_error import TraceError
from abatch.workloads.traces.trace import FORMATS, Trace, open_trace

OpenText = Callable[..., Trace]


@dataclass(frozen=True)
class Sample:
    """Rows of a format: good ones, a bad one, and what is said about it."""

    good: tuple[Any, Any]
    bad: Any
    complaint: str
    header: tuple[str, ...] = ()
    has_timestamps: bool = False


def _weka(name: str, out: Any) -> dict[str, Any]:
    request = {"t": 0.0, "type": "n", "in": 100, "out": out, "hash_ids": [1]}
    return {"id": name, "block_size": 64, "hash_id_scope": "local", "requests": [request]}


def _round(name: str, output: Any) -> dict[str, Any]:
    events = [{"event_type": "user_message", "timestamp": "2026-01-01T00:00:00Z"}]
    counts = {"input_tokens_total": 10, "prefix_tokens": 0, "output_tokens": output}
    return {"session_id": name, "round_index": 0, **counts, "timing_events": events}


def _chat(content: Any) -> list[Any]:
    return [{"role": "user", "content": "hello"}, {"role": "assistant", "content": content}]


def _native(name: str, output: Any) -> dict[str, Any]:
    turn = {"new_tokens": 3, "output_tokens": output}
    return {"session_id": name, "traffic_class": "chat", "turns": [turn]}


def _mooncake(time: Any, blocks: list[int]) -> dict[str, Any]:
    return {"timestamp": time, "input_length": 600, "output_length": 5, "hash_ids": blocks}


def _trie(latency: Any) -> dict[str, Any]:
    lists = {"assistant_response_length": [5], "tool_call_output_length": [6], "tool_call_latency": latency}
    return {"num_turns": 1, "input_prompt_length": 9, **lists, "final_assistant_response_length": 7}


def _batch(url: str) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    return {"custom_id": "a", "method": "POST", "url": url, "body": body}


SAMPLES = {
    "native": Sample(
        (_native("a", 5), _native("b", 5)), _native("c", 0), "turns[0].output_tokens: Expected `int` >= 1"
    ),
    "mooncake": Sample(
        (_mooncake(0, [1, 2]), _mooncake(3000, [1, 3])),
        _mooncake(3000, [1]),
        "hash_ids: expected 2 for 600 tokens, got 1",
        has_timestamps=True,
    ),
    "aiperf": Sample(
        ({"input_length": 5, "output_length": 5}, {"text_input": "hello", "output_length": 5}),
        {"input_length": 5, "output_length": "5"},
        "output_length: Expected `int | null`, got `str`",
    ),
    "aiperf_multi_turn": Sample(
        ({"session_id": "a", "turns": [{"text": "hello"}]}, {"session_id": "b", "turns": [{"texts": ["hello"]}]}),
        {"session_id": "c", "turns": [{"text": "hello"}, {"role": "user"}]},
        "turns[1].text: expected either text or texts",
    ),
    "weka": Sample((_weka("a", 5), _weka("b", 5)), _weka("c", -5), "requests[0].out: Expected `int` >= 0"),
    "weka_requests": Sample(
        ("a,0,n,0,100,5,0,1.5,0,,e,x", "b,0,n,0,100,5,0,1.5,0,,e,x"),
        "c,0,n,0,100,5,128,1.5,0,,e,x",
        "prefix_hit: expected at most in (100), got 128",
        header=("trace,idx,type,t,in,out,prefix_hit,api_time,think_time,ttft,stop,input0",),
    ),
    "trie": Sample(
        (_trie([0.5]), _trie([1])), _trie([]), "tool_call_latency: expected 1 as in assistant_response_length, got 0"
    ),
    "tracelab": Sample(
        (_round("a", 5), _round("b", 5)), _round("c", None), "output_tokens: Expected `int`, got `null`", (), True
    ),
    "vllm_multi_turn": Sample(
        ({"id": "a", "messages": _chat("hi")}, {"id": "b", "messages": _chat("hi")}),
        {"id": "c", "messages": _chat(5)},
        "messages[1].content: Expected `str | array | null`, got `int`",
    ),
    "burstgpt": Sample(
        ("5,ChatGPT,400,18,418,Conversation log", "45,GPT-4,300,20,320,API log"),
        "46,GPT-4,many,20,320,API log",
        "Request tokens: expected a whole number from 0 to 10000000, got 'many'",
        header=("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",),
        has_timestamps=True,
    ),
    "azure": Sample(
        ("2023-11-16 18:00:00.1234567,300,40", "2023-11-16 18:00:01,300,40"),
        "18 o'clock,300,40",
        'TIMESTAMP: expected a date such as 2023-11-16 18:15:46.68, got "18 o\'clock"',
        header=("TIMESTAMP,ContextTokens,GeneratedTokens",),
        has_timestamps=True,
    ),
    "lengths": Sample(
        ("74,918,992,0.1", "290,905,1195,0.2"),
        "290,0,290,0",
        "num_decode_tokens: expected a whole number from 1 to 10000000, got '0'",
        header=("num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio",),
    ),
    "sharegpt": Sample(
        (
            {"id": "a", "conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]},
            {"id": "b", "conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]},
        ),
        {"id": "c", "conversations": [{"from": "human"}]},
        "conversations[0].value: is missing",
    ),
    "openai_batch": Sample(
        (_batch("/v1/chat/completions"), _batch("/v1/chat/completions")),
        _batch("/v1/embeddings"),
        "url: Invalid enum value '/v1/embeddings'",
    ),
    "tau": Sample(
        ({"task_id": 0, "traj": _chat("hi")}, {"task_id": 1, "traj": _chat(None)}),
        {"task_id": 2, "traj": [{"content": "hello"}]},
        "traj[0].role: is missing",
    ),
    "bfcl": Sample(
        ({"id": "a", "question": [_chat("hi")[:1]]}, {"id": "b", "question": [_chat("hi")[:1]]}),
        {"id": "c", "question": []},
        "question: Expected `array` of length >= 1",
    ),
}
_PARAMETERS = pytest.mark.parametrize("trace_format", SAMPLES)
_LISTS = ("sharegpt", "vllm_multi_turn", "tau", "weka", "native", "bfcl", "trie")


def test_every_format_has_a_sample() -> None:
    assert {*SAMPLES, "generate_conversations"} == set(FORMATS)


@_PARAMETERS
def test_a_format_is_recognised_by_its_content(trace_format: str, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    trace = open_text(*sample.header, *sample.good)
    assert trace.format == trace_format
    assert trace.has_timestamps is sample.has_timestamps
    assert [session.start_s is not None for session in trace.sessions()] == [sample.has_timestamps] * 2


@_PARAMETERS
def test_every_reading_begins_at_the_beginning(trace_format: str, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    trace = open_text(*sample.header, *sample.good)
    half_read = trace.sessions()
    next(half_read)
    first, second = trace.sessions()
    assert [first, second] == list(trace.sessions())
    assert first.session_id != second.session_id
    assert len(f"{first.session_id} {second.session_id}".split()) == 2
    assert next(half_read) == second


@_PARAMETERS
def test_a_bad_row_is_named(trace_format: str, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    good, other = sample.good
    line = len(sample.header) + 3  # one line is blank
    trace = open_text(*sample.header, good, "", sample.bad, other)
    with pytest.raises(TraceError) as caught:
        list(trace.sessions())
    assert str(caught.value).startswith(f"sample.txt:{line}: {sample.complaint}")


@_PARAMETERS
def test_bad_rows_are_skipped_and_counted(trace_format: str, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    good, other = sample.good
    trace = open_text(*sample.header, good, sample.bad, sample.bad, other, skip_bad_rows=True)
    for _ in range(2):
        assert len(list(trace.sessions())) == 2
        assert trace.num_skipped == 2
    assert trace.num_dropped == 0


@_PARAMETERS
def test_broken_rows_are_skipped_too(trace_format: str, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    good, other = sample.good
    trace = open_text(*sample.header, good, '{"a": ', "1" * 50, other, skip_bad_rows=True)
    assert len(list(trace.sessions())) == 2
    assert trace.num_skipped == 2


@pytest.mark.parametrize("trace_format", _LISTS)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_may_be_a_list_and_indented(trace_format: str, indent: int | None, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    lines = list(open_text(*sample.good).sessions())
    assert list(open_text(json.dumps(sample.good, indent=indent)).sessions()) == lines
    assert list(open_text(*(json.dumps(row, indent=2) for row in sample.good)).sessions()) == lines
    trace = open_text(json.dumps([*sample.good, sample.bad], indent=indent))
    with pytest.raises(TraceError) as caught:
        list(trace.sessions())
    assert str(caught.value).startswith(f"sample.txt: item 3: {sample.complaint}")


def test_a_list_that_breaks_off_says_where(open_text: OpenText) -> None:
    text = json.dumps(SAMPLES["sharegpt"].good)[:-30]
    trace = open_text(text, skip_bad_rows=True)
    with pytest.raises(TraceError, match=r"sample.txt: item 2: JSON is malformed: the file ends in the middle"):
        list(trace.sessions())


@pytest.mark.parametrize("text", ["hello", "a,b,c\n1,2,3", "[1, 2]", "{}", '{"a": 1}', "\x00\x01", '"a', "<html>"])
def test_nonsense_is_refused(text: str, open_text: OpenText) -> None:
    with pytest.raises(ConfigurationError, match="unrecognised trace format; if it is one of native, moon"):
        open_text(text)


def test_files_that_cannot_be_traces(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the trace .*nowhere: No such file"):
        open_trace(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="is a directory"):
        open_trace(tmp_path)
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="unrecognised trace format"):
        open_trace(tmp_path / "noise")
    with pytest.raises(ConfigurationError, match="is empty"):
        open_trace(tmp_path / "empty")
    (tmp_path / "trace.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(ConfigurationError, match=r"compressed \(gzip\); decompress it first"):
        open_trace(tmp_path / "trace.gz")


def test_a_format_can_be_forced(open_text: OpenText) -> None:
    good, _ = SAMPLES["mooncake"].good
    assert open_text(good, trace_format="aiperf").format == "aiperf"
    with pytest.raises(ConfigurationError, match="unknown --trace-format 'csv'; formats: native, mooncake"):
        open_text(good, trace_format="csv")
    with pytest.raises(TraceError, match=r"sample.txt:1: TIMESTAMP: no such column"):
        open_text(good, trace_format="azure").sessions()


def test_rows_that_are_too_much(open_text: OpenText, monkeypatch: pytest.MonkeyPatch) -> None:
    good, other = SAMPLES["bfcl"].good
    monkeypatch.setattr("abatch.workloads.traces.parsing.rows.LONGEST_ROW_BYTES", 2**20)
    monkeypatch.setattr("abatch.workloads.traces.parsing.rows._PIECE_BYTES", 2**10)
    long = {"id": "long", "question": [[{"role": "user", "content": "x" * (2**20 + 2**12)}]]}
    deep = f'{{"id": "deep", "x": {"[" * 100_000}{"]" * 100_000}, "question": []}}'
    trace = open_text(good, long, deep, other, skip_bad_rows=True)
    assert [session.session_id for session in trace.sessions()] == ["a", "b"]
    assert trace.num_skipped == 2
    with pytest.raises(TraceError, match=r"sample.txt:2: the line is longer than 1 MiB"):
        list(open_text(good, long).sessions())
    with pytest.raises(TraceError, match=r"sample.txt:2: is nested too deeply"):
        list(open_text(good, deep).sessions())
    with pytest.raises(TraceError, match=r"item 2: JSON is malformed: the item is longer than 1 MiB"):
        list(open_text(json.dumps([good, long, long]), skip_bad_rows=True).sessions())


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("trace_format", SAMPLES)
def test_byte_order_marks_and_windows_line_ends(trace_format: str, bom: bytes, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    trace = open_text(*sample.header, *sample.good)
    expected = list(trace.sessions())
    trace.path.write_bytes(bom + trace.path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(open_trace(trace.path).sessions()) == expected
    if bom and not sample.header:
        trace.path.write_bytes(bom + json.dumps(sample.good).encode())
        assert trace_format not in _LISTS or list(open_trace(trace.path).sessions()) == expected


def test_a_byte_order_mark_before_indented_objects(open_text: OpenText) -> None:
    trace = open_text(*(json.dumps(row, indent=2) for row in SAMPLES["trie"].good))
    expected = list(trace.sessions())
    trace.path.write_bytes(b"\xef\xbb\xbf" + trace.path.read_bytes())
    assert list(open_trace(trace.path).sessions()) == expected


@pytest.mark.parametrize("trace_format", ["azure", "mooncake", "sharegpt"])
def test_blank_lines_before_the_first(trace_format: str, open_text: OpenText) -> None:
    sample = SAMPLES[trace_format]
    trace = open_text("", " ", *sample.header, *sample.good)
    assert trace.format == trace_format
    assert len(list(trace.sessions())) == 2


def test_text_that_is_not_utf_8(open_text: OpenText) -> None:
    trace = open_text(*SAMPLES["azure"].header, *SAMPLES["azure"].good, skip_bad_rows=True)
    trace.path.write_bytes(trace.path.read_bytes() + b"2023-11-16 18:00:00,\xff,5\n")
    assert len(list(trace.sessions())) == 2
    assert trace.num_skipped == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e999", "1e300"])
def test_times_are_finite_and_not_negative(number: str, open_text: OpenText) -> None:
    good = json.dumps(SAMPLES["mooncake"].good[0])
    bad = good.replace('"timestamp": 0', f'"timestamp": {number}')
    assert bad != good
    with pytest.raises(TraceError, match=r"sample.txt:1: (timestamp|JSON is malformed)"):
        list(open_text(bad).sessions())
    header, rows = SAMPLES["burstgpt"].header, SAMPLES["burstgpt"].good
    with pytest.raises(TraceError, match=r"sample.txt:2: Timestamp: expected seconds"):
        list(open_text(*header, rows[0].replace("5,", f"{number},", 1)).sessions())


@pytest.mark.parametrize("count", ["10000001", "-1", "1.5", "1_0", "", "\u0661", "9" * 5000])
def test_counts_are_bounded(count: str, open_text: OpenText) -> None:
    header = SAMPLES["azure"].header
    assert open_text(*header, "2023-11-16,10000000,10000000").sessions()
    with pytest.raises(TraceError, match=r"sample.txt:2: ContextTokens: expected a whole number from 0"):
        list(open_text(*header, f"2023-11-16,{count},5").sessions())
    with pytest.raises(TraceError, match=r"sample.txt:2: GeneratedTokens: expected a whole number from 1"):
        list(open_text(*header, f"2023-11-16,5,{count}").sessions())


@pytest.mark.parametrize(
    ("good", "field", "bad"),
    [
        (_mooncake(0, [1, 2]), "input_length", 10_000_001),
        (_mooncake(0, [1, 2]), "output_length", 10_000_001),
        (_trie([0.5]), "tool_call_latency", [1e13]),
        ({"input_length": 5, "session_id": "a"}, "session_id", "a" * 501),
        ({"input_length": 5, "session_id": "a"}, "session_id", ""),
        (_weka("a", 5), "block_size", 0),
        (_weka("a", 5), "block_size", 65_537),
    ],
)
def test_json_is_bounded_too(good: dict[str, Any], field: str, bad: Any, open_text: OpenText) -> None:
    assert len(list(open_text(good).sessions())) == 1
    with pytest.raises(TraceError, match=f"sample.txt:1: {field}"):
        list(open_text({**good, field: bad}).sessions())
