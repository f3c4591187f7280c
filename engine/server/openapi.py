"""`/openapi.json`, generated from the wire types."""

from __future__ import annotations

from typing import Any

import msgspec

from ..protocol import (
    ChatCompletion,
    ChatCompletionRequest,
    Completion,
    CompletionRequest,
    ErrorBody,
    ModelList,
    SessionDeleted,
)

_ERROR_STATUSES = {
    "400": "A value is invalid, or the request does not fit the context",
    "401": "The API key is missing or wrong",
    "404": "Another model is named",
    "409": "Another request of the session is under way",
    "413": "The body is over the size limit",
    "422": "Understood, but not supported by this server",
    "429": "Too many requests are pending; see Retry-After",
    "503": "The server is shutting down, or its engine has died",
}


def openapi(version: str) -> dict[str, Any]:
    """The whole API description, as a JSON object."""
    types = (ChatCompletionRequest, CompletionRequest, ChatCompletion, Completion, ModelList, ErrorBody, SessionDeleted)
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "abatch", "version": version, "description": "OpenAI-compatible API of the abatch engine."},
        "paths": {
            "/v1/chat/completions": {"post": _post(ChatCompletionRequest, ChatCompletion)},
            "/v1/completions": {"post": _post(CompletionRequest, Completion)},
            "/v1/sessions/{session_id}": {"delete": _delete_session()},
            "/v1/models": {"get": _get("Models served", ModelList)},
            "/health": {"get": {"responses": {"200": {"description": "Alive"}, "503": {"description": "Not alive"}}}},
            "/metrics": {"get": {"responses": {"200": {"description": "Prometheus text format"}}}},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def _content(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _get(description: str, answer: type[msgspec.Struct]) -> dict[str, Any]:
    return {"responses": {"200": {"description": description, "content": _content(answer)}}}


def _delete_session() -> dict[str, Any]:
    parameter = {"name": "session_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "parameters": [parameter],
        "responses": {
            "200": {"description": "Nothing is kept for it any more", "content": _content(SessionDeleted)},
            "404": {"description": "There is no such session, or it has expired", "content": _content(ErrorBody)},
        },
        "security": [{}, {"apiKey": []}],
    }


def _post(body: type[msgspec.Struct], answer: type[msgspec.Struct]) -> dict[str, Any]:
    errors = {status: {"description": text, "content": _content(ErrorBody)} for status, text in _ERROR_STATUSES.items()}
    success = {
        "description": "The answer; with stream: true, server-sent events",
        "content": {**_content(answer), "text/event-stream": {}},
    }
    return {
        "requestBody": {"required": True, "content": _content(body)},
        "responses": {"200": success, **errors},
        "security": [{}, {"apiKey": []}],
    }
