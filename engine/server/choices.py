"""One request may ask for several answers: run them together, count them together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from ..errors import RequestError
from ..protocol.usage import PromptTokensDetails, Usage
from ..request import SamplingParams
from ..session import SessionUse
from .generation import TextDelta, TokenText
from .state import ServerState
from .stop_strings import StopAutomaton

_Logprob = TypeVar("_Logprob")
_MOST_LOGPROBS = 1 << 20
"""In an answer that is kept until it is whole: some 60 MB of JSON."""
_MOST_PROMPT_TOKENS = 1 << 20
"""Of all answers of a request, each with its prompt: each is sent to the engine as 5 MB at most."""


@dataclass(frozen=True, slots=True)
class ChoiceSpec:
    """One answer to be generated. `is_first` marks the first of several answers to the same prompt."""

    index: int
    prompt_ids: list[int]
    sampling: SamplingParams
    stops: StopAutomaton | None
    is_first: bool
    session: SessionUse | None = None
    kept_texts: Mapping[int, str] = field(default_factory=dict)
    """Special tokens that show in the text, which others do not."""


def choice_specs(
    first_index: int,
    prompt_ids: list[int],
    sampling: SamplingParams,
    stops: StopAutomaton | None,
    count: int,
    session: SessionUse | None = None,
    kept_texts: Mapping[int, str] | None = None,
) -> list[ChoiceSpec]:
    """`count` answers to one prompt. With a seed, each answer gets a seed of its own, or they would be the same."""
    return [
        ChoiceSpec(
            first_index + number,
            prompt_ids,
            sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + number),
            stops,
            is_first=number == 0,
            session=session,
            kept_texts=kept_texts or {},
        )
        for number in range(count)
    ]


def stop_automaton(stop: str | list[str] | None) -> StopAutomaton | None:
    """A request's stop strings; None if it has none."""
    return StopAutomaton([stop] if isinstance(stop, str) else stop) if stop else None


@dataclass(slots=True)
class UsageCounter:
    """Counts tokens. A prompt counts once, however many answers it gets, as in OpenAI's bills."""

    num_prompt: int
    num_completion: int = 0
    num_cached: int = 0

    @classmethod
    def of(cls, specs: Sequence[ChoiceSpec]) -> UsageCounter:
        """Before anything was generated."""
        return cls(sum(len(spec.prompt_ids) for spec in specs if spec.is_first))

    def add(self, spec: ChoiceSpec, delta: TextDelta) -> None:
        """Count what a stream gained."""
        self.num_completion += delta.num_tokens
        if delta.finish_reason is not None and spec.is_first:
            self.num_cached += delta.num_cached_tokens

    def usage(self) -> Usage:
        """The counts as they go over the wire."""
        return Usage(
            prompt_tokens=self.num_prompt,
            completion_tokens=self.num_completion,
            total_tokens=self.num_prompt + self.num_completion,
            prompt_tokens_details=PromptTokensDetails(self.num_cached),
        )


@dataclass(slots=True)
class Answer(Generic[_Logprob]):
    """A whole answer, with its log-probabilities in an endpoint's own form."""

    spec: ChoiceSpec
    texts: list[str] = field(default_factory=list)
    logprobs: list[_Logprob] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(self.texts)


async def collect(
    state: ServerState, specs: Sequence[ChoiceSpec], logprob: Callable[[TokenText], _Logprob]
) -> tuple[list[Answer[_Logprob]], Usage]:
    """Run all answers to their end.

    Args:
        state: The server's.
        specs: What is to be answered.
        logprob: What to keep of a token's log-probabilities. It is called as they come, since all at the end would
            hold up other streams.

    Raises:
        RequestError: their log-probabilities are too many to keep.
    """
    answers = {spec.index: Answer[_Logprob](spec) for spec in specs}
    usage = UsageCounter.of(specs)
    num_logprobs = 0
    async with interleave(state, specs) as deltas:
        async for spec, delta in deltas:
            usage.add(spec, delta)
            answer = answers[spec.index]
            answer.texts.append(delta.text)
            answer.logprobs += map(logprob, delta.logprobs)
            answer.finish_reason = delta.finish_reason
            num_logprobs += sum(1 + len(token.top) for token in delta.logprobs)
            if num_logprobs > _MOST_LOGPROBS:
                raise RequestError(
                    f"the answer has more than {_MOST_LOGPROBS} log-probabilities; ask for fewer, or for a stream",
                    param="logprobs",
                )
    return list(answers.values()), usage.usage()


@asynccontextmanager
async def interleave(
    state: ServerState, specs: Sequence[ChoiceSpec]
) -> AsyncIterator[AsyncIterator[tuple[ChoiceSpec, TextDelta]]]:
    """All answers' deltas in the order they come. Leaving the context cancels what is unfinished.

    Raises (on entering):
        RequestError: one of them cannot be served; then none is started.
    """
    num_prompt_tokens = sum(len(spec.prompt_ids) for spec in specs)
    if len(specs) > 1 and num_prompt_tokens > _MOST_PROMPT_TOKENS:
        raise RequestError(
            f"{len(specs)} answers to prompts of together {num_prompt_tokens} tokens are over the limit of "
            f"{_MOST_PROMPT_TOKENS}: ask for fewer at once",
            param="prompt",
        )
    for spec in specs:
        if spec.is_first:
            state.generator.engine.check(spec.prompt_ids, spec.sampling, spec.session, num_requests=len(specs))
    streams = _one(state, specs[0]) if len(specs) == 1 else _several(state, specs)
    async with aclosing(streams) as deltas:
        yield deltas


def _stream(state: ServerState, spec: ChoiceSpec) -> AsyncGenerator[TextDelta]:
    return state.generator.stream(spec.prompt_ids, spec.sampling, spec.stops, spec.session, spec.kept_texts)


async def _one(state: ServerState, spec: ChoiceSpec) -> AsyncGenerator[tuple[ChoiceSpec, TextDelta]]:
    with state.metrics.request(len(spec.prompt_ids)) as observation:
        async with aclosing(_stream(state, spec)) as stream:
            async for delta in stream:
                observation.add(delta)
                yield spec, delta


async def _several(state: ServerState, specs: Sequence[ChoiceSpec]) -> AsyncGenerator[tuple[ChoiceSpec, TextDelta]]:
    queue: asyncio.Queue[tuple[ChoiceSpec, TextDelta] | Exception | None] = asyncio.Queue()

    async def pump(spec: ChoiceSpec) -> None:
        try:
            async with aclosing(_one(state, spec)) as stream:
                async for item in stream:
                    queue.put_nowait(item)
            queue.put_nowait(None)
        except Exception as error:
            queue.put_nowait(error)

    tasks = []
    try:
        for spec in specs:
            tasks.append(asyncio.create_task(pump(spec)))
            await asyncio.sleep(0)  # a long prompt takes milliseconds to hand over: other streams come in between
        num_running = len(tasks)
        while num_running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                num_running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
