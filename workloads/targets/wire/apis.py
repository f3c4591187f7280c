"""The APIs there are."""

from __future__ import annotations

from .api import Api
from .chat import ChatApi
from .completions import CompletionsApi
from .messages import MessagesApi
from .names import AUTO, CHAT
from .responses import ResponsesApi

APIS: dict[str, Api] = {api.name: api for api in (ChatApi(), CompletionsApi(), ResponsesApi(), MessagesApi())}
"""By name, in the order in which they are tried."""
_ANTHROPIC_KEY = "sk-ant-"


def api_named(name: str) -> Api:
    """The API with this name; chat for `AUTO`."""
    return APIS[CHAT if name == AUTO else name]


def key_headers(api_key: str) -> dict[str, str]:
    """How a key goes with every request, whatever the API. Anthropic does not take its own as bearer tokens."""
    if api_key.startswith(_ANTHROPIC_KEY):
        return APIS["messages"].headers(api_key)
    return {"Authorization": f"Bearer {api_key}"}
