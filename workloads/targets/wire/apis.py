"""The APIs there are, and which of them is meant."""

from __future__ import annotations

from .api import Api
from .chat import ChatApi
from .completions import CompletionsApi
from .messages import MessagesApi
from .responses import ResponsesApi

AUTO = "auto"
"""The one whose endpoint the URL names, else the first of them that the server has."""
APIS: dict[str, Api] = {api.name: api for api in (ChatApi(), CompletionsApi(), ResponsesApi(), MessagesApi())}
"""By name, in the order in which they are tried."""


def api_at(endpoint: str | None) -> Api | None:
    """The one with this path, such as `chat/completions`."""
    return next((api for api in APIS.values() if api.path == endpoint), None)
