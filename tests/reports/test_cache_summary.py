"""A cache that knew what it should not have known is found, and what the workload explains is not held against it."""

from __future__ import annotations

from typing import Any

import pytest
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.cache import CacheMode, CacheSummary, Priming, cache_doubts, cache_facts
from abatch.reports.summary.doubts import doubts
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.results import make_result


def summary(results: list[Result], mode: str = CacheMode.COLD, hits: float | None = None) -> Summary:
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    made = fill_summary(Summary(cache=CacheSummary(mode=mode)), recorder, 60.0)
    assert made.cache is not None
    made.cache.server_hit_share = hits
    return made


def first_turns(count: int, **fields: Any) -> list[Result]:
    values = {"prompt_tokens": 1000, "cached_tokens": 0, "shared_tokens": 0, "is_last": True} | fields
    return [make_result(session_id=f"s-{number}", **values) for number in range(count)]


def test_texts_that_were_known_before_are_not_trusted() -> None:
    (doubt,) = doubts(summary(first_turns(80) + first_turns(20, cached_tokens=992)))
    assert doubt.words == (
        "a prefix cache knew the texts of 20% of the sessions before they began, and had 20% of their first prompts: "
        "what a new prompt takes was not measured"
    )
    assert doubt.numbers == {"share_known": 0.2, "share_cached": 0.1984}
    assert not doubts(summary(first_turns(97) + first_turns(3, cached_tokens=992))), "few change no percentile"


@pytest.mark.parametrize(
    "fields",
    [
        {"cached_tokens": 900, "shared_tokens": 900},
        {"cached_tokens": 16, "shared_tokens": 0},  # a block, of which the template's words are a part
        {"cached_tokens": 896, "shared_tokens": 840},  # a length that was estimated
        {"cached_tokens": 992, "shared_tokens": None},  # recorded text: nobody knows
        {"cached_tokens": 992, "warmup": True},
        {"cached_tokens": 992, "error": "http_500"},
    ],
)
def test_what_the_workload_explains_is_no_doubt(fields: dict[str, Any]) -> None:
    assert not cache_doubts(summary(first_turns(40, **fields)).cache)


def test_later_turns_repeat_what_was_said() -> None:
    sessions = [
        turn
        for number in range(40)
        for turn in (
            make_result(session_id=f"s-{number}", prompt_tokens=500, cached_tokens=0, shared_tokens=0),
            make_result(session_id=f"s-{number}", turn_index=1, prompt_tokens=600, cached_tokens=496, is_last=True),
        )
    ]
    made = summary(sessions, hits=0.45)
    assert made.cache is not None
    assert made.cache.first_turns == 40
    assert made.cache.explained_share == pytest.approx((16 + 543) / 1100, abs=1e-3)
    assert not cache_doubts(made.cache)


def test_the_servers_metrics_tell_where_its_answers_do_not() -> None:
    silent = first_turns(40, cached_tokens=None)
    (doubt,) = cache_doubts(summary(silent, hits=0.8).cache)
    assert doubt.words == (
        "the server found 80% of the prompt tokens in its prefix cache, where sessions share 2% at most: it knew these "
        "texts, or it serves others too"
    )
    assert not cache_doubts(summary(silent, hits=0.11).cache)
    assert not cache_doubts(summary(silent).cache)
    assert not cache_doubts(summary(first_turns(40, cached_tokens=None, shared_tokens=None), hits=0.8).cache)
    assert not cache_doubts(summary(first_turns(40), hits=0.8).cache), "answers are this run's alone"


def test_a_mode_that_was_asked_for_is_said_and_is_no_doubt() -> None:
    known = first_turns(40, cached_tokens=992)
    for mode in (CacheMode.WARM, CacheMode.AS_IS):
        assert not doubts(summary(known, mode))
    assert not doubts(fill_summary(Summary(), Recorder(), 60.0)), "a run from before there was a choice"
    priming = Priming(sessions=30, failed=1, took_s=1.25, is_whole=False)
    had = "its prefix cache had 99.2% of sessions' first prompts"
    made = summary(known, CacheMode.AS_IS).cache
    assert made is not None
    assert cache_facts(made) == f"as-is: all runs of this seed send the same texts; {had}"
    made.mode, made.priming = CacheMode.WARM, priming
    assert cache_facts(made) == (
        "warm: the first prompts of 30 sessions were sent before the run, 1 failed, in 1.2 s; later sessions are cold; "
        f"{had}"
    )


@pytest.mark.parametrize(
    ("cached_tokens", "hits", "said"),
    [
        (0, None, "its prefix cache had 0.0% of sessions' first prompts"),
        (None, 0.03, "its prefix cache had 3.0% of all prompts, of which sessions share 1.6% at most"),
        (None, None, "the server does not say what a prefix cache had"),
    ],
)
def test_what_is_known_of_the_cache_is_said(cached_tokens: int | None, hits: float | None, said: str) -> None:
    made = summary(first_turns(40, cached_tokens=cached_tokens), hits=hits).cache
    assert made is not None
    assert cache_facts(made) == f"cold: new texts; {said}"


def test_what_sessions_share_is_said() -> None:
    made = summary(first_turns(40, cached_tokens=896, shared_tokens=900)).cache
    assert made is not None
    assert cache_facts(made).endswith("had 89.6% of sessions' first prompts, of which they share 90.0%")


def test_shares_of_several_processes_add_up() -> None:
    whole, ours, theirs = Recorder(), Recorder(), Recorder()
    for number, result in enumerate(first_turns(20, cached_tokens=500, shared_tokens=100)):
        whole.add(result)
        (ours if number % 2 else theirs).add(result)
    ours.merge(theirs)
    assert ours.cache_use == whole.cache_use
