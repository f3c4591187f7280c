"""--quiet: what was found, rules that do not hold, and where files are; nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import abatch
from support.fixed_run import write_fixed_run

_RULES = ("--require", "errors < 99%", "--require", "chat.ttft.p99 < 1ms")
_FAILS = "FAIL         chat.ttft.p99 < 1ms"
_HOLDS = "PASS         errors < 99%"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_fixed_run(folder / "one")
    write_fixed_run(folder / "two", slower=2.0)
    return folder


def test_report(runs: Path, tmp_path: Path) -> None:
    html = str(tmp_path / "r.html")
    whole, quiet = (abatch("report", "one", "--html", html, *more, cwd=runs).stdout for more in ((), ("-q",)))
    kept = quiet.splitlines()
    assert [line for line in whole.splitlines() if line in kept] == kept
    assert {line.partition(":")[0] for line in kept if ":" in line} & {"CAUSE", "STALL", "ADVICE", "note"} == set()
    assert {"CAUSE", "STALL", "ADVICE"} <= {line.partition(":")[0] for line in whole.splitlines()}
    assert kept[0].startswith("FLAGGED: ")
    assert kept[-1] == f"html in {html}"
    assert not [line for line in kept if line.startswith(("ms ", "ttft ", "PASS"))]


def test_gate(runs: Path) -> None:
    whole, quiet = (abatch("gate", "one", *_RULES, *more, cwd=runs) for more in ((), ("--quiet",)))
    assert (whole.returncode, quiet.returncode) == (3, 3)
    assert _HOLDS in whole.stdout
    (line,) = quiet.stdout.splitlines()
    assert line.startswith(_FAILS)


def test_compare(runs: Path) -> None:
    result = abatch("compare", "one", "two", "-q", "--require", "errors < 99%", cwd=runs)
    assert result.returncode == 0
    assert result.stderr == ""
    labels = [line.partition(":")[0] for line in result.stdout.splitlines() if ":" in line]
    assert {"VERDICT", "RESULT"} <= set(labels) <= {"VERDICT", "RESULT", "NOT TRUSTED"}


def test_bench(tmp_path: Path) -> None:
    """What a file of settings says is not told either. The run is too short for the second rule."""
    (tmp_path / "abatch.toml").write_text('[bench]\ndevice = "simulated:h100"\nduration = 20\nquiet = true\n')
    result = abatch("bench", "-w", "chat-short", "-o", "run", *_RULES, cwd=tmp_path)
    assert result.returncode == 4, result.stdout
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith("SIMULATED")
    assert "saved in run" in lines
    assert lines[-1].startswith("INCONCLUSIVE chat.ttft.p99 < 1ms")
    assert _HOLDS not in result.stdout
