"""How much of a prompt had to be computed, and how much of that the server had computed before."""

from __future__ import annotations

from ...workloads.result import Result

_MOST_SESSIONS = 100_000


class Contexts:
    """Follows the contexts of sessions from turn to turn."""

    def __init__(self, *, reports_hits: bool) -> None:
        """`reports_hits`: the server says what its prefix cache had; some say nothing where it had nothing."""
        self._reports_hits = reports_hits
        self._tokens: dict[str, int] = {}

    def add(self, result: Result) -> tuple[int, int | None]:
        """(tokens of the previous turn's context that were computed again, tokens of the prompt that no cache had).

        Without the server's word nobody knows either of a later turn: nothing counts as lost, and the second is None.
        """
        had = self._tokens.pop(result.session_id, 0)
        prompt_tokens = result.prompt_tokens
        if prompt_tokens is None:
            return 0, None
        if result.output_tokens is not None and not result.is_last and len(self._tokens) < _MOST_SESSIONS:
            self._tokens[result.session_id] = prompt_tokens + result.output_tokens
        cached = result.cached_tokens
        if cached is None:
            if result.turn_index and not self._reports_hits:
                return 0, None
            cached = 0
        return max(0, min(had, prompt_tokens) - cached), max(0, prompt_tokens - cached)
