"""Fixtures of tests against whole servers."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest


@pytest.fixture
def openai_client(tiny_server: str) -> Iterator[openai.OpenAI]:
    """The official client. Left open, its connections would warn from within some later test."""
    with openai.OpenAI(base_url=f"{tiny_server}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def messages_client(tiny_server: str) -> Iterator[anthropic.Anthropic]:
    """Anthropic's, likewise."""
    with anthropic.Anthropic(base_url=tiny_server, api_key="unused", max_retries=0) as client:
        yield client
