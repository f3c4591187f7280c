"""Disks that are full or gone, at each place where a run folder is written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports import atomic_file
from abatch.reports.run import histogram_log, writer
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import RunReader, make_empty
from abatch.reports.run.line_file import LineFile
from abatch.reports.run.writer import NotSavedError, RunWriter
from support.disks import largest_file
from support.results import make_result
from support.special_files import SPECIAL, make_special


def started(folder: Path) -> RunWriter:
    run = RunWriter(folder, RunConfig(workload="test", duration_s=10.0))
    run.start()
    return run


def add(run: RunWriter, count: int = 100) -> None:
    for index in range(count):
        run.add(make_result(10.0 + index, due_s=index / 10))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_disk_that_fills_up_in_a_run_ends_it_and_keeps_what_there_was(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    calls: list[int] = []
    run.on_problem = lambda: calls.append(1)
    with largest_file(4000):
        add(run)
    with pytest.raises(NotSavedError, match=r"not all of the run could be saved in .*run: File too large") as caught:
        run.finish(10.0, is_complete=True)
    assert calls == [1]
    assert caught.value.summary.requests == 100, "what was measured is shown, saved or not"
    assert not caught.value.summary.is_complete
    assert names(tmp_path / "run") == ["config.json", "results.jsonl"], "no summary: it would say more than the results"
    saved = RunReader(tmp_path / "run").summary()
    assert 5 < saved.requests < 100
    assert not saved.torn_lines


@pytest.mark.parametrize("name", ["histograms.hlog", "summary.json"])
def test_a_disk_that_is_full_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def write(path: Path, content: bytes) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        atomic_file.write_atomically(path, content)

    for module in (writer, histogram_log):
        monkeypatch.setattr(module, "write_atomically", write)
    run = started(tmp_path / "run")
    add(run)
    with pytest.raises(NotSavedError, match="No space left on device") as caught:
        run.finish(10.0, is_complete=True)
    assert caught.value.summary.is_complete
    assert name not in names(tmp_path / "run")
    assert RunReader(tmp_path / "run").summary().requests == 100


def test_a_disk_that_is_full_before_anything_began(tmp_path: Path) -> None:
    with largest_file(50), pytest.raises(ConfigurationError, match=r"cannot write to .*run: File too large"):
        RunWriter(tmp_path / "run", RunConfig())
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_removed_in_a_run(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    add(run, 50)
    shutil.rmtree(tmp_path / "run")
    add(run, 50)
    with pytest.raises(NotSavedError, match="there is no folder") as caught:
        run.finish(10.0, is_complete=True)
    assert caught.value.summary.requests == 100


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    first = RunWriter(tmp_path / "run", RunConfig(workload="first"))
    with pytest.raises(ConfigurationError, match="another run is writing to"):
        RunWriter(tmp_path / "run", RunConfig(workload="second"))
    assert RunReader(tmp_path / "run").config.workload == "first"
    first.abandon()
    started(tmp_path / "run").close()


def test_links_that_stand_in_the_way_are_not_followed(tmp_path: Path) -> None:
    """Whoever can write to the folder could have a run overwrite any file of its user."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "run").mkdir()
    for name in ("config.json", "server.log", "steps.jsonl"):
        (tmp_path / "run" / name).symlink_to(precious)
    run = started(tmp_path / "run")
    run.close()
    (tmp_path / "run" / "server.jsonl").symlink_to(precious)
    problems: list[str] = []
    with pytest.raises(OSError, match="symbolic links"):
        LineFile(tmp_path / "run" / "server.jsonl", problems.append)
    assert precious.read_text() == "precious"


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("old")
    with largest_file(100), pytest.raises(OSError, match="File too large"):
        atomic_file.write_atomically(tmp_path / "report", b"x" * 1000)
    assert names(tmp_path) == ["report"]
    assert (tmp_path / "report").read_text() == "old"
    atomic_file.write_atomically(tmp_path / "report", b"new")
    assert names(tmp_path) == ["report"]
    assert (tmp_path / "report").read_text() == "new"


@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "folder"])
def test_a_folder_that_is_none(tmp_path: Path, kind: str) -> None:
    place = make_special(kind, tmp_path / "run")
    with pytest.raises(ConfigurationError, match=r"cannot write to .*run: "):
        RunWriter(place, RunConfig())
    with pytest.raises(ConfigurationError, match="is a file"):
        make_empty(place)
    with pytest.raises(ConfigurationError, match="is not a run folder"):
        RunReader(place)
