"""Who gets the tokens that decodes leave: the oldest prompt, the shorter ones beside it, the others after it."""

from __future__ import annotations

from math import inf

import pytest
from abatch.engine.request import Batch, Request, SamplingParams
from abatch.engine.scheduling.prefill_shares import add_prefills
from hypothesis import given
from hypothesis import strategies as st


def shares(
    lengths: list[int], max_num_tokens: int, most: float = inf, *, num_decodes: int = 0
) -> tuple[dict[int, int], Batch]:
    """Tokens by place in the order of arrival."""
    requests = [Request(str(place), [1] * length, SamplingParams(max_tokens=4)) for place, length in enumerate(lengths)]
    batch = Batch(num_tokens=num_decodes, num_decode_tokens=num_decodes)
    add_prefills(batch, requests, max_num_tokens, most)
    return {int(chunk.request.request_id): chunk.num_tokens for chunk in batch.chunks}, batch


@pytest.mark.parametrize(
    ("lengths", "max_num_tokens", "most", "expected"),
    [
        ([100], 60, inf, {0: 60}),
        ([100, 10, 10], 60, inf, {0: 40, 1: 10, 2: 10}),
        ([100, 50, 10], 60, inf, {0: 30, 1: 20, 2: 10}),
        ([45, 45, 45], 60, inf, {0: 45, 1: 15}),
        ([45, 45, 45], 40, inf, {0: 40}),
        ([20, 90, 30], 60, inf, {0: 20, 2: 30, 1: 10}),
        ([45], 60, 21, {0: 15}),
        ([45], 60, 44.9, {0: 23}),
        ([45], 60, 45, {0: 45}),
        ([45, 45], 200, 21, {0: 18}),
        ([100, 10], 200, 20, {0: 10, 1: 9}),
    ],
)
def test_shares(lengths: list[int], max_num_tokens: int, most: float, expected: dict[int, int]) -> None:
    assert shares(lengths, max_num_tokens, most)[0] == expected


@given(
    lengths=st.lists(st.integers(2, 80), min_size=1, max_size=6),
    room=st.integers(1, 120),
    most=st.one_of(st.just(inf), st.floats(1, 150)),
    num_decodes=st.integers(0, 5),
)
def test_whatever_waits_the_oldest_advances_within_both_bounds(
    lengths: list[int], room: int, most: float, num_decodes: int
) -> None:
    tokens, batch = shares(lengths, num_decodes + room, most, num_decodes=num_decodes)
    assert tokens[0] >= 1
    assert batch.num_prefill_tokens == sum(tokens.values()) <= min(room, most, sum(lengths))
    if most >= room:
        assert batch.num_prefill_tokens == min(room, sum(lengths)), "nothing is left unused"
    elif most < sum(lengths):
        assert batch.num_prefill_tokens > most / 2 - 1, "in steps that are even, and as few as it takes"
