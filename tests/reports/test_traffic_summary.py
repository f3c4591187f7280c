"""What traffic contains, against arithmetic by hand."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.protocol.conversation import ChatMessage
from abatch.reports.statistics.tally import Tally
from abatch.reports.traffic.arrivals import ArrivalCounts
from abatch.reports.traffic.sample import check_exportable, sample, start_times
from abatch.reports.traffic.summary import TrafficSummary
from abatch.workloads.presets.catalog import make_workload
from abatch.workloads.presets.scales import Scales
from abatch.workloads.session import BlockPrompt, MessagePrompt, Pause, Session, SharedPrefix, Turn


def summed(*sessions: Session) -> TrafficSummary:
    summary = TrafficSummary()
    for session in sessions:
        summary.add(session)
    return summary


def prompts(*sessions: Session) -> list[int]:
    (traffic,) = summed(*sessions).classes.values()
    return [number for number, count in traffic.prompt.items() for _ in range(count)]


def session(*turns: Turn, name: str = "s", prefix: SharedPrefix | None = None) -> Session:
    return Session(name, "agent", turns, prefix)


def test_a_prompt_is_the_whole_conversation() -> None:
    turns = Turn(10, 3), Turn(20, 4), Turn(30, 5, compacts=True), Turn(40, 6)
    summary = summed(session(*turns, prefix=SharedPrefix("system", 100)))
    # 100+10; +3+20; compacted: 100+30; +5+40
    assert prompts(session(*turns, prefix=SharedPrefix("system", 100))) == [110, 130, 133, 175]
    assert summary.num_prompt_tokens == 110 + 133 + 130 + 175
    assert summary.num_repeated == 0 + 113 + 100 + 135
    assert (summary.num_shared, summary.num_output_tokens, summary.num_turns) == (0, 18, 4)


def test_a_prefix_is_shared_from_its_second_session_on() -> None:
    same, other = SharedPrefix("system", 100), SharedPrefix("other", 100)
    summary = summed(*(session(Turn(1, 1), prefix=prefix) for prefix in (same, same, other, same)))
    assert (summary.num_shared, summary.num_repeated) == (200, 0)


def test_blocks_repeat_as_their_ids_say() -> None:
    first = Turn(10, 1, prompt=BlockPrompt("trace", 4, 10, (1, 2, 3)))
    second = Turn(6, 1, prompt=BlockPrompt("trace", 4, 14, (8, 9), kept=2))
    elsewhere = Turn(12, 1, prompt=BlockPrompt("trace", 4, 12, (1, 2, 7)))
    behind_a_new_one = Turn(12, 1, prompt=BlockPrompt("trace", 4, 12, (5, 2, 3)))
    summary = summed(session(first, second), session(elsewhere), session(behind_a_new_one))
    assert summary.num_prompt_tokens == 10 + 14 + 12 + 12
    assert (summary.num_repeated, summary.num_shared) == (8, 8)
    cut_short = Turn(10, 1, prompt=BlockPrompt("trace", 4, 10, (1, 2, 3)))
    assert summed(session(first), session(cut_short)).num_shared == 10, "no more than there is"


def test_blocks_of_one_session_are_forgotten_after_it() -> None:
    turn = Turn(4, 1, prompt=BlockPrompt("s", 4, 4, (1,)))
    assert summed(session(turn), session(turn)).num_shared == 0
    child = Session("s/1", "agent", (turn,))
    assert summed(session(turn, Turn(1, 1, children=(child,)))).num_shared == 4


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abatch.reports.traffic.summary._MOST_REMEMBERED", 2)
    monkeypatch.setattr("abatch.reports.traffic.summary._MOST_TOOLS", 2)
    blocks = Turn(16, 1, prompt=BlockPrompt("trace", 4, 16, (1, 2, 3, 4)))
    summary = summed(session(blocks), session(blocks))
    assert (summary.num_shared, summary.is_lower_bound) == (8, True)
    prefixes = [SharedPrefix(str(number), 1) for number in (1, 2, 3, 3)]
    assert summed(*(session(Turn(1, 1), prefix=prefix) for prefix in prefixes)).num_shared == 0
    turns = [Turn(1, 1, pause=Pause.TOOL, pause_s=1, tool=name) for name in "abcda"]
    assert summed(session(*turns)).tools == {"a": 2, "b": 1, "(others)": 2}


def test_recorded_messages_are_whole_prompts() -> None:
    def turn(characters: int, new: int) -> Turn:
        return Turn(new, 5, prompt=MessagePrompt((ChatMessage(role="user", content="x" * characters),)))

    summary = summed(session(turn(40, 10), turn(100, 15)))
    assert (summary.num_prompt_tokens, summary.num_repeated, summary.has_estimates) == (35, 10, True)


def test_waits_are_told_apart() -> None:
    child = Session("s/1", "sub-agent", (Turn(1, 1), Turn(1, 1)))
    summary = summed(
        session(
            Turn(1, 1),
            Turn(1, 1, pause=Pause.TOOL, pause_s=0.5, tool="bash", num_tools=2),
            Turn(1, 1, pause=Pause.TOOL, pause_s=1.5, tool="bash", num_tools=4, pause_was_capped=True),
            Turn(1, 1, pause=Pause.TOOL, tool="sub-agent", num_tools=1, children=(child,)),
            Turn(1, 1, pause=Pause.HUMAN, gap_s=3.0),
            Turn(1, 1, pause=Pause.HEARTBEAT, tick_s=60.0),
        )
    )
    waits = {kind: tally.items() for kind, tally in summary.classes["agent"].waits_us.items()}
    assert waits == {"tool pauses": [(500_000, 1), (1_500_000, 1)], "human gaps": [(3_000_000, 1)]}
    assert (summary.num_paused, summary.num_capped, summary.num_tool_turns) == (5, 1, 3)
    assert summary.tools == {"bash": 2, "sub-agent": 1}
    assert summary.tools_us["bash"].percentiles(50, 100) == [500_000, 1_500_000]
    assert "sub-agent" not in summary.tools_us, "how long sub-agents take is up to the server"
    assert summary.at_once.items() == [(1, 1), (2, 1), (4, 1)]
    assert (summary.num_sub_agents, summary.num_delegations, summary.num_sessions) == (1, 1, 1)
    assert summary.ticks_s == {60.0}
    assert summary.classes["sub-agent"].turns.items() == [(2, 1)]


def test_percentiles_are_by_nearest_rank() -> None:
    tally = Tally()
    for number in range(1, 101):
        tally.add(number)
    assert tally.percentiles(1, 50, 55, 90, 99, 100) == [1, 50, 55, 90, 99, 100]
    assert (tally.mean, tally.largest) == (50.5, 100)
    assert Tally().percentiles(50) == [0]


def test_a_tally_of_very_many_numbers_stays_small_and_close() -> None:
    tally, draw = Tally(), random.Random(0)
    numbers = sorted(round(draw.lognormvariate(12, 2)) for _ in range(100_000))
    for number in numbers:
        tally.add(number)
    assert len(tally.items()) <= 20_000
    assert tally.largest == numbers[-1]
    for percentile in (50, 90, 99):
        assert tally.percentiles(percentile)[0] == pytest.approx(numbers[1000 * percentile - 1], rel=0.006)


def counted(times: list[float]) -> ArrivalCounts:
    arrivals = ArrivalCounts()
    for time_s in times:
        arrivals.add(time_s)
    return arrivals


def test_arrivals_over_time() -> None:
    arrivals = counted([0.0, 0.3, 2.5, 2.6, 2.6, 9.9])
    assert arrivals.columns(10, 10) == ([2, 0, 3, 0, 0, 0, 0, 0, 0, 1], 1.0)
    # counts 2,0,3,0,0,0,0,0,0,1: mean 0.6, mean square 1.4
    assert arrivals.dispersion(10) == pytest.approx((1.4 - 0.36) / 0.6)
    assert counted([0.0, 1.0]).dispersion(2) is None


def test_times_on_the_edge_of_a_column_are_in_it() -> None:
    assert counted([0.3]).columns(0.5, 5) == ([0, 0, 0, 1, 0], 0.1)
    assert counted([1.1]).columns(1.2, 12)[0][11] == 1
    assert counted([0.7, 1.9, 2.3]).columns(2.4, 24)[0][23] == 1


def test_a_time_that_goes_back_counts_as_now() -> None:
    assert counted([5.0, 1.0]).columns(6, 6) == ([0, 0, 0, 0, 0, 2], 1.0)


@pytest.mark.parametrize("length_s", [59.0, 3600.0, 1e5, 6.2e6, 1e9])
def test_however_long_it_takes_no_arrival_is_lost(length_s: float) -> None:
    counts, column_s = counted([index * length_s / 1000 for index in range(1001)]).columns(length_s, 66)
    assert sum(counts) == 1001
    assert 30 <= len(counts) <= 66
    assert (len(counts) - 2) * column_s <= length_s <= len(counts) * column_s
    assert max(counts[:-1]) - min(counts[:-1]) <= 1


def test_a_coarse_clock_is_noticed() -> None:
    assert counted([3.0 * (index // 8) for index in range(80)]).tick_s == pytest.approx(27 / 9, rel=0.15)
    assert counted([2.0 * index for index in range(80)]).tick_s is None


def test_streams_of_closed_loops_take_turns_by_their_share() -> None:
    found = list(sample(make_workload("mixed", Scales()), 0, 56))
    assert [sum(one.traffic_class == name for one in found) for name in ("chat", "agent", "always-on")] == [28, 20, 8]
    assert {one.start_s for one in found} == {None}


def test_open_loops_are_merged_by_start() -> None:
    workload = make_workload("chat-short,chat-bursty", Scales())
    starts = [one.start_s for one in sample(workload, 3, 200)]
    assert starts == list(islice(start_times(workload, 3), 200))
    assert starts == sorted(starts, key=lambda start_s: start_s or 0.0)
    check_exportable(workload)
    with pytest.raises(ConfigurationError, match="mixes closed and open loops"):
        check_exportable(make_workload("chat-short,agent-tools", Scales()))
