"""The sessions an engine knows: busy with a request, or parked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from ..errors import SessionBusyError
from ..request import Request
from ..session import EngineSession


class SessionRegistry:
    """Sessions by id, and those of them that are between two requests."""

    def __init__(self) -> None:
        self._by_id: dict[str, EngineSession] = {}
        self._parked: OrderedDict[EngineSession, None] = OrderedDict()
        """Parked longest first."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[EngineSession]:
        return iter(self._by_id.values())

    @property
    def num_parked(self) -> int:
        """Sessions without a request under way."""
        return len(self._parked)

    @property
    def oldest(self) -> EngineSession | None:
        """The one that has been parked longest."""
        return next(iter(self._parked), None)

    def find(self, session_id: str) -> EngineSession | None:
        """A session that has not ended or expired."""
        return self._by_id.get(session_id)

    def begin(self, session_id: str, request: Request) -> EngineSession:
        """The session of a request that has arrived: a new one, or one that is back.

        Raises:
            SessionBusyError: one of its requests is under way.
        """
        session = self._by_id.get(session_id)
        if session is None:
            session = self._by_id[session_id] = EngineSession(session_id)
        elif session.request is not None:
            raise SessionBusyError(session_id)
        else:
            del self._parked[session]
        session.request = request
        return session

    def park(self, session: EngineSession) -> None:
        """Its request is over."""
        session.request = None
        self._parked[session] = None
        self._parked.move_to_end(session)

    def remove(self, session_id: str) -> EngineSession | None:
        """Forget a session; None if there is none."""
        session = self._by_id.pop(session_id, None)
        if session is not None:
            self._parked.pop(session, None)
        return session
