"""What goes into the answer to an error: OpenAI's form, or Anthropic's where its API is spoken."""

from __future__ import annotations

from ...errors import EngineDeadError, RequestError
from ...protocol.failures import ErrorBody, ErrorDetail, MessagesError, MessagesErrorDetail

MESSAGES_PATH = "/v1/messages"
_MESSAGES_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""Anthropic's error types, by status. Any other is an invalid_request_error below 500, and an api_error from there."""


def error_body(error: Exception) -> tuple[ErrorBody, int]:
    """An error in OpenAI's form, and its HTTP status. What is none of ours shows nothing of itself."""
    if isinstance(error, RequestError):
        detail = ErrorDetail(message=str(error), type=error.type, param=error.param, code=error.code)
        return ErrorBody(detail), error.status
    status = 503 if isinstance(error, EngineDeadError) else 500
    code = "engine_dead" if isinstance(error, EngineDeadError) else "internal_error"
    message = str(error) if isinstance(error, EngineDeadError) else "internal error; see the server's log"
    return ErrorBody(ErrorDetail(message=message, type="server_error", code=code)), status


def messages_error(error: Exception) -> tuple[MessagesError, int]:
    """The same in Anthropic's form."""
    body, status = error_body(error)
    kind = _MESSAGES_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    if isinstance(error, EngineDeadError):  # it will not get better by waiting
        kind = "api_error"
    return MessagesError(error=MessagesErrorDetail(type=kind, message=body.error.message)), status


def error_for(path: str, error: Exception) -> tuple[ErrorBody | MessagesError, int]:
    """The form that clients of a path expect."""
    is_messages = path == MESSAGES_PATH or path.startswith(f"{MESSAGES_PATH}/")
    return messages_error(error) if is_messages else error_body(error)
