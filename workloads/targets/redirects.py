"""Redirects, which are told and not followed: they would carry the user's credentials to another place."""

from __future__ import annotations

import aiohttp
from yarl import URL

from ..http.faults import printable
from ..http.limits import LOCATION_CHARS
from .server_url import hide_credentials

REDIRECT = "redirect"
"""Class of failures: the server answered with another place to ask."""
_STATUSES = frozenset((301, 302, 303, 307, 308))


def redirect_of(response: aiohttp.ClientResponse) -> str | None:
    """Where a response points to, as the server wrote it; None if it points nowhere."""
    return response.headers.get("Location") if response.status in _STATUSES else None


def redirect_in_words(response: aiohttp.ClientResponse, location: str) -> str:
    """That a redirect is not followed, and where to, without credentials and query."""
    try:
        place = str(response.url.with_user(None).join(URL(location[: 4 * LOCATION_CHARS])))
    except ValueError:
        place = location
    shown = printable(hide_credentials(place), LOCATION_CHARS)
    return (
        f"the server redirects to {shown} (HTTP {response.status}), which is not followed: "
        "if that is the right place, give it as --url"
    )
