"""Every error the engine raises on purpose.

AbatchError
├── ConfigurationError          the user asked for something impossible: one line that says what to change
│   └── UnsupportedModelError   the model is real, but this engine cannot run it exactly
├── RequestError                this request cannot be served; carries its HTTP status and OpenAI error code
│   ├── ContextLengthError      prompt and output do not fit the model's context
│   ├── UnsupportedError        understood, but this server cannot do it
│   ├── QueueFullError          more is pending than the queue limit allows
│   ├── SessionBusyError        another request of the session is under way
│   ├── SessionNotFoundError    there is no such session, or it has expired
│   └── DrainingError           the server is shutting down and accepts nothing new
└── EngineDeadError             the engine process ended; what was pending on it is over
"""

from __future__ import annotations


class AbatchError(Exception):
    """Base of every error raised on purpose. Its text is one line meant for the user."""


class ConfigurationError(AbatchError):
    """The user asked for something impossible; the text says what to change."""


class UnsupportedModelError(ConfigurationError):
    """The model exists, but the engine cannot run it with exact results."""


class RequestError(AbatchError):
    """A request that cannot be served.

    `status` is the HTTP status, `code` the machine-readable OpenAI error code, `param` the field at fault.
    """

    status = 400
    code = "invalid_request"

    def __init__(
        self, message: str, *, param: str | None = None, status: int | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code

    @property
    def type(self) -> str:
        """The OpenAI error `type` that goes with the status."""
        by_status = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
        return by_status.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")


class ContextLengthError(RequestError):
    """Prompt plus requested output exceed the model's context."""

    code = "context_length_exceeded"


class UnsupportedError(RequestError):
    """The request is understood, but asks for something this server does not have."""

    status = 422
    code = "unsupported"


class QueueFullError(RequestError):
    """More requests are pending than `--max-queue` allows. Retry after `retry_after_s` seconds."""

    status = 429
    code = "queue_full"
    retry_after_s = 1


class SessionBusyError(RequestError):
    """A session is one conversation: its requests come one after another."""

    status = 409
    code = "session_busy"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"a request of session {session_id!r} is under way; wait for it, or use another session_id",
            param="session_id",
        )


class SessionNotFoundError(RequestError):
    """The session never existed, has ended, or was idle for too long (`--session-timeout`)."""

    status = 404
    code = "session_not_found"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"there is no session {session_id!r}: it never existed, has ended, or has expired (--session-timeout)",
            param="session_id",
        )


class DrainingError(RequestError):
    """The server has begun to shut down; it finishes what it accepted and takes nothing new."""

    status = 503
    code = "draining"


class EngineDeadError(AbatchError):
    """The engine process is gone. Everything pending on it ends with this error."""
