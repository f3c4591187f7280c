"""Prompts that wait for each other, and a cache that knows how they begin."""

from __future__ import annotations

import pytest
from abatch.engine.null_server import prefill
from abatch.engine.null_server.behaviour import Behaviour, Prefill
from abatch.engine.null_server.prefill import PrefillQueue, PrefixCache

_WORDS = [f"w{number}" for number in range(100)]


def test_whole_blocks_that_an_earlier_prompt_began_with_are_found() -> None:
    cache = PrefixCache()
    assert cache.found(_WORDS) == 0
    assert cache.found(_WORDS) == 96
    assert cache.found(_WORDS[:96]) == 80, "one token must be computed"
    assert cache.found(_WORDS[:15]) == 0
    assert cache.found([*_WORDS[:40], "other", *_WORDS[41:]]) == 32
    assert cache.found(["other", *_WORDS[1:]]) == 0, "the beginning decides"
    assert cache.found([*_WORDS, "later", *_WORDS]) == 96, "the rest of a prompt repeats nothing"


def test_the_oldest_blocks_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "_MOST_BLOCKS", 6)
    cache = PrefixCache()
    cache.found(_WORDS)
    cache.found(_WORDS[::-1][:32])
    assert cache.found(_WORDS) == 0


def test_prompts_wait_for_their_turn() -> None:
    queue = PrefillQueue(Behaviour(ttft_s=0.02, prefill_tokens_per_s=2000, prefill_at_once=1))
    waits = [queue.admit(at_s, _WORDS).queued_s for at_s in (0.0, 0.01, 0.02, 1.0)]
    assert waits == pytest.approx([0.0, 0.06, 0.12, 0.0]), "20 ms and 100 tokens at 0.5 ms"
    two = PrefillQueue(Behaviour(ttft_s=0.02, prefill_tokens_per_s=2000, prefill_at_once=2))
    assert [two.admit(0.0, _WORDS).queued_s for _ in range(4)] == pytest.approx([0.0, 0.0, 0.07, 0.07])
    assert PrefillQueue(Behaviour()).admit(0.0, _WORDS) == Prefill()


def test_what_is_cached_takes_no_time_of_those_behind_it() -> None:
    behaviour = Behaviour(ttft_s=0.02, prefill_tokens_per_s=2000, prefill_at_once=1, prefix_cache=True)
    cache = PrefixCache()
    PrefillQueue(behaviour, cache).admit(0.0, _WORDS)
    queue = PrefillQueue(behaviour, cache)
    assert queue.admit(0.0, _WORDS) == Prefill(cached_tokens=96)
    assert queue.admit(0.0, _WORDS[::-1]).queued_s == pytest.approx(0.022)
    answers = [behaviour.answer(0, 5.0, 100, 1, one) for one in (Prefill(cached_tokens=96), Prefill(queued_s=0.022))]
    assert [answer.chunk_s[0] for answer in answers] == pytest.approx([5.022, 5.092])
