"""From a prompt to a stream of text with reasons, counts and log-probabilities, for every API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import RequestError, UnsupportedError
from ..hosting.engine_client import EngineClient
from ..loop.engine import TokenOutput
from ..loop.messages import Ready
from ..protocol.fields import SamplingFields
from ..request import FinishReason, SamplingParams
from ..runner import TokenLogprobs
from ..session import SessionUse
from .detokenizer import IncrementalDetokenizer
from .stop_strings import StopAutomaton, StopStrings

if TYPE_CHECKING:
    from ..models.tokenizer import ChatTokenizer


_CACHED_TEXTS = 1 << 16


@dataclass(frozen=True, slots=True)
class TokenText:
    """One token, its own text, and its log-probabilities (chosen, then most likely first, as text)."""

    text: str
    logprob: float
    top: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """What a stream gained. The last delta of a stream carries the finish reason.

    `num_tokens` counts tokens whether or not they yielded text yet; `logprobs` has an entry for each where asked for.
    `stop_string` is the one that ended the text, if one did.
    """

    text: str
    num_tokens: int
    logprobs: list[TokenText] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    num_cached_tokens: int = 0
    stop_string: str | None = None


def sampling_params(
    fields: SamplingFields,
    *,
    max_tokens: int | None,
    num_logprobs: int | None,
    num_prompt: int,
    ready: Ready,
    eos_token_ids: frozenset[int],
    grammar: str = "",
) -> SamplingParams:
    """Fill in OpenAI's defaults: temperature 1, and as many tokens as the context has room for.

    Raises:
        RequestError: the values contradict each other.
        UnsupportedError: log-probabilities, of a device that computes none.
    """
    if num_logprobs is not None and ready.simulated:
        raise UnsupportedError("a simulated device computes no log-probabilities", param="logprobs")
    if grammar and (fields.ignore_eos or fields.min_tokens):
        name = "ignore_eos" if fields.ignore_eos else "min_tokens"
        raise RequestError(f"{name} keeps an answer from ending where its grammar ends it; leave it out", param=name)
    wanted = frozenset(fields.stop_token_ids or ())
    if wanted and max(wanted) >= ready.vocab_size:
        raise RequestError(
            f"{max(wanted)} is outside the vocabulary of {ready.vocab_size} tokens", param="stop_token_ids"
        )
    stops = wanted | (frozenset() if fields.ignore_eos else eos_token_ids)
    return SamplingParams(
        max_tokens=max_tokens if max_tokens is not None else max(1, ready.max_model_len - num_prompt),
        min_tokens=fields.min_tokens or 0,
        temperature=1.0 if fields.temperature is None else fields.temperature,
        top_k=max(fields.top_k or 0, 0),
        top_p=1.0 if fields.top_p is None else fields.top_p,
        seed=fields.seed,
        presence_penalty=fields.presence_penalty or 0.0,
        frequency_penalty=fields.frequency_penalty or 0.0,
        stop_token_ids=stops,
        suppressed_token_ids=stops | eos_token_ids,
        grammar=grammar,
        logprobs=num_logprobs,
    )


_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "logit_bias": ({},),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "truncate_prompt_tokens": (),
    "structured_outputs": ({},),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "functions": ([],),
    "prediction": (),
    "audio": (),
    "web_search_options": (),
}
"""Fields that are not supported, and values by which they change nothing, as some clients send them."""


def refuse_unsupported(fields: SamplingFields) -> None:
    """Refuse what other servers have and this engine lacks.

    Raises:
        UnsupportedError: a field would change the answer.
        RequestError: usage is asked for in a stream that is none.
    """
    for name, neutral in _NEUTRAL.items():
        value = getattr(fields, name, None)
        if value is not None and value not in neutral:
            instead = "; response_format is" if name.startswith(("guided", "structured")) else ""
            raise UnsupportedError(f"{name} is not supported{instead}", param=name)
    if fields.stream_options is not None and not fields.stream:
        raise RequestError("stream_options needs stream: true", param="stream_options")


class TextGenerator:
    """Runs prompts on an engine and turns tokens into text."""

    def __init__(self, engine: EngineClient, tokenizer: ChatTokenizer) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        known = frozenset(engine.ready.eos_token_ids) | tokenizer.eos_token_ids
        # A tokenizer from elsewhere may have tokens that the model has not.
        self.eos_token_ids = frozenset(token for token in known if token < engine.ready.vocab_size)
        # With log-probabilities each token brings 20 others, mostly those that the one before it brought.
        self._text_of = lru_cache(maxsize=_CACHED_TEXTS)(self._decode_one)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Tokens of a bare prompt.

        Raises:
            ContextLengthError: they do not fit the context.
        """
        most_tokens = self.engine.ready.max_model_len
        return self.tokenizer.encode(text, most_tokens=most_tokens, add_special_tokens=add_special_tokens)

    def encode_chat(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, **options: Any
    ) -> list[int]:
        """Tokens of a conversation. The options are those of the tokenizer.

        Raises:
            ContextLengthError: they do not fit the context.
            RequestError: the model's chat template refuses the messages, or fails on them.
        """
        return self.tokenizer.encode_chat(messages, tools, most_tokens=self.engine.ready.max_model_len, **options)

    async def stream(
        self,
        prompt_ids: list[int],
        sampling: SamplingParams,
        stop_automaton: StopAutomaton | None = None,
        session: SessionUse | None = None,
        kept_texts: Mapping[int, str] | None = None,
    ) -> AsyncGenerator[TextDelta]:
        """Yield a delta whenever tokens arrive, the last with a finish reason.

        A stop string ends the stream right before it, and cancels what the engine still computes. `kept_texts` are the
        texts of special tokens that show.
        """
        detokenizer = IncrementalDetokenizer(self.tokenizer, kept_texts)
        stops = StopStrings(stop_automaton)
        async with aclosing(self.engine.generate(prompt_ids, sampling, session)) as batches:
            async for outputs in batches:
                delta = self._delta(outputs, detokenizer, stops, sampling)
                yield delta
                if delta.finish_reason is not None:
                    return

    def _delta(
        self,
        outputs: Sequence[TokenOutput],
        detokenizer: IncrementalDetokenizer,
        stops: StopStrings,
        sampling: SamplingParams,
    ) -> TextDelta:
        text = ""
        num_tokens = 0
        logprobs = []
        reason: FinishReason | None = None
        for output in outputs:
            reason = output.finish_reason
            if output.token_id is not None:
                num_tokens += 1
                if reason is not FinishReason.STOP:  # a stop token has no text
                    text += stops.add(detokenizer.add(output.token_id))
                if output.logprobs is not None:
                    logprobs.append(self._token_text(output.token_id, output.logprobs))
            if reason is not None and not stops.found:
                text += stops.add(detokenizer.flush())
            if stops.found:
                reason = FinishReason.STOP
            if reason is not None:
                text += stops.flush()
                break
        num_cached = outputs[-1].num_cached_tokens
        return TextDelta(text, num_tokens, logprobs, reason, num_cached, stops.match)

    def _token_text(self, token_id: int, logprobs: TokenLogprobs) -> TokenText:
        top = [(self._text_of(token), value) for token, value in logprobs.top]
        return TokenText(self._text_of(token_id), logprobs.chosen, top)

    def _decode_one(self, token_id: int) -> str:
        return self.tokenizer.decode([token_id], skip_special_tokens=False)
