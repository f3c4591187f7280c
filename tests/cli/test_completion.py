"""What the shell completes, and that it is there before anybody waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from abatch.cli.listing import COMMANDS
from support.cli import abatch, abatch_process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder, with two runs and two targets."""
    folder = tmp_path_factory.mktemp("folder")
    for name in ("20260101-a", "20260102-b"):
        (folder / "runs" / name).mkdir(parents=True)
    (folder / "abatch.toml").write_text('[targets.prod]\nurl = ":9"\n[targets.next]\nurl = ":10"\n')
    return folder


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("abatch ", [*COMMANDS]),
        ("abatch c", ["compare", "calibrate"]),
        ("abatch --conf", ["--config"]),
        ("abatch bench --work", ["--workers", "--workload"]),
        ("abatch bench --workload chat", ["chat-short", "chat-bursty"]),
        ("abatch bench -w mixed,chat-s", ["mixed,chat-short"]),
        ("abatch bench --device simulated:h", ["simulated:h100", "simulated:h200"]),
        ("abatch bench --api m", ["messages"]),
        ("abatch bench --url ", ["prod", "next"]),
        ("abatch bench p", ["prod"]),
        ("abatch compare n", ["next"]),
        ("abatch compare runs/", ["runs/20260102-b", "runs/20260101-a"]),
        ("abatch report runs/", ["runs/20260102-b", "runs/20260101-a"]),
        ("abatch gate runs/20260101", ["runs/20260101-a"]),
        ("abatch gate run --baseline runs/20260102", ["runs/20260102-b"]),
        ("abatch workload s", ["show"]),
        ("abatch workload show --see", ["--seed"]),
    ],
)
def test_names_are_completed(typed: str, completed: list[str], folder: Path) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - (not typed.endswith(" ")))}
    result = abatch(cwd=folder, _ABATCH_COMPLETE="complete_bash", **words)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == completed


def test_a_broken_file_of_settings_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "abatch.toml").write_text("no TOML")
    words = {"COMP_WORDS": "abatch bench --url ", "COMP_CWORD": "3"}
    result = abatch(cwd=tmp_path, _ABATCH_COMPLETE="complete_bash", **words)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown_and_help_keeps_it_out_of_the_way(shell: str) -> None:
    assert "_ABATCH_COMPLETE" in abatch(_ABATCH_COMPLETE=f"source_{shell}").stdout
    assert abatch("--help").stdout.count("-completion") == 1


def test_installing_it_writes_to_the_users_home_alone(tmp_path: Path) -> None:
    result = abatch_process("--install-completion", "bash", HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "_ABATCH_COMPLETE" in "".join(path.read_text() for path in tmp_path.rglob("*abatch*"))
