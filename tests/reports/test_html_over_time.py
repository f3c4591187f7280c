"""What the charts over time of the HTML report are drawn from: bins, presence and sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random

import pytest
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.session import ParkEvent
from abatch.reports.renderings.html.over_time import OverTimeCollector
from abatch.reports.renderings.html.session_lines import MOST_SESSIONS, SessionCollector
from abatch.reports.renderings.html.time_bins import PresenceBins, ValueBins
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from support.html_pages import made_run
from support.results import make_result


def test_bins_are_bounded_and_lose_nothing() -> None:
    collector, random, results = OverTimeCollector(), Random(0), []
    for number in range(3000):
        due_s = random.uniform(0, 1) ** 3 * 5000
        gaps_ms = tuple(random.uniform(1, 30_000) for _ in range(number % 4))
        results.append(
            make_result(random.uniform(1, 9000), gaps_ms=gaps_ms, due_s=due_s, traffic_class="ab"[number % 2])
        )
        collector.add(results[-1])
    found = collector.over_time(made_run(results), ["all", "a"])
    num_bins = len(found.in_flight)
    assert 40 <= num_bins <= 320
    ttft, itl = found.latency["ttft"], found.latency["itl"]
    assert sum(ttft["all"].n) == 3000
    assert sum(ttft["a"].n) == 1500
    assert sum(itl["all"].n) == sum(len(result.gaps_us) for result in results)
    in_flight_s = sum(found.in_flight) * found.bin_s
    assert in_flight_s == pytest.approx(sum(result.end_s - result.due_s for result in results), rel=1e-3)
    expected = [0] * num_bins
    longest = [0] * num_bins
    for result in results:
        at_s = result.first_s or 0.0
        for gap_us in result.gaps_us:
            place = int(at_s / found.bin_s)
            expected[place] += 1
            longest[place] = max(longest[place], gap_us)
            at_s += gap_us / 1e6
    assert sum(abs(a - b) for a, b in zip(itl["all"].n, expected, strict=True)) <= 4, "but for rounding at the edges"
    same = sum((a or 0) == b for a, b in zip(itl["all"].max, longest, strict=True))
    assert same >= num_bins - 4


def test_quantiles_of_bins_are_true_to_half_a_percent() -> None:
    random, bins = Random(1), ValueBins()
    values = [round(random.lognormvariate(10, 1)) for _ in range(1001)]
    bins.add(1, values[:500])
    bins.add(0, values[500:])
    bins.coarsen()
    ordered = sorted(values)
    assert bins.quantile_us(0.5, 2) == [pytest.approx(ordered[500], rel=0.006), None]
    assert bins.quantile_us(0.99, 2) == [pytest.approx(ordered[990], rel=0.006), None]
    assert bins.largest_us(2) == [ordered[-1], None]
    assert bins.counts(2) == [1001, 0]


def test_presence_is_a_mean_over_each_bin() -> None:
    bins = PresenceBins()
    bins.begin(0, 0.5)
    bins.end(2, 2.25)
    assert bins.means(4, 1.0) == [0.5, 1.0, 0.25, 0.0]
    bins.coarsen()
    assert bins.means(2, 2.0) == [0.75, 0.12]


def turns(number: int, traffic_class: str, count: int = 3) -> Iterator[Result]:
    for turn in range(count):
        yield make_result(
            due_s=number + turn, session_id=f"{traffic_class}-{number}", traffic_class=traffic_class, turn_index=turn,
            pause=Pause.TOOL if turn else Pause.NONE,
        )  # fmt: skip


def test_sessions_are_a_fair_sample_with_all_of_their_turns() -> None:
    def sample(order: int) -> list[tuple[str, int]]:
        collector = SessionCollector()
        results = [result for number in range(500) for result in turns(number, "chat")]
        results += [result for number in range(7) for result in turns(number, "agent")]
        for result in sorted(results, key=lambda result: order * result.end_s):
            collector.add(result)
        found = collector.session_lines((), 0.0)
        assert found.num_sessions == {"agent": 7, "chat": 500}
        return [(line.name, len(line.turns)) for line in found.lines]

    found = sample(1)
    assert len(found) == MOST_SESSIONS
    assert sum(name.startswith("agent") for name, _ in found) == 7
    assert {count for _, count in found} == {3}
    assert found == sample(1)
    chats = [int(name.removeprefix("chat-")) for name, _ in found[7:]]
    assert chats == sorted(chats)
    assert 150 < sum(chats) / len(chats) < 350, "from all of the run"


def test_long_sessions_are_cut_and_say_so() -> None:
    collector = SessionCollector()
    for result in turns(0, "agent", 500):
        collector.add(result)
    (line,) = collector.session_lines((), 0.0).lines
    assert len(line.turns) + line.left_out == 500
    assert line.left_out == 100


def test_parking_is_joined_by_either_name() -> None:
    collector = SessionCollector()
    for result in [*turns(0, "agent"), *turns(1, "agent")]:
        collector.add(result)
    over_http = "run/" + hashlib.blake2b(b"agent-1", digest_size=16).hexdigest()
    events = [
        ParkEvent("agent-0", "keep", 5, "search", 1.5),
        ParkEvent(over_http, "drop", 2),
        ParkEvent("no", "keep", 1),
    ]
    step = StepRecord(0, 101.5, 101.5, 101.5, 102, 102, 102, 1, 0, 1, 0, 0, 1, parking=events)
    first, second = collector.session_lines([step], 100.0).lines
    assert [(mark.at_s, mark.action, mark.num_blocks, mark.remaining_s) for mark in first.parking] == [
        (1.5, "keep", 5, 1.5)
    ]
    assert [mark.action for mark in second.parking] == ["drop"]
