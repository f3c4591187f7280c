"""One request may ask for several answers: run them together, count them together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from ..protocol import PromptTokensDetails, Usage
from ..request import SamplingParams
from ..session import SessionUse
from .generation import TextDelta
from .state import ServerState


@dataclass(frozen=True, slots=True)
class ChoiceSpec:
    """One answer to be generated. `is_first` marks the first of several answers to the same prompt."""

    index: int
    prompt_ids: list[int]
    sampling: SamplingParams
    stops: Sequence[str]
    is_first: bool
    session: SessionUse | None = None


def choice_specs(
    first_index: int,
    prompt_ids: list[int],
    sampling: SamplingParams,
    stop: str | list[str] | None,
    count: int,
    session: SessionUse | None = None,
) -> list[ChoiceSpec]:
    """`count` answers to one prompt. With a seed, each answer gets a seed of its own, or they would be the same."""
    stops = [stop] if isinstance(stop, str) else stop or []
    return [
        ChoiceSpec(
            first_index + number,
            prompt_ids,
            sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + number),
            stops,
            is_first=number == 0,
            session=session,
        )
        for number in range(count)
    ]


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
class Answer:
    """A whole answer."""

    spec: ChoiceSpec
    deltas: list[TextDelta] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(delta.text for delta in self.deltas)

    @property
    def finish_reason(self) -> str | None:
        """Why it ended."""
        return self.deltas[-1].finish_reason if self.deltas else None


async def collect(state: ServerState, specs: Sequence[ChoiceSpec]) -> list[Answer]:
    """Run all answers to their end."""
    answers = {spec.index: Answer(spec) for spec in specs}
    async with interleave(state, specs) as deltas:
        async for spec, delta in deltas:
            answers[spec.index].deltas.append(delta)
    return list(answers.values())


@asynccontextmanager
async def interleave(
    state: ServerState, specs: Sequence[ChoiceSpec]
) -> AsyncIterator[AsyncIterator[tuple[ChoiceSpec, TextDelta]]]:
    """All answers' deltas in the order they come. Leaving the context cancels what is unfinished.

    Raises (on entering):
        RequestError: one of them cannot be served; then none is started.
    """
    for spec in specs:
        state.generator.engine.check(spec.prompt_ids, spec.sampling, spec.session, num_requests=len(specs))
    streams = _one(state, specs[0]) if len(specs) == 1 else _several(state, specs)
    async with aclosing(streams) as deltas:
        yield deltas


async def _one(state: ServerState, spec: ChoiceSpec) -> AsyncGenerator[tuple[ChoiceSpec, TextDelta]]:
    with state.metrics.request(len(spec.prompt_ids)) as observation:
        async with aclosing(state.generator.stream(spec.prompt_ids, spec.sampling, spec.stops, spec.session)) as stream:
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

    tasks = [asyncio.create_task(pump(spec)) for spec in specs]
    try:
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
