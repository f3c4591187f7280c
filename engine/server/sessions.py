"""Sessions on the wire: which one a request belongs to, and their explicit end."""

from __future__ import annotations

from aiohttp import web

from ..errors import RequestError, SessionNotFoundError
from ..protocol.fields import CommonFields, SamplingFields
from ..protocol.service import SessionDeleted
from ..session import SessionUse
from .front.answers import json_response
from .state import STATE

SESSION_HEADER = "X-Session-ID"
LONGEST_SESSION_ID = 256


def session_use(request: web.Request, body: CommonFields) -> SessionUse | None:
    """The session that a request names in its body or header; None if it names none.

    Raises:
        RequestError: it names two, or gives a session's options without naming one.
    """
    header = request.headers.get(SESSION_HEADER)
    if header is not None and not (1 <= len(header) <= LONGEST_SESSION_ID and header.isprintable()):
        raise RequestError(
            f"{SESSION_HEADER} must be 1 to {LONGEST_SESSION_ID} printable characters", param="session_id"
        )
    if header is not None and body.session_id is not None and header != body.session_id:
        raise RequestError(f"session_id and {SESSION_HEADER} name different sessions", param="session_id")
    session_id = body.session_id if header is None else header
    if session_id is None:
        for name in ("next_tool", "expected_pause_s", "end_session"):
            if getattr(body, name) is not None:
                raise RequestError(f"{name} belongs to a session; give session_id too", param=name)
        return None
    if isinstance(body, SamplingFields) and (body.n or 1) > 1:
        raise RequestError("a session is one conversation, so n must be 1", param="n")
    return SessionUse(
        session_id=session_id,
        next_tool=body.next_tool,
        expected_pause_s=body.expected_pause_s,
        ends_session=bool(body.end_session),
    )


async def delete_session(request: web.Request) -> web.Response:
    """Keep nothing for a session any more. A request of it that is under way goes on."""
    session_id = request.match_info["session_id"]
    if not await request.app[STATE].generator.engine.end_session(session_id):
        raise SessionNotFoundError(session_id)
    return json_response(SessionDeleted(id=session_id))
