"""What `abatch calibrate` says and keeps, of points out of thin air."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from abatch.cli.commands import calibrate
from abatch.cli.main import app
from abatch.reports.calibration.calibration import Added, Point
from abatch.reports.calibration.file import calibration_path, known_floor
from support.calibrations import make_point
from typer.testing import CliRunner, Result

_SLOW = {"start": Added(3.0, 30.0, 300.0), "failed": ["start delay p99 is 30.00 ms, not under 2 ms"]}


class _Machine:
    """Trusts its client up to a rate; a point takes no time, or so many seconds of the clock that the search sees."""

    def __init__(self, up_to: float, point_s: float = 0.0, **of_slow: Any) -> None:
        self.rates: list[float] = []
        self._up_to, self._point_s, self._of_slow = up_to, point_s, of_slow
        self._now_s = 1000.0

    def measure(self, rate: float, duration_s: float) -> Point:
        self.rates.append(rate)
        self._now_s += self._point_s
        fields: dict[str, Any] = {} if rate <= self._up_to else _SLOW | self._of_slow
        return make_point(request_rate=rate, requests=round(rate * duration_s), **fields)

    def monotonic(self) -> float:
        return self._now_s


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where calibrations are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "abatch" / "calibration.json"


@pytest.fixture
def on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command on a machine."""

    def run(machine: _Machine, *arguments: str) -> Result:
        monkeypatch.setattr(calibrate._Meter, "measure", lambda _, rate, duration_s: machine.measure(rate, duration_s))
        monkeypatch.setattr(calibrate, "time", machine)
        return CliRunner().invoke(app, ["calibrate", *arguments], env={"COLUMNS": "80", "TERM": "dumb"})

    return run


def test_the_highest_trusted_rate_is_kept(on: Any, cache: Path) -> None:
    result = on(_Machine(up_to=150))
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "TRUSTED up to 141 requests/s of 20 output tokens; 154/s failed twice saved in" in text
    assert "null server was slow" not in text
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines if line and line[-1] == "ok"] == ["25", "50", "100", "141"]
    assert [line[0] for line in lines if line and line[-1] == "no"] == ["200", "200", "168", "168", "154", "154"]
    assert result.stdout.count("start delay p99 is 30.00 ms, not under 2 ms") == 6, "each says why"
    assert max(map(len, result.stdout.partition("TRUSTED")[0].splitlines())) <= 80
    floor = known_floor()
    assert floor is not None
    assert (floor.max_trusted_rate, floor.added_ttft_p99_ms) == (141, 0.4)


def test_a_worse_day_takes_the_place_of_a_better_one_and_one_rate_of_none(on: Any) -> None:
    on(_Machine(up_to=150))
    on(_Machine(up_to=50))
    on(_Machine(up_to=500), "--request-rate", "300")
    floor = known_floor()
    assert floor is not None
    assert floor.max_trusted_rate == 50


def test_a_rate_that_held_at_the_second_try_is_kept_as_it_was_then(on: Any) -> None:
    class Flaky(_Machine):
        def measure(self, rate: float, duration_s: float) -> Point:
            self._up_to = 50 if rate in self.rates else 0
            return super().measure(rate, duration_s)

    on(Flaky(0), "--max-rate", "50")
    floor = known_floor()
    assert floor is not None
    (kept,) = json.loads(calibration_path().read_bytes())["calibrations"]
    assert (floor.max_trusted_rate, kept["point"]["failed"]) == (50, [])


def test_each_number_of_workers_is_kept_for_itself(on: Any) -> None:
    on(_Machine(up_to=50))
    on(_Machine(up_to=100), "--workers", "2")
    rates = {workers: floor.max_trusted_rate for workers in (1, 2, 3) if (floor := known_floor(workers)) is not None}
    assert rates == {1: 50, 2: 100}


def test_a_processor_that_falls_asleep_at_low_rates_ends_no_search(on: Any) -> None:
    class Sleepy(_Machine):
        def measure(self, rate: float, duration_s: float) -> Point:
            self._up_to = 0 if rate < 100 else 150
            return super().measure(rate, duration_s)

    on(Sleepy(150))
    floor = known_floor()
    assert floor is not None
    assert floor.max_trusted_rate == 141


def test_where_nothing_is_trusted_nothing_is_kept(on: Any, cache: Path) -> None:
    result = on(_Machine(up_to=0))
    assert result.exit_code == 0, "it was measured"
    assert "NOT TRUSTED" in result.stdout
    assert "saved" not in result.stdout
    assert not cache.exists()


def test_a_search_says_what_ended_it(on: Any) -> None:
    assert "perhaps beyond: --max-rate ended the search" in " ".join(
        on(_Machine(999), "--max-rate", "60").stdout.split()
    )
    machine = _Machine(999, point_s=6.5)
    assert "perhaps beyond: the time limit ended the search" in " ".join(on(machine).stdout.split())
    assert 50 < 6.5 * len(machine.rates) <= 60, "no point is begun that would not end in it"
    slow_server = on(_Machine(150, server_e2e_p99_ms=300.0)).stdout
    assert "the null server was slow too: the limit may be its" in " ".join(slow_server.split())


def test_a_cache_that_cannot_be_written_costs_only_the_keeping(on: Any, tmp_path: Path) -> None:
    (tmp_path / "abatch").touch()
    result = on(_Machine(up_to=150))
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "TRUSTED up to 141" in text
    assert "not saved: " in text
    report = json.loads(on(_Machine(up_to=150), "--json", "-").stdout)
    assert (report["max_trusted_rate"], report["saved_in"]) == (141, None)


def test_a_search_as_json(on: Any, cache: Path) -> None:
    report = json.loads(on(_Machine(up_to=150), "--json", "-").stdout)
    assert report["limit"] == "a higher rate failed"
    assert (report["max_trusted_rate"], report["failed_rate"], report["saved_in"]) == (141, 154, str(cache))
    assert [point["request_rate"] for point in report["points"]][:4] == [25, 50, 100, 200]
    assert report["points"][-1]["failed"] == _SLOW["failed"]


def test_one_rate_that_is_trusted_is_exit_0(on: Any) -> None:
    result = on(_Machine(up_to=150), "--request-rate", "100")
    assert result.exit_code == 0
    assert result.stdout.startswith("TRUSTED at 100 requests/s\n")
    assert "e2e p99 241.0 ms by the client, 240.0 ms by the server's log: +0.42%" in result.stdout
    assert json.loads(on(_Machine(up_to=150), "-r", "100", "--json", "-").stdout)["is_trusted"] is True


def test_one_rate_that_is_not_trusted_is_exit_4(on: Any) -> None:
    result = on(_Machine(up_to=150, coalesced=7, server_e2e_p99_ms=300.0), "--request-rate", "200")
    assert result.exit_code == 4
    text = " ".join(result.stdout.split())
    assert text.startswith("NOT TRUSTED at 200 requests/s: start delay p99 is 30.00 ms, not under 2 ms")
    assert "the null server was slow: 300.0 ms at p99 by its own log, 240 ms expected" in text
    assert "7 requests received some chunks together" in text
    result = on(_Machine(up_to=150), "-r", "200", "--json", "-")
    assert (result.exit_code, json.loads(result.stdout)["is_trusted"]) == (4, False)


@pytest.mark.parametrize(("up_to", "exit_code", "first_word"), [(999, 0, "PUNCTUAL"), (0, 4, "NOT")])
def test_a_server_without_a_log(on: Any, up_to: float, exit_code: int, first_word: str) -> None:
    nothing_known: dict[str, Any] = {"ttft": None, "itl": None, "e2e": None, "has_truth": False}
    nothing_known |= {"client_e2e_p99_ms": None, "server_e2e_p99_ms": None}

    class Remote(_Machine):
        def measure(self, rate: float, duration_s: float) -> Point:
            fields = nothing_known if rate <= up_to else _SLOW | nothing_known
            return make_point(request_rate=rate, **fields)

    arguments = ("--url", "http://127.0.0.1:1", "-r", "20")
    result = on(Remote(0), *arguments)
    assert result.exit_code == exit_code
    assert result.stdout.startswith(first_word)
    assert "what the client adds to ttft, itl and e2e is unknown" in " ".join(result.stdout.split())
    assert json.loads(on(Remote(0), *arguments, "--json", "-").stdout)["is_trusted"] is False
