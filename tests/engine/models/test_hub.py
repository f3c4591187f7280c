"""A model that cannot be had is one line within seconds, and says what is near."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.models.hub import check_on_hub
from abatch.engine.models.source import check_sources
from abatch.workloads.targets.exact_text import load_text_tokenizer
from huggingface_hub import constants
from support.cli import abatch

_SAYS = {"gated": (403, "GatedRepo"), "none": (404, "RepoNotFound"), "odd": (404, "EntryNotFound"), "ill": (500, "")}
"""What the hub answers for a repository of this name: a status and the hub's own code of the error."""


class _Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        asked: list[str] = self.server.asked  # type: ignore[attr-defined]
        asked.append(self.path)
        status, code = _SAYS.get(self.path.split("/")[2], (200, ""))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        for name in ("ETag", "X-Repo-Commit"):
            self.send_header(name, '"1"')
        self.send_header("Content-Length", "2")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A hub on this machine in place of the real one; the paths that it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    try:
        yield server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _cache(folder: Path, name: str, file: str) -> None:
    """The hub's client finds this file of a repository on this machine."""
    repository = folder / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("1")
    (repository / "snapshots/1").mkdir(parents=True)
    (repository / "snapshots/1" / file).write_text("{}")


@pytest.mark.parametrize("name", ["owner/there", "owner/odd"])
def test_what_the_hub_has_is_taken(name: str, hub: list[str]) -> None:
    check_on_hub(name, ["config.json"], "--model")
    assert hub == [f"/{name}/resolve/main/config.json"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "owner/none",
            "--model owner/none is no folder, no file and no built-in name, and not on the Hugging Face hub",
        ),
        ("owner/gated", "--model owner/gated is gated: ask for access at http://127.0.0.1:"),
        ("owner/ill", "--model owner/ill: cannot reach the Hugging Face hub (http://127.0.0.1:"),
    ],
)
def test_what_it_has_not_is_one_line_after_one_request(
    name: str, line: str, hub: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError) as error:
        check_sources(EngineConfig(model=name))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert len(hub) == 1, "nothing is tried again"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_hub_that_cannot_be_reached_is_asked_once(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"cannot reach the Hugging Face hub \(http://127.0.0.1:9\).*refused"):
        check_sources(EngineConfig(model="tiny", tokenizer="owner/there"))
    assert not hub


def test_the_cache_is_used_where_the_hub_cannot_be_reached(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What loads the model is told not to ask the hub: it would try again for a minute."""
    _cache(tmp_path, "owner/ill", "config.json")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    check_sources(EngineConfig(model="owner/ill"))
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert len(hub) == 1


def test_a_tokenizer_for_prompts_is_looked_for_in_the_same_way(hub: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"--tokenizer owner/none is no folder.*not on the Hugging Face hub"):
        load_text_tokenizer("owner/none")
    assert len(hub) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["bench", "tinny"],
            "--model tinny is not in the cache of the Hugging Face hub, and HF_HUB_OFFLINE is set; did",
        ),
        (["serve", "Tiny"], "did you mean tiny?"),
        (["serve", "-m", "owner/smolm2-135m"], "did you mean smollm2-135m?"),
        (["bench", "--tokenizer", "owner/name"], "--tokenizer owner/name is not in the cache"),
        (["bench", "--url", "http://127.0.0.1:9", "--tokenizer", "owner/name"], "--tokenizer owner/name is not in the"),
        (["compare", "-m", "owner/name"], "--model owner/name is not in the cache"),
        (["bench", "-m", "a/b/c"], "--model a/b/c is no folder, no file, no built-in name and no id of the hub"),
        (["bench", "-m", "two words"], "--model two words is no folder, no file"),
        (["serve", "-m", "https://me:s3cret@host"], "--model is a URL: give it as --url, and --model the name of a"),
        (["bench", "-m", "."], "the folder . has no config.json, so it is not a model folder"),
        (["bench", "--tokenizer", "."], "the folder . has no config.json, so it is not a model folder"),
        (["bench", "-m", "none.gguf"], "the file none.gguf does not exist"),
        (["bench", "llama-3.1-8b"], "llama-3.1-8b is a shape without weights; give --load-format dummy"),
    ],
)
def test_a_name_is_checked_before_anything_is_loaded(words: list[str], line: str, tmp_path: Path) -> None:
    result = abatch(*words, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    (said,) = result.stderr.splitlines()
    assert line in said
    assert "s3cret" not in said
    assert not list(tmp_path.iterdir())
