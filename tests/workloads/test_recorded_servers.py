"""What the client makes of servers of other projects, by transcripts in their formats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.unreachable import TargetError
from support.recorded_servers import RecordedServer, recorded_answers, recorded_server, recorded_servers


@dataclass(frozen=True, slots=True)
class Understood:
    """Of an answer."""

    text: str = "Paris"
    reasoning: str = ""
    finish: str = "length"
    prompt: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning_tokens: int | None = None


ANSWERS = {
    ("tgi", "chat"): Understood(prompt=37, output=2),
    ("sglang", "chat"): Understood(reasoning="The capital", prompt=1258, output=4, cached=1024, reasoning_tokens=2),
    ("ollama", "chat"): Understood(reasoning="Okay,", prompt=14, output=4),
    ("ollama", "tool"): Understood(text="", finish="tool_calls", prompt=14, output=4),
    ("azure", "chat"): Understood(prompt=8, output=2, cached=0, reasoning_tokens=0),
    ("azure", "filtered late"): Understood(finish="stop", prompt=8, output=2, cached=0, reasoning_tokens=0),
    ("azure", "filtered"): Understood(text="Par", finish="content_filter"),
    ("openrouter", "chat"): Understood(reasoning="Okay,", prompt=235, output=25, cached=128, reasoning_tokens=20),
    ("vllm", "chat"): Understood(reasoning="The capital", prompt=37, output=4, cached=32),
    ("llama-cpp", "chat"): Understood(reasoning="The capital", prompt=37, output=4),
    ("deepseek", "chat"): Understood(reasoning="The capital", prompt=1200, output=4, cached=1024, reasoning_tokens=2),
    ("gemini", "chat"): Understood(prompt=9, output=2),
    ("gemini", "thought"): Understood(reasoning="The capital</thought>", finish="stop", prompt=9, output=4),
    ("gemini", "tool"): Understood(text="", finish="stop", prompt=9, output=5),
    ("groq", "chat"): Understood(prompt=41, output=2),
    ("mistral", "chat"): Understood(reasoning="The capital", prompt=18, output=4),
}

FAILURES = {
    ("tgi", "stopping"): ("server_error", "CUDA out of memory"),
    ("tgi", "refusal"): ("http_422", "Input validation error: `inputs` tokens"),
    ("tgi", "busy"): ("http_429", "Model is overloaded"),
    ("sglang", "stopping"): ("server_error", "Scheduler hit an exception"),
    ("sglang", "aborted"): ("server_error", "finish_reason 'abort'"),
    ("sglang", "refusal"): ("http_400", "Requested token count exceeds"),
    ("ollama", "stopping"): ("server_error", "an error was encountered while running the model"),
    ("ollama", "refusal"): ("http_404", 'model "qwen3" not found'),
    ("ollama", "native refusal"): ("http_400", "json: cannot unmarshal number"),
    ("azure", "stopping"): ("server_error", "The server had an error"),
    ("azure", "refusal"): ("http_400", "The response was filtered"),
    ("azure", "busy"): ("http_429", "Requests to the ChatCompletions_Create Operation"),
    ("azure", "no access"): ("http_401", "Access denied"),
    ("openrouter", "stopping"): ("server_error", "Provider returned error"),
    ("openrouter", "stopping choice"): ("server_error", "Upstream error from Chutes"),
    ("openrouter", "refusal"): ("http_402", "This request requires more credits"),
    ("vllm", "stopping"): ("server_error", "EngineCore encountered an issue"),
    ("vllm", "stopping before 0 10"): ("server_error", "EngineCore encountered an issue"),
    ("vllm", "refusal"): ("http_400", "This model's maximum context length"),
    ("vllm", "refusal before 0 10"): ("http_404", "The model `m` does not exist."),
    ("llama-cpp", "stopping"): ("server_error", "context shift is disabled"),
    ("llama-cpp", "refusal"): ("http_400", "the request exceeds the available context size"),
    ("llama-cpp", "loading"): ("http_503", "Loading model"),
    ("deepseek", "stopping"): ("server_error", "finish_reason 'insufficient_system_resource'"),
    ("deepseek", "refusal"): ("http_402", "Insufficient Balance"),
    ("gemini", "stopping"): ("server_error", "The model is overloaded"),
    ("gemini", "refusal"): ("http_400", "API key not valid"),
    ("groq", "stopping"): ("server_error", "Tool call validation failed"),
    ("groq", "refusal"): ("http_429", "Rate limit reached"),
    ("mistral", "stopping"): ("server_error", "finish_reason 'error'"),
    ("mistral", "refusal"): ("http_422", "Extra inputs are not permitted"),
    ("mistral", "no access"): ("http_401", "Unauthorized"),
}
"""Class of failure, and how its message begins, or what is in it."""

MODELS = {
    "tgi": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "sglang": "qwen/qwen3",
    "ollama": "qwen3:0.6b",
    "openrouter": "z-ai/glm-4.5",
    "vllm": "smollm2",
    "llama-cpp": "smollm2.gguf",
    "deepseek": "deepseek-reasoner",
    "gemini": "models/gemini-2.5-flash",
    "groq": "llama-3.3-70b-versatile",
    "mistral": "magistral-medium-2509",
}
"""The model that is measured where none is named: the first of the list."""


@asynccontextmanager
async def _connected(name: str, model: str | None = "m") -> AsyncIterator[tuple[RecordedServer, HttpTarget]]:
    async with recorded_server(name) as server:
        target = await HttpTarget.connect(f"{server.url}/v1", model=model, api_key="sk-1", headers={}, timeout_s=10)
        try:
            yield server, target
        finally:
            await target.close()


async def _reply(server: RecordedServer, target: HttpTarget, says: str) -> Reply:
    server.says = says
    call = Call([ChatMessage(role="user", content="What is the capital of France? " * 100)], 4, "session")
    reply = Reply()
    await target.send(call, reply)
    return reply


def _understood(reply: Reply) -> Understood:
    return Understood(
        "".join(reply.text),
        "".join(reply.reasoning),
        reply.finish_reason or "",
        reply.prompt_tokens,
        reply.output_tokens,
        reply.cached_tokens,
        reply.reasoning_tokens,
    )


@pytest.mark.parametrize(("name", "says"), ANSWERS, ids=map(" ".join, ANSWERS))
async def test_answers_are_understood(name: str, says: str) -> None:
    async with _connected(name) as (server, target):
        reply = await _reply(server, target, says)
    assert (reply.error, reply.error_message) == (None, None)
    assert _understood(reply) == ANSWERS[name, says]
    assert (reply.malformed_events, reply.has_odd_usage) == (0, False)
    assert reply.first_s is not None


@pytest.mark.parametrize(("name", "says"), FAILURES, ids=map(" ".join, FAILURES))
async def test_failures_have_their_class_and_message(name: str, says: str) -> None:
    async with _connected(name) as (server, target):
        reply = await _reply(server, target, says)
    error, message = FAILURES[name, says]
    assert reply.error == error
    assert message in (reply.error_message or "")
    assert "{" not in (reply.error_message or ""), "a message, not its JSON"


@pytest.mark.parametrize("name", MODELS)
async def test_lists_of_models_are_read(name: str) -> None:
    async with _connected(name, model=None) as (_, target):
        assert target.model == MODELS[name]


@pytest.mark.parametrize(
    ("name", "models", "says"),
    [("azure", "models", "404: Resource not found"), ("ollama", "no models", "lists no model; name one with --model")],
    ids=["azure", "ollama"],
)
async def test_where_no_model_is_listed_one_has_to_be_named(name: str, models: str, says: str) -> None:
    async with recorded_server(name) as server:
        server.models = models
        with pytest.raises(TargetError, match=says):
            await HttpTarget.connect(f"{server.url}/v1", model=None, api_key=None, headers={}, timeout_s=10)


def test_everything_recorded_is_judged() -> None:
    recorded = {
        (name, says) for name in recorded_servers() for says in recorded_answers(name) if not says.endswith("models")
    }
    assert recorded == {*ANSWERS, *FAILURES}
