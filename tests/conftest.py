"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Nothing here may reach for a hub: what a test needs it makes, or fetches by itself.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("ABATCH_API_KEY", None)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A folder with the real weights of SmolLM2-135M-Instruct."""
    from support.smollm2 import smollm2_folder

    return smollm2_folder()


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an `abatch serve tiny` that the whole session shares. Tests that harm a server start their own."""
    from support.servers import running_server

    with running_server("tiny", log=tmp_path_factory.mktemp("server") / "log") as server:
        yield server.url
