"""A calibration is of one client on one machine; and a cache that cannot be used stops nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from abatch.reports.calibration.file import calibration_path, known_floor, save_calibration
from abatch.reports.renderings.facts import floor_facts
from abatch.reports.run.config import provenance
from abatch.reports.summary.client import ClientFloor, floor_doubts
from support.calibrations import make_calibration, make_point
from support.special_files import SPECIAL, make_special

_FLOOR = ClientFloor(
    added_ttft_p99_ms=0.4,
    added_itl_p99_ms=0.1,
    added_e2e_p99_ms=0.6,
    max_trusted_rate=420.0,
    calibrated_at="2026-01-02T03:04:05+00:00",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the file that a calibration goes into."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "abatch" / "calibration.json"


def test_what_is_saved_is_known(cache: Path) -> None:
    assert known_floor() is None
    assert save_calibration(make_calibration()) == cache == calibration_path()
    assert known_floor() == _FLOOR
    assert [path.name for path in cache.parent.iterdir()] == [cache.name], "nothing is left lying about"
    (saved,) = json.loads(cache.read_bytes())["calibrations"]
    assert {"abatch", "python", "aiohttp", "cpu", "cpu_count"} <= set(saved["provenance"])
    assert saved["point"]["e2e"] == {"p50_ms": 0.4, "p99_ms": 0.6, "p999_ms": 0.8}


@pytest.mark.parametrize("name", ["abatch", "python", "aiohttp", "cpu", "cpu_count"])
def test_one_of_another_client_or_machine_says_nothing(name: str) -> None:
    save_calibration(make_calibration(provenance=provenance() | {name: "another"}))
    assert known_floor() is None
    save_calibration(make_calibration(provenance=provenance() | {"platform": "another", "torch": "another"}))
    assert known_floor() == _FLOOR


def test_each_number_of_workers_has_its_own() -> None:
    save_calibration(make_calibration(workers=4, max_trusted_rate=1600.0))
    save_calibration(make_calibration(max_trusted_rate=100.0))
    save_calibration(make_calibration())
    assert known_floor(1) == _FLOOR
    four = known_floor(4)
    assert four is not None
    assert (four.workers, four.max_trusted_rate) == (4, 1600.0)
    assert known_floor(2) is None


def test_those_of_another_machine_are_forgotten(cache: Path) -> None:
    save_calibration(make_calibration(workers=2, provenance=provenance() | {"cpu": "another"}))
    save_calibration(make_calibration())
    assert [one["workers"] for one in json.loads(cache.read_bytes())["calibrations"]] == [1]


def _saved(**changes: Any) -> bytes:
    save_calibration(make_calibration())
    return json.dumps(json.loads(calibration_path().read_bytes()) | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"",
        lambda: b"{",
        lambda: b"\xff\xfe",
        lambda: b"[]",
        lambda: b'{"calibrations": [{"workers": "one"}]}',
        lambda: b"[" * 100_000,
        lambda: _saved(schema_version=2),
    ],
    ids=["empty", "cut off", "binary", "another shape", "another type", "deep", "a later version"],
)
def test_a_damaged_file_is_none(cache: Path, content: Any) -> None:
    damaged = content()
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(damaged)
    assert known_floor() is None
    save_calibration(make_calibration())
    assert known_floor() == _FLOOR, "the next calibration takes its place"


@pytest.mark.parametrize("name", ["ttft", "itl", "e2e"])
def test_a_calibration_that_does_not_know_all_latencies_is_no_floor(name: str) -> None:
    save_calibration(make_calibration(point=make_point(**{name: None})))
    assert known_floor() is None


def test_a_cache_that_cannot_be_used_is_an_oserror_to_write_and_empty_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    with pytest.raises(OSError, match="Not a directory"):
        save_calibration(make_calibration())
    assert known_floor() is None
    (tmp_path / "abatch" / "calibration.json").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert known_floor() is None


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_without_a_cache_of_their_own_people_have_one_at_home(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert calibration_path() == tmp_path / ".cache" / "abatch" / "calibration.json"


def test_a_run_above_the_trusted_rate_is_doubted() -> None:
    assert floor_doubts(_FLOOR, 420.0) == []
    (doubt,) = floor_doubts(_FLOOR, 600.0)
    assert doubt.words == (
        "the run offered 600 requests/s, but this client was calibrated for at most 420: raise --workers"
    )
    assert floor_doubts(None, 600.0) == [], "what was never measured speaks against nothing"


def test_the_floor_is_a_fact_and_so_is_not_knowing_it() -> None:
    assert floor_facts(_FLOOR) == (
        "adds at most 0.4 ms to ttft at p99, trusted up to 420 requests/s (calibrated 2026-01-02)"
    )
    assert floor_facts(None) == "unknown; run abatch calibrate"
    assert floor_facts(None, workers=4) == "unknown; run abatch calibrate --workers 4"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_counts_as_empty(cache: Path, kind: str) -> None:
    cache.parent.mkdir()
    make_special(kind, cache)
    assert known_floor() is None


def test_a_file_of_any_size_counts_as_empty(cache: Path) -> None:
    save_calibration(make_calibration())
    with cache.open("ab") as file:
        file.truncate(2**40)
    assert known_floor() is None
