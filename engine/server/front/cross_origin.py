"""Cross-origin requests (CORS): which web pages may call a server from a browser (Fetch standard, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from ...errors import ConfigurationError
from .answers import Handler

_METHODS = "GET, POST, DELETE"
_EXPOSED = "Retry-After"
_REMEMBERED_S = "600"
"""How long a browser may keep a preflight's answer. Chromium keeps none longer than two hours."""
ANY = "*"


class CrossOrigin:
    """Tells browsers that pages of some origins may read what the server answers.

    Keys travel in headers that a page sets itself, so no credentials of the browser's are ever allowed.

    Args:
        origins: As a browser sends them, such as `https://example.org`; `*` is all of them.

    Raises:
        ConfigurationError: one of them is no origin.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(map(_checked, origins))

    def apply(self, app: web.Application) -> None:
        """Answer the preflights of an application before anything else does, and mark all that it answers."""
        app.middlewares.insert(0, self._preflights())
        app.on_response_prepare.append(self._mark)

    def _allowed(self, request: web.BaseRequest) -> str | None:
        """What to put into `Access-Control-Allow-Origin`; None if it is not to be there."""
        if ANY in self._origins:
            return ANY
        origin = request.headers.get("Origin")
        return origin if origin in self._origins else None

    def _preflights(self) -> Middleware:
        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            wanted = request.headers.get("Access-Control-Request-Method")
            if request.method != "OPTIONS" or wanted is None or self._allowed(request) is None:
                return await handler(request)
            # Browsers send neither keys nor bodies with them.
            response = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Max-Age"] = _REMEMBERED_S
            if headers := request.headers.get("Access-Control-Request-Headers"):
                # Those that clients of the APIs add are many, and `*` would not stand for Authorization.
                response.headers["Access-Control-Allow-Headers"] = headers
            return response

        return answer

    async def _mark(self, request: web.Request, response: web.StreamResponse) -> None:
        if ANY not in self._origins:
            response.headers.add("Vary", "Origin")
        if (allowed := self._allowed(request)) is not None:
            response.headers["Access-Control-Allow-Origin"] = allowed
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED


def _checked(origin: str) -> str:
    """As browsers write it: in lower case, without a port that goes without saying."""
    if origin == ANY:
        return origin
    try:
        url = URL(origin)
        checked = str(url.origin())
        is_origin = str(url) in (checked, f"{checked}/") and not any(map(str.isspace, origin))
    except ValueError:
        is_origin = False
    if not is_origin:
        raise ConfigurationError(
            f"--cors-origin {origin!r} is no origin: give scheme, host and port without a path, such as "
            "https://example.org or http://localhost:3000, or * for all"
        )
    return checked
