"""`abatch workload`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from abatch.cli.commands.workload import workload
from abatch.engine.errors import ConfigurationError
from abatch.reports.traffic.sample import start_times
from abatch.workloads.presets.catalog import WORKLOADS, make_workload
from abatch.workloads.presets.scales import Scales
from abatch.workloads.session import Session
from abatch.workloads.traces.formats.native import write_session
from abatch.workloads.traces.trace import FORMATS, open_trace
from support.cli import abatch, command
from typer.testing import CliRunner

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:00:{second:02d}.0000000,{100 * second + 100},{second + 1}\n" for second in range(20)
)


@pytest.fixture
def azure(tmp_path: Path) -> Path:
    path = tmp_path / "azure.csv"
    path.write_text(AZURE)
    return path


def shown(*arguments: str | Path) -> str:
    done = abatch("workload", "show", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    return done.stdout


def refused(*arguments: str | Path) -> str:
    done = abatch("workload", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_list_names_every_preset_and_format() -> None:
    done = abatch("workload", "list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert {*WORKLOADS, *FORMATS} <= {line.split()[0] for line in lines if line.startswith("  ") and line.strip()}
    assert " requests/s in 2 sessions/s, bursty" in done.stdout


@pytest.mark.parametrize("name", WORKLOADS)
def test_show_fits_the_terminal_for_every_preset(name: str) -> None:
    text = shown(name, "--sessions", "20")
    assert text.startswith(f"{name}: ")
    assert "arrivals: " in text


def test_show_takes_the_options_of_bench() -> None:
    text = shown(
        "agent-tools", "--sessions", "20", "--output-len", "7", "--turns", "3", "--request-rate", "4", "-d", "30"
    )
    assert "20 sessions, 60 requests" in text
    assert "  output tokens              60        7        7        7        7        7" in text
    assert "open loop, 4 requests/s in 1.333 sessions/s, poisson" in text
    assert " in 30 s, " in text
    assert "closed loop" not in text


def test_show_counts_a_trace(azure: Path) -> None:
    text = shown("--trace", azure)
    assert "  prompt tokens              20    1,000    1,800    2,000    2,000    1,050" in text
    assert "arrivals: 20 sessions in 19 s" in text
    assert "arrivals: 10 sessions in 10 s" in shown("--trace", azure, "--duration", "10")
    assert "arrivals: 5 sessions in 4 s" in shown("--trace", azure, "--sessions", "5")
    assert "arrivals: 20 sessions in 9.5 s" in shown("--trace", azure, "--trace-speed", "2")
    assert "a closed loop has no times" in shown("--trace", azure, "--concurrency", "2")


def test_rows_that_were_left_out_are_counted(azure: Path, tmp_path: Path) -> None:
    azure.write_text(f"{AZURE}broken,1,1\n")
    assert "1 malformed rows were skipped" in shown("--trace", azure, "--skip-bad-rows")
    done = abatch("workload", "export", "--trace", azure, "--skip-bad-rows", "-o", tmp_path / "out")
    assert done.returncode == 0
    assert "wrote 20 sessions with 20 turns" in done.stderr
    assert "1 malformed rows were skipped" in done.stderr
    assert "azure.csv:22" in refused("show", "--trace", azure)


def test_mistakes_are_one_line(azure: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert "abatch workload list" in refused("show")
    assert "abatch workload list" in refused("export", "-o", output)
    assert "not both" in refused("show", "mixed", "--trace", azure)
    assert "choose from chat-short" in refused("show", "nope")
    assert "cannot read the trace" in refused("show", "--trace", tmp_path / "none")
    assert "mixes closed and open loops" in refused("export", "hol-probe", "-o", output)
    assert "--output" in refused("export", "mixed", "-o", azure)
    assert azure.read_text() == AZURE
    assert "there is no folder" in refused("export", "mixed", "-o", tmp_path / "none" / "out")
    assert "--trace-speed does not apply without --trace" in refused("show", "mixed", "--trace-speed", "2")
    azure.write_text(AZURE.splitlines()[0] + "\n")
    assert "there is no session" in refused("show", "--trace", azure)
    assert "there is no session" in refused("export", "--trace", azure, "-o", output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["azure.csv"], "nothing half written is left"


def test_a_trace_comes_back_equal(azure: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    done = abatch("workload", "export", "--trace", azure, "-o", output)
    assert done.stderr.startswith("wrote 20 sessions with 20 turns")
    assert list(open_trace(output).sessions()) == list(open_trace(azure).sessions())
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["azure.csv", "out.jsonl"]


def test_long_pauses_of_a_trace_stay_as_they_are_unless_told(tmp_path: Path) -> None:
    trace = tmp_path / "in.jsonl"
    turns = [
        {"new_tokens": 0, "output_tokens": 1},
        {"new_tokens": 3, "output_tokens": 1, "pause": "human", "pause_s": 99.0},
    ]
    trace.write_text(json.dumps({"session_id": "a", "traffic_class": "chat", "turns": turns}) + "\n")
    abatch("workload", "export", "--trace", trace, "-o", tmp_path / "same")
    assert list(open_trace(tmp_path / "same").sessions()) == list(open_trace(trace).sessions())
    abatch("workload", "export", "--trace", trace, "--pause-cap", "5", "-o", tmp_path / "capped")
    (session,) = open_trace(tmp_path / "capped").sessions()
    assert (session.turns[1].pause_s, session.turns[1].pause_was_capped) == (5.0, True)


def test_a_preset_comes_back_as_bench_would_send_it(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    abatch("workload", "export", "chat-short", "--sessions", "30", "--seed", "3", "-o", output)
    preset = make_workload("chat-short", Scales())
    drawn = zip(preset.streams[0].sessions(3), start_times(preset, 3), strict=False)
    expected = [replace(session, start_s=start_s) for session, start_s in islice(drawn, 30)]
    assert list(open_trace(output).sessions()) == expected


def test_a_closed_loop_has_no_starts_and_stdout_is_a_file_too(tmp_path: Path) -> None:
    done = abatch("workload", "export", "agent-coding", "--sessions", "3", "--sub-agents", "0.2", "-o", "-")
    assert done.stderr.startswith("wrote 3 sessions")
    (tmp_path / "out").write_text(done.stdout)
    scales = Scales(sub_agents=0.2)
    expected = list(islice(make_workload("agent-coding", scales).streams[0].sessions(0), 3))
    assert list(open_trace(tmp_path / "out").sessions()) == expected


def test_a_file_that_turns_up_in_the_meantime_is_kept(
    azure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"

    def disturbed(session: Session) -> bytes:
        output.write_text("somebody else's")
        return write_session(session)

    monkeypatch.setattr("abatch.cli.commands.workload.write_session", disturbed)
    with pytest.raises(ConfigurationError, match="exists already"):
        CliRunner().invoke(workload, ["export", "--trace", str(azure), "-o", str(output)], catch_exceptions=False)
    assert output.read_text() == "somebody else's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["azure.csv", "out"]


def test_a_name_no_file_can_have_is_a_mistake(azure: Path, tmp_path: Path) -> None:
    assert "cannot write" in refused("export", "--trace", azure, "-o", tmp_path / ("x" * 300))


@pytest.mark.parametrize("what", [["export", "always-on", "-o", "-"], ["show", "mixed"]])
def test_a_reader_that_stops_is_no_error(what: list[str]) -> None:
    words = command("workload", *what)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if what[0] == "export":
            process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in (text := process.stderr.read())
        assert "Exception ignored" not in text
