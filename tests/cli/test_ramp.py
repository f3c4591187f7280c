"""How long the load of an open loop rises: until as many sessions end as begin."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from abatch.cli.commands.sweep import MOST_WARMUP_S, lengthened, past_the_ramp
from abatch.cli.measuring.ramp import Ramp, ramp_of
from abatch.cli.measuring.sweep import LONGER, Sweep, why_not
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.recording.goodput import GoodputSummary, parse_objectives
from abatch.reports.recording.in_flight import SteadyState
from abatch.reports.recording.latency_trend import LatencyTrend
from abatch.reports.summary.summary import Summary
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.session import Session, Turn
from abatch.workloads.workload import ClosedLoop, OpenLoop, Stream, Workload, drawn


def workload(*turns: Turn, rate: float = 1.0) -> Workload:
    def make(_: Random, session_id: str) -> Session:
        return Session(session_id, "test", turns)

    return Workload("test", "", (Stream("test", drawn("test", make), OpenLoop(rate)),))


_QUICK = parse_objectives("ttft:100,tpot:10")


def test_single_turns_have_no_ramp() -> None:
    ramp = ramp_of(workload(Turn(5, 1)), 0)
    assert ramp.length_s == 0
    assert ramp.share_at(0) == 1
    assert ramp.growth(0, 60) == 1


def test_later_turns_come_after_pauses_and_answers() -> None:
    ramp = ramp_of(workload(Turn(5, 90), Turn(5, 90, pause_s=9.0), Turn(5, 90, pause_s=9.0)), 0, _QUICK)
    assert ramp.length_s == pytest.approx(20.0), "two pauses of 9 s, two answers of 100 ms and 90 tokens of 10 ms"
    assert [round(ramp.share_at(at_s), 3) for at_s in (0, 9.9, 10.1, 19.9, 20.1)] == [0.333, 0.333, 0.667, 0.667, 1.0]
    assert ramp.growth(0, 40) == pytest.approx(2.0, rel=0.05), "half of the load, then all of it"
    assert ramp.growth(20.1, 60) == 1.0


def test_gaps_ticks_and_sub_agents_take_their_time() -> None:
    at_once = parse_objectives("e2e:0.001")
    assert ramp_of(workload(Turn(5, 1), Turn(5, 1, gap_s=7.0)), 0, at_once).length_s == pytest.approx(7.0)
    assert ramp_of(workload(Turn(5, 1), Turn(5, 1, pause_s=7.0, tick_s=5.0)), 0, at_once).length_s == 10.0
    child = Session("c", "sub", (Turn(5, 1), Turn(5, 1, pause_s=30.0)))
    ramp = ramp_of(workload(Turn(5, 1), Turn(5, 1, children=(child,))), 0, at_once)
    assert ramp.length_s == pytest.approx(30.0, abs=0.01)
    assert len(ramp.at_s) == 4 * 200


def test_faster_streams_weigh_more_and_closed_loops_have_no_ramp() -> None:
    slow, fast = workload(Turn(5, 1), Turn(5, 1, pause_s=50.0)), workload(Turn(5, 1), rate=98.0)
    (one,), (other,) = slow.streams, fast.streams
    closed = Stream("closed", one.supply, ClosedLoop(8))
    assert ramp_of(Workload("both", "", (one, other, closed)), 0).length_s == 0
    assert ramp_of(Workload("closed", "", (closed,)), 0) == Ramp([], [])
    assert ramp_of(Workload("closed", "", (closed,)), 0).growth(0, 60) == 1.0


def test_a_try_is_warmed_up_past_the_ramp_and_measured_as_long() -> None:
    def planned(length_s: float, **options: float | int) -> tuple[float | None, float | None]:
        asked = TrafficOptions(workload="chat-short", **options)  # type: ignore[arg-type]
        new = past_the_ramp(asked, make_traffic(asked).limits, Ramp([length_s], [1.0]))
        return new.warmup_s, new.duration_s

    assert planned(77.2, duration_s=60.0) == (78, 133), "55 s are measured, as without a ramp"
    assert planned(4.9, duration_s=60.0) == (None, 60.0), "the usual warm-up is long enough"
    assert planned(77.2, duration_s=60.0, warmup_s=20.0) == (20.0, 60.0), "as asked for"
    assert planned(77.2, num_sessions=50) == (None, None)
    assert planned(3600.0, duration_s=60.0) == (MOST_WARMUP_S, MOST_WARMUP_S + 55)


def of_growth(first: float, second: float, growth: float, *, of_ttft: bool = False) -> list[str]:
    """Why a rate did not hold whose requests in flight grew, perhaps with their ttft, while the load grew."""
    steady = SteadyState(from_s=5.0, to_s=60.0, first_half=first, second_half=second, is_steady=False)
    goodput = GoodputSummary(objectives={"ttft": 200.0}, share=1.0, rate=8.0, by_class={})
    trend = LatencyTrend(metric="ttft", percentile=50.0, first_ms=20.0, last_ms=60.0, correlation=0.9)
    return why_not(Summary(goodput=goodput, steady_state=steady, trend=trend if of_ttft else None), 0.99, growth)


def test_growth_that_the_sessions_explain_is_no_overload() -> None:
    assert of_growth(10, 18, growth=1.0) == ["requests in flight grew from 10 to 18"]
    assert of_growth(10, 18, growth=1.5) == []
    assert of_growth(10, 40, growth=1.5) == ["requests in flight grew from 10 to 40"], "more than they explain"


def test_latencies_that_grow_with_the_load_are_no_overload_either() -> None:
    grown = "overloaded: p50 of TTFT grew from 20 ms in the first quarter of the run to 60 ms in the last"
    assert of_growth(10, 18, growth=1.0, of_ttft=True) == [grown]
    assert of_growth(10, 18, growth=1.5, of_ttft=True) == []
    assert of_growth(10, 40, growth=1.5, of_ttft=True) == [grown]


@pytest.mark.parametrize("is_exact", [True, False])
def test_a_rate_at_which_something_grew_is_tried_for_longer(tmp_path: Path, *, is_exact: bool) -> None:
    """At 2/s requests in flight grow in the first minute by chance; at 4/s they do in the second as well."""
    asked: list[tuple[float, int]] = []

    def measure(rate: float, _folder: Path, times: int) -> Summary:
        asked.append((rate, times))
        has_grown = rate >= 4 or (rate == 2 and times == 1)
        second_half = 40 if has_grown else 10
        steady = SteadyState(from_s=0, to_s=60, first_half=10, second_half=second_half, is_steady=not has_grown)
        share = 0.5 if rate >= 8 else 1.0
        return Summary(goodput=GoodputSummary(objectives={}, share=share, rate=rate, by_class={}), steady_state=steady)

    traffic = make_traffic(TrafficOptions(workload="chat-short"))
    sweeping = Sweep(measure, tmp_path, 0.99, lambda _: None, traffic, Ramp([], []), is_exact=is_exact)
    report = sweeping.run(2.0, 4.0)
    assert asked[:2] == [(2.0, 1), (2.0, LONGER)]
    assert report.highest_rate is not None
    assert 2.0 <= report.highest_rate < 4.0
    assert (4.0, LONGER) in asked, "growth that stays is overload"
    asked.clear()
    assert Sweep(measure, tmp_path, 0.99, lambda _: None, traffic, Ramp([], []), is_exact=is_exact).run(8.0, 8.0)
    assert asked == [(8.0, 1)] if is_exact else [(8.0, 1), (8.0, 1)], "more than growth speaks against it"


def test_a_longer_try_has_the_same_warm_up() -> None:
    options = TrafficOptions(workload="chat-short", duration_s=133.0, warmup_s=78.0, num_sessions=100)
    longer = lengthened(options, make_traffic(options).limits, 2)
    assert (longer.warmup_s, longer.duration_s, longer.num_sessions) == (78.0, 188.0, 200)
    endless = lengthened(TrafficOptions(num_sessions=7), RunLimits(duration_s=None, num_sessions=7), 2)
    assert (endless.duration_s, endless.num_sessions) == (None, 14)
