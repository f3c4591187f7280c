"""Stop strings in a text that streams: found in one pass, however many they are and however they overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopAutomaton:
    """All stop strings of a request as one automaton (Aho and Corasick, 1975): a state is how far into them a text is.

    The state is the longest end of the text that is the beginning of a stop string. Making it and reading with it take
    time linear in the characters.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._shorter = [0]
        """The state to fall back to where a state has no way on: the next shorter end that begins a stop string."""
        self.depth = [0]
        """Of each state, its length in characters."""
        self.longest_match = [0]
        """Of each state, the length of the longest stop string that it ends with; 0 if it ends with none."""
        for stop in stops:
            self._insert(stop)
        self._link()

    def _insert(self, stop: str) -> None:
        state = 0
        for character in stop:
            if character not in self._next[state]:
                self._next[state][character] = len(self._next)
                self._next.append({})
                self._shorter.append(0)
                self.depth.append(self.depth[state] + 1)
                self.longest_match.append(0)
            state = self._next[state][character]
        self.longest_match[state] = len(stop)

    def _link(self) -> None:
        """Breadth first, as a state falls back only to shorter ones."""
        states = deque(self._next[0].values())
        while states:
            state = states.popleft()
            for character, longer in self._next[state].items():
                self._shorter[longer] = shorter = self.step(self._shorter[state], character)
                self.longest_match[longer] = self.longest_match[longer] or self.longest_match[shorter]
                states.append(longer)

    def step(self, state: int, character: str) -> int:
        """The state once a text has one more character. Steps back are never more than steps ahead."""
        while (following := self._next[state].get(character)) is None:
            if state == 0:
                return 0
            state = self._shorter[state]
        return following


class StopStrings:
    """Cuts a stream of text before the first of several strings."""

    def __init__(self, automaton: StopAutomaton | None) -> None:
        """None: there are no stop strings."""
        self._automaton = automaton
        self._state = 0
        self._held = ""
        self.match: str | None = None
        """The stop string that was found; of several, the one that begins first."""

    @property
    def found(self) -> bool:
        """Whether there was one."""
        return self.match is not None

    def add(self, text: str) -> str:
        """The part of the text so far that certainly precedes any stop string. Sets `match` at one."""
        automaton = self._automaton
        if automaton is None:
            return text
        state = self._state
        begins = match_length = len(text)  # the first stop string; negative: within what was held
        is_found = False
        for position, character in enumerate(text):
            state = automaton.step(state, character)
            if (length := automaton.longest_match[state]) and position + 1 - length < begins:
                is_found = True
                begins, match_length = position + 1 - length, length
        num_held = len(self._held)
        text = self._held + text
        if is_found:
            self.match = text[num_held + begins : num_held + begins + match_length]
        keep = len(text) - num_held - begins if is_found else automaton.depth[state]
        self._state = state
        self._held = "" if is_found else text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back as the possible beginning of a stop string that never came."""
        held, self._held = self._held, ""
        return held
