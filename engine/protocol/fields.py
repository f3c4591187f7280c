"""What the bodies of several endpoints have in common: kinds of values, and how an answer is sampled."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Penalty = Annotated[float, Meta(ge=-2.0, le=2.0)]
PositiveInt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
StopString = Annotated[str, Meta(min_length=1, max_length=1024)]
Name = Annotated[str, Meta(max_length=256)]
"""Of a model, function or user: four times what OpenAI takes for a function. Names come back in error messages."""
MAX_MESSAGES = 16_384
"""Some 100 ms of templates; a year of a busy conversation."""
MAX_PARTS = 4096
"""Of one message. OpenAI's own limit is 2,048."""
MAX_RESULT_PARTS = 256
"""Of a tool's result or a system prompt."""
MAX_TOOLS = 1024
"""In a request, and calls in a message. OpenAI takes 128 tools."""


class StreamOptions(Struct):
    """`include_usage`: send one more chunk with the token counts after the last token."""

    include_usage: bool = False


class JsonSchema(Struct, omit_defaults=True):
    """A schema by name. The answer keeps to it whether `strict` or not."""

    name: Name | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(Struct, omit_defaults=True):
    """What an answer keeps to: `text`, `json_object` or `json_schema`."""

    type: Annotated[str, Meta(max_length=64)]
    json_schema: JsonSchema | None = None


class CommonFields(Struct, kw_only=True):
    """What all endpoints that generate accept."""

    model: Name | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    stream: bool | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    # Extensions.
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    ignore_eos: bool | None = None
    session_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """The conversation that this request continues. Its KV is held for the next one (also as header X-Session-ID)."""
    next_tool: Annotated[str, Meta(max_length=256)] | None = None
    """With session_id: what the session will wait for after this answer. By default the tool that the answer calls."""
    expected_pause_s: Annotated[float, Meta(ge=0.0, le=86400.0)] | None = None
    """With session_id: how long it will wait."""
    end_session: bool | None = None
    """With session_id: no request follows this one."""
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=256)] | None = None


class SamplingFields(CommonFields, kw_only=True):
    """What both completion endpoints accept."""

    max_tokens: PositiveInt | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=16)] | None = None
    stream_options: StreamOptions | None = None
    logit_bias: dict[str, float] | None = None
    response_format: ResponseFormat | None = None
    """An extension of /v1/completions."""
    # vLLM's, known so that they are refused and not silently ignored.
    min_p: Any = None
    repetition_penalty: Any = None
    length_penalty: Any = None
    use_beam_search: Any = None
    bad_words: Any = None
    allowed_token_ids: Any = None
    truncate_prompt_tokens: Any = None
    structured_outputs: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    user: Name | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether token counts are to follow a stream."""
        return self.stream_options is not None and self.stream_options.include_usage
