"""What a server says of itself: its models, its health, the sessions it has let go."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ModelCard(Struct, kw_only=True):
    """A model this server has."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "abatch"
    max_model_len: int | None = None


class ModelList(Struct, kw_only=True):
    """The answer of `/v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(Struct):
    """The answer of `/health`: 200 only with `ok`."""

    status: Literal["ok", "draining", "engine dead", "engine not responding"]


class SessionDeleted(Struct, kw_only=True):
    """The answer of `DELETE /v1/sessions/{id}`."""

    id: str
    object: Literal["session.deleted"] = "session.deleted"
    deleted: bool = True
