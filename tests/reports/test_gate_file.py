"""gates.toml: what it may say, and where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates.file import read_gate_file
from support.special_files import SPECIAL, make_special


def written(folder: Path, text: str) -> Path:
    path = folder / "gates.toml"
    path.write_text(text)
    return path


def test_rules_for_every_run_and_more_for_one_workload(tmp_path: Path) -> None:
    file = read_gate_file(
        written(
            tmp_path,
            """
            require = ["ttft.p99/p50 <= 3", "errors < 1%"]
            baseline = "runs/base"

            [workload.hol-probe]
            require = "itl.p99 < 50ms"
            baseline = "runs/hol"
            """,
        )
    )
    assert [rule.text for rule in file.rules_for("mixed")] == ["ttft.p99/p50 <= 3", "errors < 1%"]
    assert [rule.text for rule in file.rules_for("hol-probe")][2:] == ["itl.p99 < 50ms"]
    assert file.baseline_for("mixed") == tmp_path / "runs" / "base"
    assert file.baseline_for("hol-probe") == tmp_path / "runs" / "hol"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("require = ['ttft.p99 < 1s', 'ttft.p98 << 1s']", "require, entry 2: rule 'ttft.p98 << 1s', column 11"),
        ("[workload.mixed]\nrequire = ['nothing']", "[workload.mixed] require, entry 1: rule 'nothing', column 1"),
        ("require = 5", "must be a list of rules"),
        ("require = [5]", "must be a list of rules"),
        ("required = []", "unknown key 'required'; the keys are require, baseline, workload"),
        ("workload = 'mixed'", "must be a table"),
        ("require = ['errors < 1%']\nbaseline = 5", "must be the path of a run folder"),
        ("", "has no rules"),
        ("require = [", "gates.toml: "),
        ("[workload.mixed]\nrequire = []", "has no rules"),
        (f"require = {'1' * 5000}", "gates.toml: "),
        (f"{'x' * 5000} = 1", "unknown key 'xxxx"),
        (f"require = ['{'x' * 5000}']", "entry 1: a rule has at most 500 characters; 'xxxx"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_gate_file(written(tmp_path, text))
    assert expected in str(caught.value)
    assert "gates.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_gate_file(tmp_path / "gates.toml")
    (tmp_path / "gates.toml").write_bytes(b"require = ['\xff']")
    with pytest.raises(ConfigurationError, match=r"gates\.toml"):
        read_gate_file(tmp_path / "gates.toml")
    (tmp_path / "gates.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigurationError, match="larger than"):
        read_gate_file(tmp_path / "gates.toml")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["a", '"a"', "'a' ", "a\t"])
def test_keys_of_many_parts_are_refused(tmp_path: Path, part: str) -> None:
    """Python's parser takes the square of their number: a minute for 100 kB, and gigabytes for 200 kB."""
    for text in (f"{'.'.join([part] * 200_000)} = 1", f"[{'.'.join([part] * 200_000)}]"):
        with pytest.raises(ConfigurationError, match="a key of 32 parts or more"):
            read_gate_file(written(tmp_path, text))
    rules = read_gate_file(written(tmp_path, "workload.mixed.require = ['ttft.p99 < 1s']\nbaseline = '../../a.b.c'"))
    assert len(rules.rules_for("mixed")) == 1


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*gates.toml: is (not a regular file|a folder)"):
        read_gate_file(make_special(kind, tmp_path / "gates.toml"))
