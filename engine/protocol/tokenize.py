"""`POST /tokenize` and `/detokenize`, and `GET /version`, as vLLM has them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from .conversation import ChatMessage, Tool
from .fields import MAX_MESSAGES, MAX_TOOLS, Name, TokenId


class TokenizeRequest(Struct, kw_only=True):
    """Body of `POST /tokenize`: a prompt, or messages with tools."""

    model: Name | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=MAX_TOOLS)] | None = None
    add_special_tokens: bool | None = None
    """Those the model wants around a prompt. By default they are added; in messages the chat template puts them."""
    return_token_strs: bool | None = None
    # Known, so that they are refused and not silently ignored.
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template: Any = None
    chat_template_kwargs: dict[str, Any] | None = None


class Tokens(Struct, kw_only=True):
    """The answer of `/tokenize`."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(Struct, kw_only=True):
    """Body of `POST /detokenize`."""

    model: Name | None = None
    tokens: list[TokenId]


class Detokenized(Struct):
    """The answer of `/detokenize`, special tokens included."""

    prompt: str


class Version(Struct):
    """The answer of `/version`."""

    version: str
