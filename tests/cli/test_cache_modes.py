"""What a server may have seen of a run's texts is a choice: every run has texts of its own unless asked otherwise."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from abatch.cli.comparing.rounds import measure_in_turns
from abatch.cli.measuring import priming
from abatch.cli.measuring.measure import run
from abatch.cli.measuring.observer import SilentObserver
from abatch.cli.measuring.plan import Plan
from abatch.cli.measuring.priming import opening_sessions
from abatch.cli.measuring.targets import SimulatedEngine
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.comparison.same_traffic import is_same_traffic
from abatch.reports.summary.cache import cache_doubts, cache_facts
from support.behaving_server import BehavingServer

_ENGINE = SimulatedEngine(
    config=EngineConfig(model="llama-3.1-8b", device="simulated:h100"), timeout_s=60.0, has_step_log=False
)


def salt(options: TrafficOptions, *, server_is_new: bool = False) -> str:
    return make_traffic(options).salted(server_is_new=server_is_new).text_salt


def test_each_run_has_texts_of_its_own() -> None:
    traffic = make_traffic(TrafficOptions())
    salts = {traffic.salted(server_is_new=False).text_salt for _ in range(3)}
    assert len(salts) == 3
    assert all(len(one) == 16 for one in salts)
    assert salt(TrafficOptions(cache="warm")) != salt(TrafficOptions(cache="warm")), "warmed by its own priming only"
    assert salt(TrafficOptions(cache="as-is")) == ""


def test_a_server_that_has_seen_nothing_gets_the_texts_of_the_seed() -> None:
    """A simulated engine is new for each run: the same seed gives the same numbers."""
    assert salt(TrafficOptions(), server_is_new=True) == ""
    assert salt(TrafficOptions(text_salt="mine"), server_is_new=True) == "mine"
    assert _ENGINE.is_new


def test_a_salt_that_is_asked_for_is_used_and_runs_that_share_it_differ() -> None:
    assert salt(TrafficOptions(text_salt="mine")) == "mine"
    traffic = make_traffic(TrafficOptions(text_salt="mine"))
    apart = [traffic.salted_apart(name).salted(server_is_new=False).text_salt for name in ("a/round-1", "b/round-1")]
    assert apart == ["mine/a/round-1", "mine/b/round-1"]
    traffic = make_traffic(TrafficOptions())
    assert traffic.salted_apart("a") is traffic, "it gets a fresh one"


def test_workers_get_the_salt_of_the_run() -> None:
    traffic = make_traffic(TrafficOptions()).salted(server_is_new=False)
    assert pickle.loads(pickle.dumps(traffic.recipe)).make().text_salt == traffic.text_salt != ""


def test_runs_that_differ_in_salt_are_pairs_and_those_that_differ_in_mode_are_not() -> None:
    def config(options: TrafficOptions, text_salt: str) -> Plan:
        traffic = make_traffic(replace(options, text_salt=text_salt))
        return Plan(traffic=traffic, source=_ENGINE, folder=Path("unused"))

    one, other = (config(TrafficOptions(), text_salt).run_config() for text_salt in ("x", "y"))
    assert (one.text_salt, other.text_salt, one.cache) == ("x", "y", "cold")
    assert is_same_traffic(one, other)
    assert not is_same_traffic(one, config(TrafficOptions(cache="warm"), "x").run_config())


_CHATS = TrafficOptions(workload="chat-short", session_rate=4.0, duration_s=10.0)


def test_priming_sends_the_first_prompt_of_each_session_of_the_run(tmp_path: Path) -> None:
    cold, warm = (
        run(Plan(traffic=make_traffic(replace(_CHATS, cache=mode)), source=_ENGINE, folder=tmp_path / mode))
        for mode in ("cold", "warm")
    )
    first = [result for result in warm.results() if result.turn_index == 0]
    assert all(
        result.cached_tokens == (result.prompt_tokens - 1) // 16 * 16 for result in first if result.prompt_tokens
    )
    assert not any(result.cached_tokens for result in cold.results() if result.turn_index == 0)
    priming = warm.config.priming
    assert priming is not None
    assert (priming.sessions, priming.failed, priming.is_whole) == (len(first), 0, True)
    assert len(list(warm.results())) == len(list(cold.results())), "what was sent before the run is not in its results"
    assert warm.summary.cache is not None
    assert warm.summary.cache.priming == priming


@pytest.mark.parametrize(
    "options",
    [
        _CHATS,
        replace(_CHATS, session_rate=None, concurrency=4),
        replace(_CHATS, workload="mixed"),
        replace(_CHATS, workload="agent-tools,chat-short", concurrency=3, num_sessions=9),
    ],
)
def test_the_sessions_of_a_run_are_known_before_it_begins(options: TrafficOptions, tmp_path: Path) -> None:
    traffic = make_traffic(options)
    sessions = [session.session_id for session in islice(opening_sessions(traffic), 2000)]
    results = run(Plan(traffic=traffic, source=_ENGINE, folder=tmp_path / "run")).results()
    started = {result.session_id for result in results if result.turn_index == 0 and "/" not in result.session_id}
    assert started <= set(sessions)
    assert len(set(sessions)) == len(sessions) < 2000


def test_priming_ends_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priming, "MOST_S", 0.1)
    measured = run(Plan(traffic=make_traffic(replace(_CHATS, cache="warm")), source=_ENGINE, folder=tmp_path / "run"))
    done = measured.config.priming
    assert done is not None
    assert 0 < done.sessions < 40
    assert (done.took_s, done.is_whole) == (0.1, False)


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (TrafficOptions(cache="hot"), "--cache must be cold, warm or as-is, not 'hot'"),
        (TrafficOptions(text_salt=""), "--text-salt must be 1 to 200 printable characters"),
        (TrafficOptions(text_salt="a\nb"), "--text-salt must be 1 to 200 printable characters"),
        (TrafficOptions(cache="as-is", text_salt="x"), "--text-salt does not apply with --cache as-is"),
    ],
)
def test_what_makes_no_sense_is_refused(options: TrafficOptions, mentions: str) -> None:
    with pytest.raises(ConfigurationError, match=mentions):
        make_traffic(options)


def _ttft_p50_ms(folder: Path, cache: str) -> dict[str, float]:
    """Of two targets that are one server with a prefix cache, measured in turns."""
    server = BehavingServer(Behaviour(prefill_tokens_per_s=2000.0, tokens_per_chunk=100, prefix_cache=True))
    options = replace(_CHATS, cache=cache)
    plans = {name: Plan(traffic=make_traffic(options), source=server) for name in ("a", "b")}  # type: ignore[arg-type]
    rounds = measure_in_turns(
        plans, lambda number: make_traffic(replace(options, seed=number)), 2, folder, SilentObserver()
    )
    measured = rounds.measurements()
    return {name: one.summary.metrics["ttft"]["all"].p50_ms for name, one in measured.items()}


def test_two_targets_that_are_one_server_do_not_warm_each_other(tmp_path: Path) -> None:
    cold = _ttft_p50_ms(tmp_path / "cold", "cold")
    assert cold["a"] == cold["b"]
    as_is = _ttft_p50_ms(tmp_path / "as-is", "as-is")
    assert min(as_is.values()) < 0.8 * cold["a"]


def test_as_is_measures_what_the_run_before_left_and_says_so(tmp_path: Path) -> None:
    server = BehavingServer(Behaviour(prefill_tokens_per_s=2000.0, tokens_per_chunk=100, prefix_cache=True))
    traffic = make_traffic(replace(_CHATS, cache="as-is"))
    first, second = (
        run(Plan(traffic=traffic, source=server, folder=tmp_path / name)).summary  # type: ignore[arg-type]
        for name in ("first", "second")
    )
    assert second.metrics["fresh_ttft"]["all"].p50_ms < 0.8 * first.metrics["fresh_ttft"]["all"].p50_ms
    assert second.cache is not None
    assert cache_facts(second.cache).startswith("as-is: all runs of this seed send the same texts; its prefix cache")
    assert not cache_doubts(second.cache)
