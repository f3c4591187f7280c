"""What a null server does with a request, worked out beforehand: when each chunk is due."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from ..errors import ConfigurationError
from ..integers import ceil_div

_BURST_GAP_S = 0.001
"""Between the chunks of a burst: events of their own, and as close as a loop's timers can tell them apart, so that most
reach the client in reads of their own."""


class Fault(StrEnum):
    """How an answer fails."""

    ERROR = "error"
    """Status 500, at the time at which the headers would have come."""
    RESET = "reset"
    """The connection is cut after half of the chunks, when the next is due; a whole answer is not sent at all."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """A prompt's. `cached_tokens`: need not be computed. `queued_s`: it waits so long for the prompts before it."""

    cached_tokens: int = 0
    queued_s: float = 0.0


AT_ONCE = Prefill()
"""Of a prompt that waits for no other and is new."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Times are seconds on the clock that the request's arrival was given in.

    Attributes:
        header_s: When the response begins.
        chunk_s: When each chunk is written, in order.
        tokens: In each of them.
        prompt_tokens: What the server takes in of the prompt.
        finish_reason: What it ends with.
        word: What each token says.
        number: Of the request.
        num_calls: Calls of tools that it consists of; 0: it is text.
        is_malformed: The arguments of these calls are cut short.
    """

    header_s: float
    chunk_s: tuple[float, ...]
    tokens: tuple[int, ...]
    fault: Fault | None = None
    prompt_tokens: int = 0
    finish_reason: str = "length"
    word: str = "w"
    number: int = 0
    num_calls: int = 0
    is_malformed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the server does. Pure: the same request at the same time always gets the same answer.

    Attributes:
        ttft_s: From a request's arrival to its first chunk.
        prefill_tokens_per_s: The first chunk also takes the time for prompt tokens at this rate.
        prefill_at_once: At most so many prompts are on their way to their first chunk, without jitter and freezes; the
            others wait for their turn. None: all.
        prefix_cache: Prompt tokens that an earlier prompt began with take no time (see `PrefillQueue`).
        itl_s: Between chunks.
        jitter: Each interval is multiplied by a random factor of this coefficient of variation (log-normal, mean 1).
        tokens_per_chunk: Tokens in a chunk.
        burst: This many chunks are held back and sent together, when the last of them is due: a proxy that buffers.
        header_delay_s: From a request's arrival to the response's headers, where the first chunk is not due before.
        freeze_at_s: From then on the server freezes for `freeze_for_s`: nothing is written, and everything under way
            resumes afterwards where it was. Counted from the first request: a server cannot tell a client's probe from
            its run.
        stall_every: One in this many requests pauses for `stall_for_s` in the middle of its answer, if that has several
            chunks.
        error_rate: Share of requests that are answered with status 500.
        reset_rate: Share of requests whose connection is cut in the middle.
        tool_calls: Requests that bring tools are answered with so many calls of them, where the answer has a chunk for
            each; None: in text.
        malformed_rate: Share of such answers whose calls have arguments that are no JSON.
        stop_after: Tokens after which every answer ends by itself, however many were asked for.
        cut_prompts: Tokens of a prompt that are taken in; the rest is dropped.
        finish_reason: What answers end with; None: `tool_calls` behind calls, `stop` if they end by themselves, else
            `length`.
        word: What each token says.
        seed: Of jitter and faults.
    """

    ttft_s: float = 0.05
    prefill_tokens_per_s: float | None = None
    prefill_at_once: int | None = None
    prefix_cache: bool = False
    itl_s: float = 0.01
    jitter: float = 0.0
    tokens_per_chunk: int = 1
    burst: int = 1
    header_delay_s: float = 0.0
    freeze_at_s: float | None = None
    freeze_for_s: float = 0.0
    stall_every: int | None = None
    stall_for_s: float = 0.0
    error_rate: float = 0.0
    reset_rate: float = 0.0
    tool_calls: int | None = None
    malformed_rate: float = 0.0
    stop_after: int | None = None
    cut_prompts: int | None = None
    finish_reason: str | None = None
    word: str = "w"
    seed: int = 0

    def __post_init__(self) -> None:
        from_zero = {
            "--ttft": self.ttft_s,
            "--itl": self.itl_s,
            "--jitter": self.jitter,
            "--header-delay": self.header_delay_s,
            "--freeze-at": self.freeze_at_s or 0.0,
            "--freeze-for": self.freeze_for_s,
            "--stall-for": self.stall_for_s,
        }
        for flag, value in from_zero.items():
            if not 0 <= value < math.inf:
                raise ConfigurationError(f"{flag} must be 0 or more")
        above_zero = {
            "--tokens-per-chunk": self.tokens_per_chunk,
            "--burst": self.burst,
            "--stall-every": self.stall_every,
            "--tool-calls": self.tool_calls,
            "--stop-after": self.stop_after,
            "--cut-prompts": self.cut_prompts,
            "--prefill-rate": self.prefill_tokens_per_s,
            "--prefill-at-once": self.prefill_at_once,
        }
        for flag, optional in above_zero.items():
            if optional is not None and not 0 < optional < math.inf:
                raise ConfigurationError(f"{flag} must be above 0")
        if not (0 <= self.error_rate <= 1 and 0 <= self.reset_rate <= 1 and self.error_rate + self.reset_rate <= 1):
            raise ConfigurationError("--error-rate and --reset-rate must be 0 to 1, and at most 1 together")
        if not 0 <= self.malformed_rate <= 1:
            raise ConfigurationError("--malformed-rate must be 0 to 1")

    def prefill_s(self, prompt_tokens: int, jitter: float = 1.0) -> float:
        """From the beginning of a prompt's prefill to its first chunk. `jitter`: a factor on what all prompts take."""
        of_tokens_s = prompt_tokens / self.prefill_tokens_per_s if self.prefill_tokens_per_s else 0.0
        return self.ttft_s * jitter + of_tokens_s

    def answer(
        self,
        number: int,
        arrived_s: float,
        prompt_tokens: int,
        max_tokens: int,
        prefill: Prefill = AT_ONCE,
        *,
        has_tools: bool = False,
    ) -> Answer:
        """The answer to request `number` (from 0), which arrived `arrived_s` after the first.

        Args:
            number: Of the request.
            arrived_s: When it came.
            prompt_tokens: Of the whole prompt.
            max_tokens: Of the answer.
            prefill: What of the prompt need not be computed, and how long it waits for others.
            has_tools: The request brings tools.
        """
        random = Random(f"{self.seed}/{number}")
        draw = random.random()
        fault = Fault.ERROR if draw < self.error_rate else None
        if fault is None and draw < self.error_rate + self.reset_rate:
            fault = Fault.RESET
        start_s = self._thawed(arrived_s)
        prompt_tokens = min(prompt_tokens, self.cut_prompts or prompt_tokens)
        num_tokens = min(max_tokens, self.stop_after or max_tokens)
        num_chunks = ceil_div(num_tokens, self.tokens_per_chunk)
        stalled_chunk = num_chunks // 2 if self._stalls(number) else -1
        new_tokens = max(prompt_tokens - prefill.cached_tokens, 0)
        first_s = start_s + prefill.queued_s + self.prefill_s(new_tokens, self._jittered(random))
        at_s = max(first_s, start_s + self.header_delay_s)
        chunk_s = [at_s]
        for chunk in range(1, num_chunks):
            at_s += self.itl_s * self._jittered(random)
            if chunk == stalled_chunk:
                at_s += self.stall_for_s
            chunk_s.append(at_s)
        tokens = [self.tokens_per_chunk] * (num_chunks - 1)
        num_calls = min(self.tool_calls or 0, num_chunks) if has_tools else 0
        ended_by = "tool_calls" if num_calls else "stop" if num_tokens < max_tokens else "length"
        return Answer(
            header_s=self._stood_still(start_s, start_s + self.header_delay_s),
            chunk_s=tuple(self._stood_still(start_s, at_s) for at_s in self._held_back(chunk_s)),
            tokens=(*tokens, num_tokens - sum(tokens)),
            fault=fault,
            prompt_tokens=prompt_tokens,
            finish_reason=self.finish_reason or ended_by,
            word=self.word,
            number=number,
            num_calls=num_calls,
            is_malformed=num_calls > 0 and random.random() < self.malformed_rate,
        )

    def _stalls(self, number: int) -> bool:
        return self.stall_every is not None and number % self.stall_every == self.stall_every - 1

    def _jittered(self, random: Random) -> float:
        if self.jitter == 0:
            return 1.0
        variance = math.log1p(self.jitter**2)
        return random.lognormvariate(-variance / 2, math.sqrt(variance))

    def _held_back(self, chunk_s: list[float]) -> list[float]:
        """Chunks in bursts, each when its last is due."""
        if self.burst == 1:
            return chunk_s
        gap_s = min(_BURST_GAP_S, self.itl_s)  # a burst is over before the next begins
        held: list[float] = []
        for first in range(0, len(chunk_s), self.burst):
            group = chunk_s[first : first + self.burst]
            begin_s = max(group[-1], held[-1] if held else 0.0)  # not quite, where jitter brings the next early
            held += [begin_s + gap_s * place for place in range(len(group))]
        return held

    def _thawed(self, at_s: float) -> float:
        """When something that arrives then is first looked at."""
        if self.freeze_at_s is not None and self.freeze_at_s <= at_s < self.freeze_at_s + self.freeze_for_s:
            return self.freeze_at_s + self.freeze_for_s
        return at_s

    def _stood_still(self, start_s: float, at_s: float) -> float:
        """When something happens that would at `at_s`, of an answer begun at `start_s`."""
        if self.freeze_at_s is not None and start_s < self.freeze_at_s <= at_s:
            return at_s + self.freeze_for_s
        return at_s
