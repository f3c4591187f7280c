"""Pictures of traffic, character by character."""

from __future__ import annotations

from abatch.reports.statistics.tally import Tally
from abatch.reports.traffic.arrivals import ArrivalCounts
from abatch.reports.traffic.console import arrival_lines, summary_lines
from abatch.reports.traffic.picture import LogAxis, bars, duration, timeline
from abatch.reports.traffic.summary import TrafficSummary
from abatch.workloads.session import Pause, Session, Turn


def tally(*numbers: int) -> Tally:
    result = Tally()
    for number in numbers:
        result.add(number)
    return result


def test_bars_are_as_high_as_their_counts() -> None:
    assert bars([0, 1, 8, 16], 2) == ["   █", " ▁██"]
    assert bars([1, 1000], 1) == ["▁█"], "what is there at all shows"
    assert bars([], 2) == ["", ""]


def test_a_timeline_has_axes() -> None:
    counts = [1, 0, 2, 4] * 6
    assert timeline(counts, 5.0, height=2) == [
        " 4 |   █   █   █   █   █   █",
        "   |▄ ██▄ ██▄ ██▄ ██▄ ██▄ ██",
        " 0 +------------------------",
        "    0 s         60 s        120 s",
    ]


def test_durations_have_a_fitting_unit() -> None:
    assert [duration(seconds) for seconds in (0, 1.25, 90, 600, 9000, 200_000)] == [
        "0 s",
        "1.2 s",
        "90 s",
        "10 min",
        "2.5 h",
        "2.3 d",
    ]


def test_a_log_axis_has_whole_decades() -> None:
    axis = LogAxis([tally(10, 99, 100), tally(9999)])
    assert axis.columns == 54
    assert axis.scale() == ("+" + "-" * 17) * 3 + "+"
    assert axis.labels() == "10" + " " * 16 + "100" + " " * 15 + "1k" + " " * 16 + "10k"
    assert axis.picture(tally(10, 99, 100)) == "█" + " " * 16 + "██"
    assert axis.picture(tally(9999)) == " " * 53 + "█"


def test_what_is_below_the_axis_is_at_its_beginning() -> None:
    axis = LogAxis([tally(0, 5_000)], least=1000)
    assert axis.picture(tally(0, 5_000)) == "█" + " " * 11 + "█"
    assert axis.labels(1e6) == "<0.001" + " " * 12 + "0.01"


def test_the_report_fits_80_columns_and_says_what_is_in_it() -> None:
    summary = TrafficSummary()
    child = Session("s/1", "sub-agent", (Turn(1_000_000, 20_000),))
    pauses = (
        Turn(
            5,
            5,
            pause=Pause.TOOL,
            pause_s=3600,
            tool="a_tool_with_a_name_longer_than_any_line_can_be_" * 2,
            num_tools=3,
        ),
        Turn(5, 5, pause=Pause.TOOL, pause_s=0.0001, tool="bash", num_tools=1, pause_was_capped=True),
        Turn(5, 5, pause=Pause.HUMAN, gap_s=1e6, children=(child,)),
        Turn(5, 5, pause=Pause.HEARTBEAT, pause_s=5, tick_s=1800, text="Tick"),
    )
    summary.add(Session("s", "agent", (Turn(5, 5), *pauses)))
    lines = list(summary_lines(summary))
    assert max(map(len, lines)) <= 80
    assert "1 session, 6 requests" in lines
    assert "  tool pauses (s)             2   <0.001    3,600    3,600    3,600    1,800" in lines
    assert "pauses: 1 of 4 (25.0%) are capped by --pause-cap" in lines
    assert "parallel tool calls per step: mean 2.00, p50 1, p90 3, p99 3, max 3" in lines
    assert "sub-agents: 1, started by 1 turn" in lines
    assert "heartbeats wait for the next multiple of 1800 s" in lines
    assert any("gaps count from" in line for line in lines)
    assert any("estimates" in line for line in lines)
    assert "prefix cache: at best 0.0% of the prompt tokens come from it:" in lines


def test_arrivals_have_a_rate_and_a_picture() -> None:
    arrivals = ArrivalCounts()
    for second in range(20):
        arrivals.add(second + 0.5)
    lines = list(arrival_lines(arrivals, 20.0))
    assert lines[0] == "arrivals: 20 sessions in 20 s, 1/s, index of dispersion 0"
    assert lines[-1].startswith("     (a column is 0.4 s;")
    assert max(map(len, lines)) <= 80
    assert list(arrival_lines(ArrivalCounts(), 5.0)) == ["arrivals: none within 5 s"]
