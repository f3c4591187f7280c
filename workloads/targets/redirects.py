"""Redirects: followed on the same server, told elsewhere, for they would carry the user's credentials away."""

from __future__ import annotations

import aiohttp
from yarl import URL

from ..http.faults import printable
from ..http.limits import LOCATION_CHARS
from .server_url import hide_credentials

REDIRECT = "redirect"
"""Class of failures: the server answered with another place to ask."""
MOST_REDIRECTS = 3
"""Of one request."""
_STATUSES = frozenset((301, 302, 303, 307, 308))
_KEEPING_METHOD = frozenset((307, 308))


def redirect_of(response: aiohttp.ClientResponse) -> str | None:
    """Where a response points to, as the server wrote it; None if it points nowhere."""
    return response.headers.get("Location") if response.status in _STATUSES else None


def followed(response: aiohttp.ClientResponse) -> URL | None:
    """Where to send the same request instead, without credentials; None if that is not for the client to do.

    It must be the same server, or the same host with TLS at the usual port. 301 to 303 would lose a body.
    """
    location = redirect_of(response)
    if location is None or response.status not in _KEEPING_METHOD:
        return None
    asked = response.url
    try:
        place = asked.join(URL(location[: 4 * LOCATION_CHARS]))
        is_same = place.origin() == asked.origin()
    except ValueError:
        return None
    gains_tls = (asked.scheme, place.scheme, place.host) == ("http", "https", asked.host) and (
        asked.is_default_port() and place.is_default_port()
    )
    return place.with_fragment(None) if is_same or gains_tls else None


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
