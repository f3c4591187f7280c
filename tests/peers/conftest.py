"""Real clients and real servers. They take minutes and packages of their own: `make test-peers` runs them, and no other
run of the tests collects them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import openai
import pytest
from support.servers import running_server

if "ABATCH_TEST_PEERS" not in os.environ:
    collect_ignore_glob = ["test_*.py"]

# A client that looks up prices on the internet before its first request.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


@pytest.fixture(scope="session")
def smollm2_server(smollm2: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of our server with a real model, named `smollm2`."""
    log = tmp_path_factory.mktemp("server") / "log"
    with running_server("--model", str(smollm2), "--served-model-name", "smollm2", log=log) as server:
        yield server.url
        assert "Traceback" not in log.read_text()


@pytest.fixture
def openai_client(smollm2_server: str) -> Iterator[openai.OpenAI]:
    """The official client of that server."""
    with openai.OpenAI(base_url=f"{smollm2_server}/v1", api_key="unused", max_retries=0) as client:
        yield client
