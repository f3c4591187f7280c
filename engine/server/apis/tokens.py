"""`POST /tokenize` and `/detokenize`, as vLLM has them."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ...errors import ContextLengthError, RequestError, UnsupportedError
from ...protocol.chat import ChatCompletionRequest
from ...protocol.encoding import encode
from ...protocol.tokenize import Detokenized, DetokenizeRequest, TokenizeRequest, Tokens
from ..exchange import read_body
from ..front.json_bodies import aside
from ..state import STATE, ServerState
from .conversation import prompt_of

_tokenize_decoder = msgspec.json.Decoder(TokenizeRequest)
_detokenize_decoder = msgspec.json.Decoder(DetokenizeRequest)


async def tokenize(request: web.Request) -> web.Response:
    """The tokens of a prompt, or of a conversation as `/v1/chat/completions` would see it."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _tokenize_decoder)
    state.check_model(body.model)
    _refuse_unsupported(body)
    token_ids = await _token_ids(body, num_bytes, state)

    def encoded() -> bytes:
        tokenizer = state.generator.tokenizer
        return encode(
            Tokens(
                count=len(token_ids),
                max_model_len=state.generator.engine.ready.max_model_len,
                tokens=token_ids,
                token_strs=tokenizer.token_strings(token_ids) if body.return_token_strs else None,
            )
        )

    return web.Response(body=await aside(len(token_ids), encoded), content_type="application/json")


async def detokenize(request: web.Request) -> web.Response:
    """The text of tokens, special ones included."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _detokenize_decoder)
    state.check_model(body.model)
    ready = state.generator.engine.ready
    if len(body.tokens) > ready.max_model_len:
        raise ContextLengthError(
            f"{len(body.tokens)} tokens are more than the context of {ready.max_model_len} tokens", param="tokens"
        )
    if (largest := max(body.tokens, default=0)) >= ready.vocab_size:
        raise RequestError(f"{largest} is outside the vocabulary of {ready.vocab_size} tokens", param="tokens")

    def encoded() -> bytes:
        return encode(Detokenized(state.generator.tokenizer.decode_long(body.tokens)))

    return web.Response(body=await aside(num_bytes, encoded), content_type="application/json")


def _refuse_unsupported(body: TokenizeRequest) -> None:
    if (body.prompt is None) == (body.messages is None):
        raise RequestError("give either a prompt or messages", param="prompt")
    is_used = {
        "add_generation_prompt": body.messages is not None and body.add_generation_prompt is False,
        "continue_final_message": body.continue_final_message,
        "chat_template": body.chat_template is not None,
        "chat_template_kwargs": body.chat_template_kwargs,
    }
    for name in (name for name, used in is_used.items() if used):
        raise UnsupportedError(f"{name} is not supported", param=name)
    if body.messages is not None and body.add_special_tokens:
        raise UnsupportedError("the chat template puts special tokens, not add_special_tokens", param="messages")


async def _token_ids(body: TokenizeRequest, num_bytes: int, state: ServerState) -> list[int]:
    if body.messages is not None:
        return await prompt_of(ChatCompletionRequest(messages=body.messages, tools=body.tools), num_bytes, state)
    prompt, special = body.prompt or "", body.add_special_tokens is not False
    return await state.tokenize(
        num_bytes, [len(prompt)], lambda: state.generator.encode(prompt, add_special_tokens=special)
    )
