"""`/openapi.json`, generated from the wire types."""

from __future__ import annotations

from typing import Any

import msgspec

from ..protocol.chat import ChatCompletion, ChatCompletionRequest
from ..protocol.completions import Completion, CompletionRequest
from ..protocol.failures import ErrorBody, MessagesError
from ..protocol.messages import CountTokensRequest, Message, MessagesRequest, TokenCount
from ..protocol.responses import Response, ResponsesRequest
from ..protocol.service import Health, ModelCard, ModelList, SessionDeleted
from ..protocol.tokenize import Detokenized, DetokenizeRequest, TokenizeRequest, Tokens, Version
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
_SECURITY: list[dict[str, list[str]]] = [{}, {"apiKey": []}, {"apiKeyHeader": []}]
_TYPES = (
    *(ChatCompletionRequest, CompletionRequest, ChatCompletion, Completion, ResponsesRequest, Response),
    *(MessagesRequest, CountTokensRequest, Message, TokenCount, MessagesError),
    *(TokenizeRequest, Tokens, DetokenizeRequest, Detokenized),
    *(ModelList, ModelCard, SessionDeleted, Health, Version, ErrorBody),
)


def openapi(version: str) -> dict[str, Any]:
    """The whole API description, as a JSON object."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    posts = {
        "/v1/chat/completions": _generate("Continue a conversation", ChatCompletionRequest, ChatCompletion),
        "/v1/completions": _generate("Complete one or several prompts", CompletionRequest, Completion),
        "/v1/responses": _generate("Continue a conversation (Responses API)", ResponsesRequest, Response),
        "/v1/messages": _generate("Continue a conversation (Messages API)", MessagesRequest, Message, MessagesError),
        "/v1/messages/count_tokens": _post(
            "Tokens of a conversation (Messages API)", CountTokensRequest, TokenCount, MessagesError
        ),
        "/tokenize": _post("The tokens of a prompt or a conversation", TokenizeRequest, Tokens),
        "/detokenize": _post("The text of tokens", DetokenizeRequest, Detokenized),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "abatch", "version": version, "description": "OpenAI's and Anthropic's APIs, by abatch."},
        "paths": {
            **{path: {"post": description} for path, description in posts.items()},
            "/v1/sessions/{session_id}": {"delete": _delete_session()},
            "/v1/models": {"get": _get("Models served", ModelList, _OF_GETS)},
            "/v1/models/{model}": {
                "get": _get("A model, if it is served here", ModelCard, (*_OF_GETS, "404"))
                | {"parameters": [_in_path("model", 256)]}
            },
            "/health": {"get": _health()},
            "/ping": {"get": _health()},
            "/version": {"get": _open_get("The version of this server", Version)},
            "/metrics": {"get": _metrics()},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer"},
                "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _content(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _answers(
    answer: type[msgspec.Struct],
    statuses: tuple[str, ...],
    description: str,
    error: type[msgspec.Struct] = ErrorBody,
) -> dict[str, Any]:
    errors = {status: {"description": _ERRORS[status], "content": _content(error)} for status in statuses}
    return {"200": {"description": description, "content": _content(answer)}, **errors}


def _in_path(name: str, longest: int) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": longest}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _get(summary: str, answer: type[msgspec.Struct], statuses: tuple[str, ...]) -> dict[str, Any]:
    return {"summary": summary, "responses": _answers(answer, statuses, summary), "security": _SECURITY}


def _open_get(summary: str, answer: type[msgspec.Struct]) -> dict[str, Any]:
    return {"summary": summary, "responses": _answers(answer, ("503",), summary)}


def _delete_session() -> dict[str, Any]:
    responses = _answers(SessionDeleted, ("400", "401", "503"), "Nothing is kept for it any more")
    responses["404"] = {"description": "There is no such session, or it has expired", "content": _content(ErrorBody)}
    return {
        "summary": "Keep nothing for a session any more",
        "parameters": [_in_path("session_id", LONGEST_SESSION_ID)],
        "responses": responses,
        "security": _SECURITY,
    }


def _post(
    summary: str,
    body: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    error: type[msgspec.Struct] = ErrorBody,
) -> dict[str, Any]:
    responses = _answers(answer, _OF_POSTS, "The answer", error)
    responses["429"]["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _content(body)},
        "responses": responses,
        "security": _SECURITY,
    }


def _generate(
    summary: str,
    body: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    error: type[msgspec.Struct] = ErrorBody,
) -> dict[str, Any]:
    description = _post(summary, body, answer, error)
    answered = description["responses"]["200"]
    answered["description"] = "The answer; with stream: true, server-sent events"
    answered["content"]["text/event-stream"] = {}
    session = {
        "name": "X-Session-ID",
        "in": "header",
        "required": False,
        "description": "As session_id in the body",
        "schema": {"type": "string", "maxLength": LONGEST_SESSION_ID, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    }
    return description | {"parameters": [session]}


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
