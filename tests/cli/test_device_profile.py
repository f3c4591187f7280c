"""`abatch calibrate --device`, and benchmarks on the profiles that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from abatch.cli.commands import device_profile
from abatch.engine.simulation.device_profile import HostOverhead, load_device
from support.cli import abatch, abatch_process
from support.measured_profiles import made_profile, saved

_BENCH = ("bench", "-w", "chat-short", "-d", "20", "--session-rate", "0.2", "--osl", "16")


@pytest.mark.slow
def test_a_device_is_measured_and_simulated(tmp_path: Path) -> None:
    """The model is loaded twice, the second time by a server of its own, which serves for some seconds."""
    small = ("--max-num-seqs", "4", "--max-num-batched-tokens", "32", "--max-model-len", "2000", "--num-threads", "1")
    words = ("calibrate", "--device", "cpu", *small, "-d", "8", "-o", "p.json", "--json", "all.json")
    result = abatch_process(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "saved in p.json: abatch bench --device simulated:p.json" in result.stdout
    for heading in ("step alone", "decode 4 at 32", "prompt 32", "step served", "decode 1, median of"):
        assert heading in result.stdout
    profile = load_device(f"simulated:{tmp_path / 'p.json'}")
    assert profile.steps is not None
    assert (profile.steps.model.name, profile.steps.dtype, profile.steps.is_synchronous) == ("tiny", "float32", True)
    assert profile.steps.spread
    kept = json.loads((tmp_path / "all.json").read_text())
    assert kept["profile"]["steps"]["token_s"] == [list(point) for point in profile.steps.token_s]
    assert len(kept["steps"]) >= 8
    result = abatch(*_BENCH, "--device", "simulated:p.json", "-o", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"] == "tiny"
    assert "cpu with tiny in float32, measured by abatch" in config["target"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "simulated:h100"), "calibrate --device measures a real device: give cpu, cuda or auto"),
        (("--device", "cpu", "-o", "there.json"), "--output there.json exists already; name a new file"),
        (("--device", "cpu", "-o", "profile.txt"), "--output profile.txt must end in .json"),
        (("--device", "cpu", "-o", "no/p.json"), "cannot write --output no/p.json: there is no folder no"),
        (("--device", "cpu", "--url", "localhost:1"), "--url does not apply with --device"),
        (("--device", "cpu", "-r", "5"), "--request-rate does not apply with --device"),
        (("--device", "cpu", "http://127.0.0.1:9"), "is no model"),
        (("--device", "cpu", "--window-size", "4"), "--window-size does not apply without --batching window"),
        (("--device", "cpu", "--max-num-seqs", "0"), "--max-num-seqs must be at least 1"),
        (("--device", "cpu", "-d", "2"), "--duration must be between 4s and 1h with --device, not 2s"),
        (("-o", "p.json"), "--output does not apply without --device"),
        (("--dtype", "bfloat16"), "--dtype does not apply without --device"),
    ],
)
def test_what_cannot_be_measured_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "there.json").touch()
    result = abatch("calibrate", *words, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


def test_without_the_engine_it_is_said_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = abatch("calibrate", "--device", "cpu", cwd=tmp_path)
    assert result.returncode == 2
    assert "pip install 'abatch[engine]'" in result.stderr


def test_ctrl_c_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(device_profile, "measure_device", interrupted)
    result = abatch("calibrate", "--device", "cpu", "-o", "p.json", cwd=tmp_path)
    assert result.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_simulation_is_of_the_profiles_own_model_and_repeats_itself(tmp_path: Path) -> None:
    profile = made_profile(host=HostOverhead(1e-3, 1e-4, 0.25), spread=[-0.01, 0.0, 0.03])
    device = saved(profile, tmp_path)
    for name in ("a", "b"):
        result = abatch(*_BENCH, "--device", device, "-o", name, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    first, second = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("a", "b"))
    assert first["metrics"] == second["metrics"]
    assert first["metrics"]["ttft"]["all"]["p50_ms"] > 270, "each request takes its time on its way"
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert (config["model"], config["simulated"]) == ("small", True)
    assert "host overhead 1 ms + 100 us per sequence, per step (and 250 ms per request)" in config["target"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "llama-3.1-8b"), "holds steps of small, which say nothing about llama-3.1-8b: leave --model out"),
        (("--dtype", "float16"), "holds steps in float32: leave --dtype float16 out"),
    ],
)
def test_no_other_model_is_simulated(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = abatch(*_BENCH, "--device", saved(made_profile(), tmp_path), *words, "-o", "run", cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "run").exists()
