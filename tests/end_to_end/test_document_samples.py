"""What the README shows beside a command is what the command prints."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from abatch.cli.options.target import TargetOptions
from abatch.engine.null_server.behaviour import Behaviour
from support.behaving_source import BehavingSource, WholeTarget
from support.cli import abatch
from support.console_samples import ConsoleSample, samples_of, shape
from support.run_profile import IS_NIGHTLY
from support.servers import null_server

ROOT = Path(__file__).parent.parent.parent
_SAMPLES = samples_of(ROOT / "README.md")
_MS = {"--ttft": "ttft_s", "--itl": "itl_s"}
_FIELDS = {"--freeze-at": "freeze_at_s", "--freeze-for": "freeze_for_s"}


@pytest.mark.slow
@pytest.mark.parametrize("sample", _SAMPLES, ids=[f"{one.words[1]}-{number}" for number, one in enumerate(_SAMPLES, 1)])
def test_a_sample_is_what_its_command_prints(
    sample: ConsoleSample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes seconds: each sample is a whole run. Numbers count where they are the same each time.

    Null servers are in this process and in virtual time, where nothing can disturb them; by night they are real ones.
    """
    for words in sample.before:
        assert abatch(*words[1:], cwd=tmp_path).returncode == 0
    printed = _in_real_time(sample, tmp_path) if IS_NIGHTLY else _in_virtual_time(sample, tmp_path, monkeypatch)
    place = 0
    for part in sample.shown:
        given, found = (part.strip(), printed) if sample.is_exact else (shape(part), shape(printed))
        assert given in found[place:], f"{given}\n--- is not in, or is in another order ---\n{found}"
        place = found.index(given, place) + len(given)


def _in_virtual_time(sample: ConsoleSample, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    servers = {f"http://127.0.0.1:{_port(server)}": _behaviour(server) for server in sample.servers}

    def source(options: TargetOptions, url: str, _: object) -> BehavingSource:
        return BehavingSource(WholeTarget(servers[url]), label=url)

    monkeypatch.setattr(TargetOptions, "_remote_server", source)
    return abatch(*sample.words[1:], cwd=folder).stdout


def _in_real_time(sample: ConsoleSample, folder: Path) -> str:
    words = list(sample.words[1:])
    with ExitStack() as stack:
        for number, server in enumerate(sample.servers):
            options = re.sub(r"--port \S+ ?", "", " ".join(server[2:])).split()
            running = stack.enter_context(null_server(*options, log=folder / f"server-{number}.log"))
            words = [word.replace(f"http://127.0.0.1:{_port(server)}", running.url) for word in words]
        return abatch(*words, cwd=folder).stdout


def _options(server: tuple[str, ...]) -> dict[str, str]:
    assert server[:2] == ("abatch", "null-server")
    return dict(zip(server[2::2], server[3::2], strict=True))


def _port(server: tuple[str, ...]) -> str:
    return _options(server).get("--port", "8000")


def _behaviour(server: tuple[str, ...]) -> Behaviour:
    options = _options(server)
    options.pop("--port", None)
    fields = {_MS[flag]: float(value) / 1e3 for flag, value in options.items() if flag in _MS}
    fields |= {_FIELDS[flag]: float(value) for flag, value in options.items() if flag not in _MS}
    behaviour = Behaviour(**fields)  # type: ignore[arg-type]
    return replace(behaviour, freeze_for_s=2.0) if "--freeze-at" in options else behaviour


def test_the_readme_has_samples_of_all_three_ways() -> None:
    commands = [(sample.words[1], sample.is_exact) for sample in _SAMPLES]
    assert commands[:2] == [("bench", False), ("compare", False)]
    assert ("bench", True) in commands


def test_a_shape_keeps_words_and_rows_and_no_numbers() -> None:
    once = "ttft          424 52.03 963.1     -  borderline\nCAUSE: 100% of 68\nwaits (>156.1 ms)"
    again = "ttft          420 51.9  too few     1962  OK\nCAUSE: 98% of 70 waits\n(>9 ms)"
    assert shape(once) == shape(again) == "ttft | CAUSE: #% of # waits (># ms)"
    assert shape("CAUSE: a stall") != shape("CAUSE: a queue")
