"""A request on its way through the engine, and the batch of work one step does on several of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .errors import ContextLengthError, RequestError

if TYPE_CHECKING:
    from .session import EngineSession, SessionUse

_LOWEST_TEMPERATURE = 1e-5
"""Below this, dividing by the temperature overflows long before it changes the outcome."""


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


class RequestState(StrEnum):
    """Where a request is. WAITING also after a preemption, until its pages are found again."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen.

    Attributes:
        max_tokens: Output tokens after which the request ends with `length`.
        min_tokens: Output tokens before which no stop token is sampled.
        temperature: 0 is greedy.
        top_k: Keep this many most likely tokens; 0 keeps all.
        top_p: Keep the smallest set of tokens with at least this probability.
        seed: Makes the draw repeatable, whatever else is in the batch.
        stop_token_ids: Tokens that end the request (the model's end-of-sequence tokens are among them
            unless the request ignores them).
        suppressed_token_ids: Tokens never sampled before min_tokens: what would end the text, ignored or not.
        grammar: What the output keeps to, as text for `GrammarCompiler`; empty for anything.
        logprobs: Return the log-probability of each token and of this many most likely ones.
    """

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop_token_ids: frozenset[int] = frozenset()
    suppressed_token_ids: frozenset[int] = frozenset()
    grammar: str = ""
    logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise RequestError(f"max_tokens must be at least 1, not {self.max_tokens}", param="max_tokens")
        if not 0 <= self.min_tokens <= self.max_tokens:
            raise RequestError(f"min_tokens must be between 0 and max_tokens ({self.max_tokens})", param="min_tokens")

    @property
    def is_greedy(self) -> bool:
        """True when the most likely token is taken."""
        return self.temperature < _LOWEST_TEMPERATURE

    @property
    def has_penalties(self) -> bool:
        """True when tokens already written count against being written again."""
        return self.presence_penalty != 0.0 or self.frequency_penalty != 0.0


class Constraint(Protocol):
    """What the output of one request may go on with (`engine/models/grammars/`).

    Attributes:
        is_broken: It has given up: only the end of the output may come.
    """

    @property
    def is_broken(self) -> bool: ...

    def accept(self, token_id: int) -> None:
        """Take in a committed token."""

    def mask(self) -> bytes:
        """One bit for each token of the vocabulary, lowest first: set where the token may come next."""


@dataclass(slots=True, eq=False)
class Request:
    """One sequence of tokens, and how far its computation has got.

    `num_computed` advances when a chunk is *scheduled*, and `num_in_flight` counts tokens that launched steps will
    sample but that have not been committed. A loop that collects each step before it plans the next never sees
    `num_in_flight` above 0 while planning; one that runs ahead plans with the counts and learns the ids later.
    """

    request_id: str
    token_ids: list[int]
    """The prompt, which the engine owns from now on. Committed output is appended."""
    sampling: SamplingParams
    arrival_s: float = 0.0
    session: SessionUse | None = None
    parked_session: EngineSession | None = None
    """The session it is a turn of, between its acceptance and its end."""
    rank: float = 0.0
    """Where it waits: see `QueuePolicy`."""
    slice_start: int = 0
    """Tokens it had when it joined the last time."""
    state: RequestState = RequestState.WAITING
    block_ids: list[int] = field(default_factory=list)
    block_hashes: list[bytes] = field(default_factory=list)
    num_registered_blocks: int = 0
    """Leading blocks whose content has been offered to the prefix cache."""
    num_computed: int = 0
    num_in_flight: int = 0
    last_step: int = -1
    """Number of the last step the request was part of."""
    slot: int = -1
    """Row of the runner's per-sequence state (its last token, its page table) while the request runs; else -1."""
    epoch: int = 0
    """Raised when the request is preempted: results of steps launched before that no longer count."""
    num_cached_tokens: int = 0
    """Prompt tokens found in the prefix cache or the host tier when the request was first admitted."""
    num_preemptions: int = 0
    finish_reason: FinishReason | None = None
    constraint: Constraint | None = None
    """Follows the committed output. What may come next depends on the last token, so no step is planned before that is
    committed."""
    sampler_state: object | None = None
    """Belongs to the runner's sampler (a random generator)."""
    num_prompt: int = field(init=False)
    """Tokens of the prompt."""
    max_num_tokens: int = field(init=False)
    """Tokens at which the request ends by its max_tokens."""

    def __post_init__(self) -> None:
        self.num_prompt = len(self.token_ids)
        self.max_num_tokens = self.num_prompt + self.sampling.max_tokens

    @property
    def num_output(self) -> int:
        """Committed output tokens."""
        return len(self.token_ids) - self.num_prompt

    @property
    def num_tokens(self) -> int:
        """Tokens the sequence has once the launched steps are committed."""
        return len(self.token_ids) + self.num_in_flight

    @property
    def num_uncomputed(self) -> int:
        """Tokens that still have to go through the model. 1 for a request in decode."""
        return self.num_tokens - self.num_computed

    @property
    def is_certain_to_end(self) -> bool:
        """True when the tokens in flight reach max_tokens: another step would be thrown away."""
        return self.num_tokens >= self.max_num_tokens


class ScheduledChunk(NamedTuple):
    """Tokens `[start, end)` of one request, computed in one step.

    `samples` is true when the chunk reaches the end of the sequence, so that its last position yields a new token.
    A named tuple, because one is made for every token of every step and a frozen dataclass takes five times as long.
    """

    request: Request
    start: int
    end: int
    samples: bool
    epoch: int

    @property
    def num_tokens(self) -> int:
        """Positions in the chunk."""
        return self.end - self.start

    @property
    def num_output(self) -> int:
        """Output tokens before the one that a sampling chunk yields, those in flight included."""
        return self.end - self.request.num_prompt


class CommittedToken(NamedTuple):
    """A token that became part of its request. `sample_index` is its row among the step's sampled tokens."""

    request: Request
    token_id: int
    sample_index: int


@dataclass(slots=True)
class Batch:
    """The work of one step. Steps are numbered in the order they are planned, launched and committed."""

    step: int = 0
    chunks: list[ScheduledChunk] = field(default_factory=list)
    num_tokens: int = 0
    num_decode_tokens: int = 0
    num_preempted: int = 0
    num_waiting: int = 0
    """Requests left waiting."""
    num_blocks_held: int = 0
    """KV blocks held once the step is planned."""
    num_blocks_pinned: int = 0
    """Those of them that are pinned for parked sessions."""

    @property
    def num_prefill_tokens(self) -> int:
        """Tokens of prompts, and of sequences recomputed after a preemption."""
        return self.num_tokens - self.num_decode_tokens


def check_length(num_prompt: int, max_tokens: int, max_model_len: int) -> None:
    """Refuse a request that has no room for its tokens.

    Raises:
        ContextLengthError: the prompt is empty, or prompt and output exceed the context.
    """
    if num_prompt == 0:
        raise ContextLengthError("the prompt is empty; send at least one token", param="prompt", code="empty_prompt")
    if num_prompt + max_tokens > max_model_len:
        raise ContextLengthError(
            f"the prompt has {num_prompt} tokens and up to {max_tokens} were asked for, together "
            f"{num_prompt + max_tokens}, but the context is {max_model_len} tokens",
            param="max_tokens" if num_prompt < max_model_len else "prompt",
        )
