"""Run folders that a full disk, a crash or a power cut has damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.run import line_file
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import RunReader
from abatch.reports.run.writer import RunWriter
from abatch.reports.summary.doubts import doubts
from abatch.workloads.watching.server_metrics import ServerSample
from support.disks import largest_file
from support.results import make_result


def unfinished_run(folder: Path, count: int = 300) -> Path:
    """A run without a summary; the file of its results."""
    writer = RunWriter(folder, RunConfig(workload="test", duration_s=60.0))
    writer.start()
    for index in range(count):
        writer.add(make_result(10.0 + index, due_s=index / 10))
        writer.add_server_sample(ServerSample(kind="vLLM", at_s=index / 10, running=3))
    writer.close()
    return folder / "results.jsonl"


@pytest.mark.parametrize(
    ("damage", "num_left"),
    [
        (lambda lines: [*lines[:100], lines[100][:50] + lines[101], *lines[102:]], 298),
        (lambda lines: [*lines[:100], b"{broken\n", *lines[101:]], 299),
        (lambda lines: [*lines[:100], b'{"session_id":"\xff"}\n', *lines[101:]], 299),
        (lambda lines: [*lines[:-1], lines[-1][:-20]], 299),
        (lambda lines: [*lines[:-1], b"\0" * 5000], 299),
    ],
    ids=["glued to the next", "no JSON", "no UTF-8", "cut off", "zeros"],
)
def test_a_torn_line_is_left_out_and_said(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], num_left: int
) -> None:
    results = unfinished_run(tmp_path / "run")
    results.write_bytes(b"".join(damage(results.read_bytes().splitlines(keepends=True))))
    summary = RunReader(tmp_path / "run").summary()
    assert summary.requests == num_left
    assert summary.torn_lines == {"results.jsonl": 1}
    assert "1 line of results.jsonl could not be read and was left out" in summary.warnings[-1]
    assert not any("torn" in doubt.words for doubt in doubts(summary)), "one in 300 is no reason to doubt the others"


def test_many_torn_results_are_a_reason_not_to_trust_the_others(tmp_path: Path) -> None:
    results = unfinished_run(tmp_path / "run")
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join([*lines[:-6], *(line[30:] for line in lines[-6:])]))
    (doubt,) = (doubt for doubt in doubts(RunReader(tmp_path / "run").summary()) if "torn" in doubt.words)
    assert doubt.words == "2.0% of the results are torn and were left out"


def test_torn_samples_of_the_server_are_said_and_are_no_reason_for_doubt(tmp_path: Path) -> None:
    samples = unfinished_run(tmp_path / "run").with_name("server.jsonl")
    samples.write_bytes(samples.read_bytes()[:-3] + b"\0" * 100)
    summary = RunReader(tmp_path / "run").summary()
    assert summary.torn_lines == {"server.jsonl": 1}
    assert not any("torn" in doubt.words for doubt in doubts(summary))


def test_a_line_that_is_json_but_no_result_is_refused(tmp_path: Path) -> None:
    """Nothing tears a line like that: the file is of something else."""
    results = unfinished_run(tmp_path / "run")
    results.write_bytes(results.read_bytes() + b'{"session_id":"a","turn_index":"b"}\n')
    with pytest.raises(ConfigurationError, match=r"results\.jsonl, line 301: .*turn_index"):
        RunReader(tmp_path / "run").summary()


def test_a_line_without_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_file, "LONGEST_LINE_BYTES", 1000)
    results = unfinished_run(tmp_path / "run")
    with results.open("ab") as file:
        file.truncate(results.stat().st_size + 4500)  # a power cut: the length was saved, the content was not
    assert RunReader(tmp_path / "run").summary().torn_lines == {"results.jsonl": 5}
    results.write_bytes(b'"' + b"x" * 5000)
    with pytest.raises(ConfigurationError, match=r"results\.jsonl, line 1 is longer than"):
        RunReader(tmp_path / "run").summary()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    problems: list[str] = []
    log = line_file.LineFile(tmp_path / "log", problems.append)
    with largest_file(1000):
        for index in range(50):
            log.add(make_result(10.0, due_s=float(index)))
    log.add(make_result(10.0, due_s=50.0))  # there is room again, but what comes after a gap would look whole
    log.close()
    assert problems == ["File too large"]
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    assert 1 < len(lines) < 50
    assert lines[-1].endswith(b"}\n")


def test_a_write_that_takes_a_part_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = line_file.LineFile(tmp_path / "log", pytest.fail)
    file = log._file

    class TakesSeven:
        def write(self, data: bytes) -> int:
            return file.write(data[:7])

    monkeypatch.setattr(log, "_file", TakesSeven())
    log.add(make_result(10.0))
    file.close()
    whole = line_file.LineFile(tmp_path / "whole", pytest.fail)
    whole.add(make_result(10.0))
    whole.close()
    assert (tmp_path / "log").read_bytes() == (tmp_path / "whole").read_bytes()
