"""Text to tokens, chats to prompts. Lives in the server's process, not in the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import jinja2

from ..errors import ConfigurationError, ContextLengthError, RequestError
from ..simulation.simulated_runner import FIRST_TOKEN, NUM_TOKENS
from .source import is_built_in, pretrained_arguments
from .tiny_tokenizer import tiny_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_USUAL_CHARACTERS = 8
"""Text with more characters than this for each token that fits is measured piece by piece before it is read whole."""
_MAX_ERROR_CHARACTERS = 300
"""Of what a chat template says, which may repeat a message."""


class ChatTokenizer:
    """A tokenizer of transformers with the errors of an API server."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.hf = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        # The Rust tokenizer underneath is several times faster than its wrapper, and safe to use from several threads.
        self._backend = backend
        self._decode = backend.decode if backend is not None else tokenizer.decode
        self._longest_token = max(len(text) for text in tokenizer.get_vocab())

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """The tokenizer's own end-of-sequence token, as a set of none or one."""
        eos = self.hf.eos_token_id
        return frozenset() if eos is None else frozenset([int(eos)])

    @property
    def template(self) -> str:
        """The text of the chat template, of all of them if there are several; empty without one."""
        template = self.hf.chat_template or ""
        return "\n".join(template.values()) if isinstance(template, dict) else str(template)

    def vocabulary(self) -> str | None:
        """All that the `tokenizers` library knows of it, as JSON text; None where it is another library's."""
        return None if self._backend is None else str(self._backend.to_str())

    def token_texts(self, texts: Sequence[str]) -> dict[int, str]:
        """Those texts that are one token each, by its id."""
        if self._backend is None:
            return {}
        return {token: text for text in texts if (token := self._backend.token_to_id(text)) is not None}

    @property
    def takes_tools(self) -> bool:
        """Whether the chat template has a place for tools."""
        return "tools" in self.template

    def encode(self, text: str, *, most_tokens: int | None = None, add_special_tokens: bool = True) -> list[int]:
        """Tokens of a bare prompt, with or without the special tokens the model wants around it.

        Raises:
            ContextLengthError: they are more than `most_tokens`.
        """
        return self._encode(text, most_tokens, add_special_tokens=add_special_tokens)

    def least_tokens(self, num_characters: int) -> int:
        """Fewer tokens than this cannot hold so much text: known without looking at it."""
        return num_characters // self._longest_token

    def _encode(self, text: str, most_tokens: int | None, *, add_special_tokens: bool) -> list[int]:
        backend = self._backend
        if backend is None:
            ids: list[int] = self.hf.encode(text, add_special_tokens=add_special_tokens)
            return ids
        if most_tokens is not None and len(text) > _USUAL_CHARACTERS * most_tokens:
            _refuse_long(backend, text, most_tokens)
        # Unlike `encode`, it lets other threads run meanwhile.
        (encoding,) = backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        if most_tokens is not None and len(encoding) > most_tokens:
            raise _too_long(len(encoding), most_tokens)
        backend_ids: list[int] = encoding.ids
        return backend_ids

    def encode_chat(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        *,
        most_tokens: int | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Tokens of a conversation.

        Args:
            messages: As the chat template wants them.
            tools: That the assistant may call.
            most_tokens: That fit the context.
            add_generation_prompt: End where the assistant begins to speak.
            continue_final_message: End with the last message, which the assistant goes on with.
            template_arguments: Of the template's own.

        Raises:
            ContextLengthError: they are more than `most_tokens`.
            RequestError: the tokenizer has no chat template (422), or the template fails on the messages, or an
                argument is not the template's own.
        """
        if self.hf.chat_template is None:
            raise RequestError(
                "this model has no chat template; send the prompt to /v1/completions",
                status=422,
                code="no_chat_template",
            )
        own = template_arguments or {}
        for name in own.keys() & {"messages", "conversations", *signature(self.hf.apply_chat_template).parameters}:
            raise RequestError(f"chat_template_kwargs cannot set {name}", param="chat_template_kwargs")
        try:
            prompt = self.hf.apply_chat_template(
                messages,
                tools=[*tools] if tools else None,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                tokenize=False,
                **own,
            )
        except Exception as error:  # a template is a program, and may fail in any way
            raise RequestError(f"the model's chat template {_what_failed(error)}", param="messages") from None
        return self._encode(str(prompt), most_tokens, add_special_tokens=False)

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of tokens. A character cut in two shows as U+FFFD."""
        return str(self._decode(list(token_ids), skip_special_tokens=skip_special_tokens))

    def token_strings(self, token_ids: Sequence[int]) -> list[str]:
        """Tokens as the vocabulary spells them, which is not always as text."""
        return list(map(str, self.hf.convert_ids_to_tokens(list(token_ids))))

    def decode_long(self, token_ids: Sequence[int]) -> str:
        """Text of many tokens, special ones included. Unlike `decode`, it lets other threads run meanwhile."""
        if self._backend is None:
            return self.decode(token_ids, skip_special_tokens=False)
        (text,) = self._backend.decode_batch([list(token_ids)], skip_special_tokens=False)
        return str(text)


def _refuse_long(backend: Any, text: str, most_tokens: int) -> None:
    """Refuse text that is far too long before it costs time and memory: tokens in the making take 100 bytes each.

    Cut in pieces, a text may have some tokens more than as a whole, but never twice as many.
    """
    num_tokens = 0
    for start in range(0, len(text), most_tokens):
        (encoding,) = backend.encode_batch_fast([text[start : start + most_tokens]], add_special_tokens=False)
        num_tokens += len(encoding)
        if num_tokens > 2 * most_tokens:
            raise _too_long(num_tokens // 2, most_tokens)


def _too_long(num_tokens: int, most_tokens: int) -> ContextLengthError:
    return ContextLengthError(
        f"the request has at least {num_tokens} tokens, but the context is {most_tokens} tokens", param="prompt"
    )


def _what_failed(error: Exception) -> str:
    """The template's own words, if it refuses the messages; if it fails, how."""
    if isinstance(error, RecursionError):
        return "cannot take messages or tools that are nested so deeply"
    words = " ".join(str(error)[: 2 * _MAX_ERROR_CHARACTERS].split())[:_MAX_ERROR_CHARACTERS]
    if isinstance(error, jinja2.TemplateError):
        return f"rejected the messages: {words}"
    return f"failed on the messages: {type(error).__name__}: {words}"


class NoiseTokenizer(ChatTokenizer):
    """For random weights without a tokenizer: reads bytes, and has a letter for every token there may be.

    Tokens beyond the bytes would have no text: a stream would be silent for most of its tokens, and a client would
    not see them. No token ends an answer either, as the model has no such token.
    """

    def __init__(self) -> None:
        super().__init__(tiny_tokenizer())
        self._num_known = len(self.hf)

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """None."""
        return frozenset()

    def vocabulary(self) -> None:
        """None: its letters are noise."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of tokens, those it does not know as letters."""
        return super().decode(self._known(token_ids), skip_special_tokens=skip_special_tokens)

    def decode_long(self, token_ids: Sequence[int]) -> str:
        """Likewise."""
        return super().decode_long(self._known(token_ids))

    def _known(self, token_ids: Sequence[int]) -> list[int]:
        return [token if token < self._num_known else FIRST_TOKEN + token % NUM_TOKENS for token in token_ids]


def load_tokenizer(model: str, tokenizer: str | None, *, load_format: str = "auto") -> ChatTokenizer:
    """The tokenizer of a model, or the one named instead of it.

    With random weights any text is noise, so a model without a tokenizer gets one that makes noise then.

    Raises:
        ConfigurationError: there is none.
    """
    source = tokenizer or model
    if source == "tiny":
        return ChatTokenizer(tiny_tokenizer())
    if is_built_in(source, load_format):
        return NoiseTokenizer()
    from transformers import AutoTokenizer  # it takes torch along: two seconds that the others need not wait

    name, arguments = pretrained_arguments(source)
    try:
        return ChatTokenizer(AutoTokenizer.from_pretrained(name, **arguments))
    except (OSError, ValueError, KeyError) as error:
        if load_format == "dummy" and tokenizer is None:
            return NoiseTokenizer()
        detail = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigurationError(
            f"cannot load the tokenizer of {source!r}: {detail}; name another with --tokenizer"
        ) from error
