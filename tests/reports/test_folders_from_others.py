"""What a run folder from somebody else may have in it."""

from __future__ import annotations

import base64
import shutil
import struct
import zlib
from pathlib import Path

import msgspec
import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.run.folder import RunReader
from abatch.reports.run.measurement import Measurement
from support.fixed_run import write_fixed_run
from support.special_files import SPECIAL, make_special


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fixed_run(tmp_path_factory.mktemp("saved") / "run", num_sessions=40).folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def read_all(folder: Path) -> None:
    reader = RunReader(folder)
    reader.summary()
    reader.histograms()
    reader.recorded()


def change(path: Path, **fields: object) -> None:
    """Change fields of a JSON file, or of its first line."""
    first, *rest = path.read_bytes().split(b"\n") if path.suffix == ".jsonl" else [path.read_bytes()]
    path.write_bytes(b"\n".join([msgspec.json.encode(msgspec.json.decode(first) | fields), *rest]))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", [*SPECIAL, "link"])
@pytest.mark.parametrize("name", ["config.json", "results.jsonl", "histograms.hlog", "summary.json"])
def test_files_must_be_files(folder: Path, name: str, kind: str) -> None:
    (folder / name).unlink()
    if kind == "link":
        (folder / name).symlink_to("/etc/passwd")
    else:
        make_special(kind, folder / name)
    with pytest.raises(
        ConfigurationError, match=f"cannot read .*{name}: is (not a regular file|a folder|a symbolic link)"
    ):
        read_all(folder)


@pytest.mark.parametrize("name", ["config.json", "histograms.hlog", "summary.json"])
def test_files_have_a_largest_size(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigurationError, match=f"cannot read .*{name}: is larger than"):
        read_all(folder)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("config.json", {"percentiles": [50.0] * 100_000}, r"length <= 8.*percentiles"),
        ("config.json", {"percentiles": [100.0]}, r"< 100.*percentiles"),
        ("config.json", {"warmup_s": -1}, r">= 0.*warmup_s"),
        ("config.json", {"idle": {"requests": 1, "is_probed": True, "points": [], "itl_base_ms": 1}}, r"points"),
        ("config.json", {"schema_version": 2}, r"a newer abatch wrote it"),
        ("config.json", {"schema_version": -2}, r"schema_version"),
        ("config.json", {"seed": 5}, r"config.json and summary.json are not of one run \(seed differs\)"),
        ("summary.json", {"measured_s": 1e300}, r"<= 1000000000000000.*measured_s"),
        ("summary.json", {"requests": -5}, r">= 0.*requests"),
        ("summary.json", {"requests": 5}, r"summary.json is of \d+ requests, and the results are \d+"),
        ("summary.json", {"metrics": "x"}, r"metrics"),
        ("results.jsonl", {"end_s": 1e300}, r"line 1: .*end_s"),
        ("results.jsonl", {"due_s": -1.0}, r"line 1: .*due_s"),
        ("results.jsonl", {"gaps_us": [-1]}, r"line 1: .*gaps_us"),
        ("results.jsonl", {"gaps_us": [10**9]}, r"line 1: gaps_us are longer than the answer took"),
        ("results.jsonl", {"end_s": 0.0, "due_s": 50.0}, r"line 1: end_s is before due_s, sent_s or first_s"),
        ("results.jsonl", {"output_tokens": 10**30}, r"line 1: .*output_tokens"),
        ("results.jsonl", {"session_id": "x" * 5000}, r"line 1: .*session_id"),
    ],
)
def test_what_no_run_can_say_is_refused_by_file_and_field(
    folder: Path, name: str, fields: dict[str, object], expected: str
) -> None:
    change(folder / name, **fields)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_all(folder)
    assert len(str(caught.value)) < 500


def histogram_line(content: bytes) -> bytes:
    compressed = zlib.compress(content)
    payload = base64.b64encode(struct.pack(">II", 0x1C849314, len(compressed)) + compressed)
    return b"Tag=ttft.all,0.000,1.000,1.000," + payload + b"\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (histogram_line(bytes(200_000_000)), "inflates to more than a histogram has"),
        (histogram_line(struct.pack(">IIIIQQd", 0x1C849313, 0, 0, 5, 1, 2**62, 1.0)), "a histogram of another range"),
        (histogram_line(b"short"), "requires a buffer"),
        (b"Tag=a,b\n", "not a tagged histogram"),
        (b"Tag=a,0,1,1,HIST%%\n", "Only base64 data"),
    ],
    ids=["bomb", "enormous", "short", "no histogram", "no base64"],
)
def test_histograms_are_looked_at_before_they_are_made(folder: Path, line: bytes, expected: str) -> None:
    """A megabyte of a log inflated to a gigabyte, and a header of 40 bytes asked for arrays of 50 MB."""
    path = folder / "histograms.hlog"
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(ConfigurationError, match=rf"histograms\.hlog is damaged, line \d+: .*{expected}"):
        RunReader(folder).histograms()


def test_folders_put_together_from_two_runs_are_refused(folder: Path, tmp_path: Path) -> None:
    other = write_fixed_run(tmp_path / "other", num_sessions=48).folder
    shutil.copy(other / "histograms.hlog", folder)
    with pytest.raises(
        ConfigurationError, match=r"histograms.hlog and summary.json are not of one run \(ttft.all differs"
    ):
        RunReader(folder).histograms()
    shutil.copy(other / "results.jsonl", folder)
    with pytest.raises(ConfigurationError, match="they are not of one run"):
        RunReader(folder).recorded()


def test_a_line_torn_after_the_summary_was_saved_is_said(folder: Path) -> None:
    path = folder / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) * 1
    path.write_bytes(b"".join([*lines[:-1], lines[-1][:40]]))
    measurement = Measurement([RunReader(folder)])
    with pytest.raises(ConfigurationError, match="lines are missing"):
        measurement.time_blocks("ttft", "all")  # one in fifty is a lot


def test_few_torn_lines_are_no_reason_to_refuse_a_comparison(tmp_path: Path) -> None:
    folder = write_fixed_run(tmp_path / "run", num_sessions=300).folder
    path = folder / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    measurement = Measurement([RunReader(folder)])
    assert not measurement.summary.torn_lines
    measurement.time_blocks("ttft", "all")
    assert measurement.summary.torn_lines == {"results.jsonl": 1}
    assert "1 line of results.jsonl could not be read" in measurement.summary.warnings[-1]
