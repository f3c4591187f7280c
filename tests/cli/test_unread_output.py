"""A reader that leaves early, as `head` does, loses neither files nor exit codes. With real pipes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.cli import command
from support.fixed_run import write_fixed_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unread")
    write_fixed_run(path / "run")
    return path


def unread(*arguments: str, cwd: Path, stream: str = "stdout") -> subprocess.CompletedProcess[bytes]:
    """Run a command whose reader has gone before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing}
    try:
        return subprocess.run(command(*arguments), cwd=cwd, timeout=60, check=False, **streams)  # type: ignore[call-overload,no-any-return]
    finally:
        os.close(writing)


def test_what_is_written_beside_it_is_whole(folder: Path) -> None:
    files = {"html": "r.html", "markdown": "r.md", "junit": "r.xml"}
    result = unread("report", "run", *(word for name in files for word in (f"--{name}", files[name])), cwd=folder)
    assert (result.returncode, result.stderr) == (0, b"")
    assert all((folder / file).stat().st_size > 500 for file in files.values())


def test_a_rule_that_failed_still_fails(folder: Path) -> None:
    result = unread("gate", "run", "--require", "errors < 0.0001%", "--json", "-", "--csv", "r.csv", cwd=folder)
    assert (result.returncode, (folder / "r.csv").exists()) == (3, True), result.stderr


def test_a_run_goes_on_to_its_end_and_is_saved(folder: Path) -> None:
    """Nobody reads its progress either."""
    simulated = ("--device", "simulated:h100", "-w", "chat-short", "-d", "2", "-r", "4", "--html", "sim.html")
    result = unread("bench", *simulated, "-o", "sim", cwd=folder, stream="stderr")
    assert result.returncode == 0
    assert (folder / "sim" / "summary.json").exists()
    assert (folder / "sim.html").exists()


def test_a_full_disk_is_still_an_error(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            command("report", "run"), cwd=folder, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert result.returncode == 1
    assert result.stderr.decode().splitlines() == ["abatch: cannot write the output: No space left on device"]
