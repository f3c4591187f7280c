"""Which prompt tokens a server's prefix cache had, and which of them the workload explains."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...workloads.result import Result

_SLACK_TOKENS = 16
"""What the server's template adds is an estimate. Caches know whole blocks, so less than one proves nothing."""
_SLACK_SHARE = 0.05
"""Lengths of shared prefixes are estimates where the client lacks the server's tokenizer."""


@dataclass(slots=True)
class CacheUse:
    """Adds up over requests that succeeded in the measured part and whose prompt tokens the server counted.

    Attributes:
        first_turns: First turns with a known number of cached tokens, and of tokens that sessions share.
        first_prompt_tokens: Of those; `first_cached_tokens` likewise, and `first_shared_tokens`: what sessions share.
        known_turns: Those of them of whose prompts a cache had more than sessions share.
        prompt_tokens: Of all turns; `explained_tokens`: at most so many of them were in an earlier prompt of the run.
        unexplained_turns: Turns of which nobody can say that: recorded text decides it.
    """

    first_turns: int = 0
    first_prompt_tokens: int = 0
    first_cached_tokens: int = 0
    first_shared_tokens: int = 0
    known_turns: int = 0
    prompt_tokens: int = 0
    explained_tokens: int = 0
    unexplained_turns: int = 0
    _contexts: dict[str, int] = field(default_factory=dict)
    """By live session, the tokens of its conversation so far."""

    def add(self, result: Result) -> None:
        """Count a result."""
        context = self._contexts.pop(result.session_id, None)
        if result.error is not None or result.censored or result.prompt_tokens is None:
            return
        if not result.is_last:
            self._contexts[result.session_id] = result.prompt_tokens + (result.output_tokens or 0)
        if result.warmup:
            return
        shared = context if result.turn_index else result.shared_tokens
        if shared is None:
            self.unexplained_turns += 1
            return
        explained = min(round(shared * (1 + _SLACK_SHARE)) + _SLACK_TOKENS, result.prompt_tokens)
        self.prompt_tokens += result.prompt_tokens
        self.explained_tokens += explained
        if result.turn_index == 0 and result.cached_tokens is not None:
            self.first_turns += 1
            self.first_prompt_tokens += result.prompt_tokens
            self.first_cached_tokens += result.cached_tokens
            self.first_shared_tokens += min(shared, result.prompt_tokens)
            self.known_turns += result.cached_tokens > explained

    @property
    def explained_share(self) -> float | None:
        """Share of the prompt tokens that were in an earlier prompt of the run, at most; None if nobody can say."""
        if self.unexplained_turns or not self.prompt_tokens:
            return None
        return round(self.explained_tokens / self.prompt_tokens, 4)

    def merge(self, other: CacheUse) -> None:
        """Add another process's: of other sessions."""
        self.first_turns += other.first_turns
        self.first_prompt_tokens += other.first_prompt_tokens
        self.first_cached_tokens += other.first_cached_tokens
        self.first_shared_tokens += other.first_shared_tokens
        self.known_turns += other.known_turns
        self.prompt_tokens += other.prompt_tokens
        self.explained_tokens += other.explained_tokens
        self.unexplained_turns += other.unexplained_turns
