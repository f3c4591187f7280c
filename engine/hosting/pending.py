"""The requests that an engine has accepted, and what one more must pass to join them."""

from __future__ import annotations

from ..errors import QueueFullError, RequestError, SessionBusyError
from ..loop.messages import Ready
from ..request import SamplingParams, check_length
from ..session import SessionUse


class PendingRequests:
    """Requests accepted and not ended, with the sessions they keep busy.

    Its checks are those of every engine, whether it runs in a process of its own or in virtual time.

    Args:
        ready: The engine's limits.
        max_queue: Requests that may wait beyond those that run.
    """

    def __init__(self, ready: Ready, *, max_queue: int) -> None:
        self._max_model_len = ready.max_model_len
        self._most = ready.max_num_seqs + max_queue
        self._session_of: dict[str, str | None] = {}
        self._busy_sessions: set[str] = set()

    def __len__(self) -> int:
        return len(self._session_of)

    def check(
        self, num_prompt: int, sampling: SamplingParams, session: SessionUse | None = None, *, num_requests: int = 1
    ) -> None:
        """Refuse requests that cannot be accepted now.

        Raises:
            ContextLengthError: they do not fit the context.
            QueueFullError: too many are pending.
            RequestError: they are more than may ever be pending.
            SessionBusyError: another request of the session is pending.
        """
        check_length(num_prompt, sampling.max_tokens, self._max_model_len)
        if num_requests > self._most:
            raise RequestError(f"{num_requests} answers at once are over this server's limit of {self._most}")
        if len(self) + num_requests > self._most:
            raise QueueFullError(f"{len(self)} requests are pending, which is the limit; try again later")
        if session is not None and session.session_id in self._busy_sessions:
            raise SessionBusyError(session.session_id)

    def add(self, request_id: str, session: SessionUse | None) -> None:
        """A request has been accepted."""
        self._session_of[request_id] = None if session is None else session.session_id
        if session is not None:
            self._busy_sessions.add(session.session_id)

    def free_session(self, request_id: str) -> None:
        """The request's session may go on, though the request itself still counts. Safe to call twice."""
        session_id = self._session_of.get(request_id)
        if session_id is not None:
            self._session_of[request_id] = None
            self._busy_sessions.discard(session_id)

    def remove(self, request_id: str) -> None:
        """The request is over. Safe to call twice."""
        self.free_session(request_id)
        self._session_of.pop(request_id, None)
