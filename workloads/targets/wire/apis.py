"""The APIs there are, and which of them is meant."""

from __future__ import annotations

from ....engine.errors import ConfigurationError
from .api import AUTO, Api
from .chat import ChatApi
from .completions import CompletionsApi
from .messages import MessagesApi
from .responses import ResponsesApi

APIS: dict[str, Api] = {api.name: api for api in (ChatApi(), CompletionsApi(), ResponsesApi(), MessagesApi())}
"""By name, in the order in which they are tried."""
CHAT = "chat"
_ANTHROPIC_KEY = "sk-ant-"


def api_named(name: str) -> Api:
    """The API with this name; chat for `AUTO`."""
    return APIS[CHAT if name == AUTO else name]


def checked_api(name: str) -> str:
    """The name of an API, or `AUTO`.

    Raises:
        ConfigurationError: there is none with this name.
    """
    if name not in (AUTO, *APIS):
        raise ConfigurationError(f"--api must be {AUTO}, {', '.join([*APIS][:-1])} or {[*APIS][-1]}, not {name!r}")
    return name


def meant_api(name: str, endpoint: str | None) -> str:
    """The API that is meant by a name, or `AUTO`, and the endpoint that the URL names, such as `chat/completions`.

    Raises:
        ConfigurationError: they contradict each other.
    """
    named = next((api.name for api in APIS.values() if api.path == endpoint), AUTO)
    if AUTO not in (name, named) and name != named:
        raise ConfigurationError(f"--url names the {named} API and --api the {name} API: leave one out")
    return name if named == AUTO else named


def key_headers(api_key: str) -> dict[str, str]:
    """How a key goes with every request, whatever the API. Anthropic does not take its own as bearer tokens."""
    if api_key.startswith(_ANTHROPIC_KEY):
        return APIS["messages"].headers(api_key)
    return {"Authorization": f"Bearer {api_key}"}
