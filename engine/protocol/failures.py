"""What went wrong, in the form of each family of APIs."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ErrorDetail(Struct, kw_only=True):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(Struct):
    """The body of every answer that is not a success, but for those of the Messages API."""

    error: ErrorDetail


class MessagesErrorDetail(Struct, kw_only=True):
    """What went wrong, in Anthropic's words."""

    type: str
    message: str


class MessagesError(Struct, kw_only=True):
    """The body of every answer of the Messages API that is not a success, and its error event."""

    type: Literal["error"] = "error"
    error: MessagesErrorDetail
