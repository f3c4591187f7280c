"""`/openapi.json`, generated from the wire types."""

from __future__ import annotations

from typing import Any

import msgspec

from ..protocol.chat import ChatCompletion, ChatCompletionRequest
from ..protocol.completions import Completion, CompletionRequest
from ..protocol.failures import ErrorBody
from ..protocol.service import Health, ModelCard, ModelList, SessionDeleted
from .sessions import LONGEST_SESSION_ID

_ERRORS = {
    "400": "A value is invalid, or the request does not fit the context",
    "401": "The API key is missing or wrong",
    "404": "There is no such model",
    "408": "The body came too slowly",
    "409": "Another request of the session is under way",
    "413": "The body is over the size limit",
    "415": "The body is compressed",
    "417": "An expectation other than 100-continue",
    "422": "Understood, but not supported by this server",
    "429": "Too many requests are pending, or too much is being read; see Retry-After",
    "503": "The server is shutting down, its engine has died, or all connections are in use",
}
_OF_POSTS = tuple(_ERRORS)
_OF_GETS = ("400", "401", "503")
_TYPES = (
    *(ChatCompletionRequest, CompletionRequest, ChatCompletion, Completion),
    *(ModelList, ModelCard, SessionDeleted, Health, ErrorBody),
)


def openapi(version: str) -> dict[str, Any]:
    """The whole API description, as a JSON object."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    chat = _post("Continue a conversation", ChatCompletionRequest, ChatCompletion)
    completion = _post("Complete one or several prompts", CompletionRequest, Completion)
    return {
        "openapi": "3.1.0",
        "info": {"title": "abatch", "version": version, "description": "OpenAI-compatible API of the abatch engine."},
        "paths": {
            "/v1/chat/completions": {"post": chat},
            "/v1/completions": {"post": completion},
            "/v1/sessions/{session_id}": {"delete": _delete_session()},
            "/v1/models": {"get": _get("Models served", ModelList, _OF_GETS)},
            "/v1/models/{model}": {
                "get": _get("A model, if it is served here", ModelCard, (*_OF_GETS, "404"))
                | {"parameters": [_in_path("model", 256)]}
            },
            "/health": {"get": _health()},
            "/metrics": {"get": _metrics()},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def _content(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _answers(answer: type[msgspec.Struct], statuses: tuple[str, ...], description: str) -> dict[str, Any]:
    errors = {status: {"description": _ERRORS[status], "content": _content(ErrorBody)} for status in statuses}
    return {"200": {"description": description, "content": _content(answer)}, **errors}


def _in_path(name: str, longest: int) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": longest}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _get(summary: str, answer: type[msgspec.Struct], statuses: tuple[str, ...]) -> dict[str, Any]:
    return {"summary": summary, "responses": _answers(answer, statuses, summary), "security": [{}, {"apiKey": []}]}


def _delete_session() -> dict[str, Any]:
    responses = _answers(SessionDeleted, ("400", "401", "503"), "Nothing is kept for it any more")
    responses["404"] = {"description": "There is no such session, or it has expired", "content": _content(ErrorBody)}
    return {
        "summary": "Keep nothing for a session any more",
        "parameters": [_in_path("session_id", LONGEST_SESSION_ID)],
        "responses": responses,
        "security": [{}, {"apiKey": []}],
    }


def _post(summary: str, body: type[msgspec.Struct], answer: type[msgspec.Struct]) -> dict[str, Any]:
    responses = _answers(answer, _OF_POSTS, "The answer; with stream: true, server-sent events")
    responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    responses["429"]["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    session = {
        "name": "X-Session-ID",
        "in": "header",
        "required": False,
        "description": "As session_id in the body",
        "schema": {"type": "string", "maxLength": LONGEST_SESSION_ID, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    }
    return {
        "summary": summary,
        "parameters": [session],
        "requestBody": {"required": True, "content": _content(body)},
        "responses": responses,
        "security": [{}, {"apiKey": []}],
    }


def _health() -> dict[str, Any]:
    return {
        "summary": "Whether requests are taken and the engine's process answers",
        "responses": {
            "200": {"description": "ok", "content": _content(Health)},
            "503": {"description": "draining, engine dead, or engine not responding", "content": _content(Health)},
        },
    }


def _metrics() -> dict[str, Any]:
    return {
        "summary": "The server's own view, for Prometheus",
        "responses": {
            "200": {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}},
            "503": {"description": _ERRORS["503"], "content": _content(ErrorBody)},
        },
    }
