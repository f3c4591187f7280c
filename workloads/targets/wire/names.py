"""Names on the wire: of the APIs, and of the header that tells requests apart."""

from __future__ import annotations

from ....engine.errors import ConfigurationError

AUTO = "auto"
"""In place of an API's name: the one that the URL names, else the first that the server has."""
CHAT = "chat"
API_PATHS = {CHAT: "chat/completions", "completions": "completions", "responses": "responses", "messages": "messages"}
"""Where each API lies, from the base (`.../v1`) on, by its name; in the order in which they are tried."""
REQUEST_ID_HEADER = "X-Request-ID"
"""Servers and proxies write it to their logs, so that a run can be joined with them."""


def checked_api(name: str) -> str:
    """The name of an API, or `AUTO`.

    Raises:
        ConfigurationError: there is none with this name.
    """
    if name not in (AUTO, *API_PATHS):
        *others, last = API_PATHS
        raise ConfigurationError(f"--api must be {AUTO}, {', '.join(others)} or {last}, not {name!r}")
    return name


def meant_api(name: str, endpoint: str | None) -> str:
    """The API that is meant by a name, or `AUTO`, and the endpoint that the URL names, such as `chat/completions`.

    Raises:
        ConfigurationError: they contradict each other.
    """
    named = next((api for api, path in API_PATHS.items() if path == endpoint), AUTO)
    if AUTO not in (name, named) and name != named:
        raise ConfigurationError(f"--url names the {named} API and --api the {name} API: leave one out")
    return name if named == AUTO else named
