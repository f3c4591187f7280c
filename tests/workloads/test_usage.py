"""Token counts as servers report them: what cannot be right stays unknown, is said, and decides nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from abatch.engine.protocol.conversation import ChatMessage
from abatch.reports.gates.judge import Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.workloads.result import Result
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.streams.usage import note_usage
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.wire.chat import ChatApi
from hypothesis import given
from hypothesis import strategies as st
from support.fake_server import Behaviour, fake_server
from support.measured import measurement
from support.results import make_result

_CALL = Call([ChatMessage(role="user", content="hi")], 100, "s")


def counted(usage: str, *, num_chars: int = 400) -> tuple[int | None, int | None, int | None, bool]:
    """Output, prompt and cached tokens of a reply to 100 tokens, and whether the server's counts are odd."""
    reply = Reply(sent_bytes=1000)
    note_usage(usage.encode(), ChatApi(), _CALL, reply, num_chars)
    return reply.output_tokens, reply.prompt_tokens, reply.cached_tokens, reply.has_odd_usage


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ('{"completion_tokens":100,"prompt_tokens":50}', (100, 50, None, False)),
        ('{"completion_tokens":100.0,"prompt_tokens":5e1}', (100, 50, None, False)),
        ('{"completion_tokens":7,"prompt_tokens":50,"prompt_tokens_details":{"cached_tokens":50}}', (7, 50, 50, False)),
        (
            '{"completion_tokens":7,"prompt_tokens":50,"prompt_tokens_details":{"cached_tokens":51}}',
            (7, 50, None, True),
        ),
        ('{"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":5}}', (7, None, None, False)),
        ('{"completion_tokens":null,"prompt_tokens":null,"prompt_tokens_details":null}', (None, None, None, False)),
        ("{}", (None, None, None, False)),
        ("null", (None, None, None, False)),
        ("", (None, None, None, False)),
        ('{"completion_tokens":-7,"prompt_tokens":-50}', (None, None, None, True)),
        ('{"completion_tokens":0,"prompt_tokens":0}', (None, 0, None, True)),
        ('{"completion_tokens":1716,"prompt_tokens":132072}', (1716, 132072, None, False)),
        ('{"completion_tokens":1717,"prompt_tokens":132073}', (None, None, None, True)),
        ('{"completion_tokens":"100","prompt_tokens":"50"}', (100, 50, None, False)),
        ('{"completion_tokens":"ten","prompt_tokens":true}', (None, None, None, True)),
        ('{"completion_tokens":"-1","prompt_tokens":"%s"}' % ("9" * 5000), (None, None, None, True)),
        ('{"completion_tokens":1.5,"prompt_tokens":[50]}', (None, None, None, True)),
        ('{"completion_tokens":1e30,"prompt_tokens":1e300}', (None, None, None, True)),
        ('{"completion_tokens":%s,"prompt_tokens":5}' % ("9" * 401), (None, 5, None, True)),
        ('{"completion_tokens":%s,"prompt_tokens":5}' % ("9" * 5001), (None, None, None, True)),
        ('{"completion_tokens":5,"x":"%s"}' % ("w" * 20_000), (None, None, None, True)),
        ("[1,2]", (None, None, None, True)),
        ("7", (None, None, None, True)),
    ],
)
def test_what_cannot_be_right_is_unknown(usage: str, counts: tuple[int | None, int | None, int | None, bool]) -> None:
    assert counted(usage) == counts


def test_an_answer_without_text_may_have_no_tokens() -> None:
    assert counted('{"completion_tokens":0}', num_chars=0) == (0, None, None, False)
    assert counted('{"completion_tokens":116}', num_chars=0) == (116, None, None, False)
    assert counted('{"completion_tokens":117}', num_chars=0) == (None, None, None, True)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
_USAGE = st.dictionaries(
    st.sampled_from(["completion_tokens", "prompt_tokens", "prompt_tokens_details"]),
    _VALUES | st.fixed_dictionaries({"cached_tokens": _VALUES}),
)


@given(st.one_of(_USAGE.map(msgspec.json.encode), _VALUES.map(msgspec.json.encode), st.binary()))
def test_no_usage_is_an_error_and_what_is_counted_fits_the_log(usage: bytes) -> None:
    reply = Reply(sent_bytes=1000)
    note_usage(usage, ChatApi(), _CALL, reply, 10)
    result = make_result(
        output_tokens=reply.output_tokens, prompt_tokens=reply.prompt_tokens, cached_tokens=reply.cached_tokens
    )
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result


_STREAM = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"length"}]}\n\n'


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        ([b'"usage":{"completion_tokens":1,"prompt_tokens":9}', b'"usage":{"completion_tokens":2}'], 2),
        ([b'"usage":{"completion_tokens":2}', b'"usage":null'], 2),
        ([b'"usage":{"completion_tokens":1000000}'], None),
        ([b'"usage":{"completion_tokens":' + b"9" * 401 + b"}"], None),
        ([b'"usage":"none"'], None),
        ([b'"usage":{"completion_tokens":2,"completion_tokens":"three"}'], None),
    ],
)
async def test_the_last_usage_counts_and_never_ends_an_answer(events: list[bytes], tokens: int | None) -> None:
    raw = [_STREAM, *(b"data: {" + event + b"}\n\n" for event in events), b"data: [DONE]\n\n"]
    async with fake_server(Behaviour(raw=raw)) as url:
        target = await HttpTarget.connect(url, model="fake", api_key=None, headers={}, timeout_s=5)
        reply = Reply()
        await target.send(Call([ChatMessage(role="user", content="hi")], 2, "s"), reply)
        await target.close()
    assert (reply.error, reply.output_tokens, reply.has_odd_usage) == (None, tokens, tokens is None)


@pytest.mark.parametrize("many", [10**6, 40, 14 + 2 * 16 + 1, -3])
async def test_a_server_that_miscounts_prompts_does_not_size_them(many: int) -> None:
    """A word of 0.01 tokens would make prompts of megabytes."""
    counts = iter([14 + 2 * 16, many])

    def usage() -> bytes:
        return b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":1}}\n\n' % next(counts)

    behaviour = Behaviour(raw_of=lambda: [_STREAM, usage(), b"data: [DONE]\n\n"])
    async with fake_server(behaviour) as url:
        target = await HttpTarget.connect(url, model="fake", api_key=None, headers={}, timeout_s=5)
        sizer = await target.calibrate()
        await target.close()
    assert (sizer.is_measured, sizer.tokens_per_word) == (False, 1.0)
    assert len(target.warnings) == 1


def _outcome(folder: Path, results: list[Result], rule: str) -> tuple[Outcome, str]:
    judgement = judge(parse_rule(rule), measurement(folder, results))
    return judgement.outcome, judgement.reason


def _results(*, num_odd: int, count: int = 100) -> list[Result]:
    return [
        make_result(due_s=number / 10, output_tokens=None, has_odd_usage=True, max_tokens=10)
        if number < num_odd
        else make_result(due_s=number / 10, output_tokens=10, max_tokens=10)
        for number in range(count)
    ]


def test_rules_on_rates_of_unknown_tokens_are_inconclusive(tmp_path: Path) -> None:
    odd, some, none = (_results(num_odd=count) for count in (100, 20, 0))
    assert _outcome(tmp_path / "1", odd, "output_tokens_per_s >= 1000")[0] is Outcome.INCONCLUSIVE
    assert _outcome(tmp_path / "2", odd, "output_tokens_per_s <= 1000")[0] is Outcome.INCONCLUSIVE
    assert _outcome(tmp_path / "3", odd, "output_tokens_per_s == 0")[0] is Outcome.INCONCLUSIVE
    outcome, reason = _outcome(tmp_path / "4", some, "output_tokens_per_s >= 1000")
    assert outcome is Outcome.INCONCLUSIVE
    assert "the tokens of 20.0% of the answers are not known" in reason
    assert _outcome(tmp_path / "5", some, "output_tokens_per_s >= 1")[0] is Outcome.PASS, "a lower bound is enough"
    assert _outcome(tmp_path / "6", some, "output_tokens_per_s <= 1")[0] is Outcome.FAIL
    assert _outcome(tmp_path / "7", none, "output_tokens_per_s >= 1000")[0] is Outcome.FAIL


def test_rules_on_times_per_token_are_inconclusive_where_some_tokens_are_unknown(tmp_path: Path) -> None:
    outcome, reason = _outcome(tmp_path / "odd", _results(num_odd=3, count=500), "tpot.p50 <= 1000ms")
    assert (outcome, reason) == (Outcome.INCONCLUSIVE, "the tokens of 3 of 500 answers are not known")


def test_odd_counts_are_said_once(tmp_path: Path) -> None:
    summary = measurement(tmp_path, _results(num_odd=20)).summary
    said = [warning for warning in summary.warnings if "token counts" in warning]
    assert said == ["20 answers with token counts that cannot be right: they count as unknown"]
    assert (summary.answers.odd, summary.share_without_tokens) == (20, 0.2)


@pytest.mark.parametrize("tokens", ["-7", "1e30", "9" * 401, '"7"', "true", "2147483648"])
@pytest.mark.parametrize("name", ["output_tokens", "prompt_tokens", "cached_tokens", "max_tokens", "shared_tokens"])
def test_a_saved_result_with_such_counts_is_damaged(name: str, tokens: str) -> None:
    line = msgspec.json.encode(make_result())
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(line[:-1] + f',"{name}":{tokens}}}'.encode(), type=Result)
