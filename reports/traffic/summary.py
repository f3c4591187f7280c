"""What traffic contains, counted session by session before any of it is sent."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...workloads.session import BlockPrompt, MessagePrompt, Pause, Session, SharedPrefix, Turn
from ...workloads.traces.parsing.recorded_chat import CHARACTERS_PER_TOKEN, text_of
from ..statistics.tally import Tally

_MOST_REMEMBERED = 1_000_000
"""Texts that were sent: some 100 MB. What repeats a text beyond them is not seen."""
_MOST_TOOLS = 200
_MOST_TICKS = 8
"""Each has a line; a workload has one."""
OTHER_TOOLS = "(others)"
"""What further tools are counted as, where a trace has very many."""
PAUSES, GAPS = "pauses", "gaps"
"""Waits since the turn before ended, and since it was sent."""


@dataclass(slots=True)
class ClassTraffic:
    """The sessions of one traffic class. Lengths in tokens.

    Attributes:
        waits_us: How long turns wait, in microseconds, by what for: `tool pauses`, `human gaps`. Turns that wait only
            for sub-agents or for a common tick are not in it: their length is not known in advance.
    """

    turns: Tally = field(default_factory=Tally)
    prompt: Tally = field(default_factory=Tally)
    new: Tally = field(default_factory=Tally)
    output: Tally = field(default_factory=Tally)
    waits_us: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))


class TrafficSummary:
    """Takes in sessions one at a time and keeps none of them.

    Attributes:
        num_sessions: Sub-agents not included, which are in everything else.
        num_repeated: Prompt tokens that are the session's earlier context: what a prefix cache saves at best.
        num_shared: Further prompt tokens that sessions before it began with as well.
        num_paused: Turns that wait for something.
        num_capped: Of these, those whose wait was capped.
        num_tool_turns: Turns that bring tools' results.
        tools: These by the tool's name, where that is known.
        tools_us: How long they took, in microseconds, where that is known before the run.
        at_once: Tools called at once, where that is known.
        ticks_s: Multiples of these are waited for, of some where there are many.
        has_estimates: Lengths of recorded text are estimates.
    """

    def __init__(self) -> None:
        self.classes: defaultdict[str, ClassTraffic] = defaultdict(ClassTraffic)
        self.num_sessions = 0
        self.num_sub_agents = 0
        self.num_delegations = 0
        self.num_prompt_tokens = 0
        self.num_output_tokens = 0
        self.num_repeated = 0
        self.num_shared = 0
        self.num_paused = 0
        self.num_capped = 0
        self.num_tool_turns = 0
        self.tools: Counter[str] = Counter()
        self.tools_us: defaultdict[str, Tally] = defaultdict(Tally)
        self.at_once = Tally()
        self.ticks_s: set[float] = set()
        self.has_estimates = False
        self._sent: set[int] = set()

    @property
    def num_turns(self) -> int:
        """Requests, those of sub-agents too."""
        return sum(traffic.turns.sum for traffic in self.classes.values())

    @property
    def is_lower_bound(self) -> bool:
        """More was sent than can be remembered: `num_shared` may be too small."""
        return len(self._sent) >= _MOST_REMEMBERED

    def add(self, session: Session) -> None:
        """Count a session and its sub-agents."""
        self.num_sessions += 1
        self._add(session, session.session_id, set())

    def _add(self, session: Session, root_id: str, sent_here: set[int]) -> None:
        """Count it. Blocks that mean something only within the session `root_id` are forgotten after it."""
        traffic = self.classes[session.traffic_class]
        traffic.turns.add(len(session.turns))
        prompts = _Prompts(session, self._sent, root_id, sent_here)
        for turn in session.turns:
            if turn.children:
                self.num_delegations += 1
                self.num_sub_agents += len(turn.children)
                for child in turn.children:
                    self._add(child, root_id, sent_here)
            tokens, repeated, shared = prompts.ask(turn)
            traffic.prompt.add(tokens)
            traffic.new.add(turn.new_tokens)
            traffic.output.add(turn.output_tokens)
            self.num_prompt_tokens += tokens
            self.num_output_tokens += turn.output_tokens
            self.num_repeated += repeated
            self.num_shared += shared
            self.has_estimates |= turn.text is not None or isinstance(turn.prompt, MessagePrompt)
            if turn.pause is not Pause.NONE or turn.gap_s:
                self._add_wait(turn, traffic)

    def _add_wait(self, turn: Turn, traffic: ClassTraffic) -> None:
        self.num_paused += 1
        self.num_capped += turn.pause_was_capped
        wait_us = round(max(turn.pause_s, turn.gap_s) * 1e6)
        kind = str(turn.pause) if turn.pause is not Pause.NONE else "other"
        if turn.tick_s is not None and len(self.ticks_s) < _MOST_TICKS:
            self.ticks_s.add(turn.tick_s)
        is_known = bool(wait_us) or (not turn.children and turn.tick_s is None)
        if is_known:
            traffic.waits_us[f"{kind} {GAPS if turn.gap_s > turn.pause_s else PAUSES}"].add(wait_us)
        if turn.pause is Pause.TOOL:
            self.num_tool_turns += 1
            if turn.num_tools:
                self.at_once.add(turn.num_tools)
            if turn.tool is not None:
                name = turn.tool if turn.tool in self.tools or len(self.tools) < _MOST_TOOLS else OTHER_TOOLS
                self.tools[name] += 1
                if is_known:
                    self.tools_us[name].add(wait_us)


class _Prompts:
    """The prompts of one session, turn by turn, as a replay sends them: lengths, and what was sent before."""

    def __init__(self, session: Session, sent: set[int], root_id: str, sent_here: set[int]) -> None:
        self._prefix = session.prefix
        self._sent, self._sent_here = sent, sent_here
        self._root_id = root_id
        self._context = 0
        """Tokens of the conversation so far, the last answer included."""
        self._chain: list[int] = []
        """Of the last prompt that was given in blocks: each stands for its block and all before it."""

    def ask(self, turn: Turn) -> tuple[int, int, int]:
        """Tokens of the turn's prompt; those that are the session's earlier context; those others began with."""
        match turn.prompt:
            case BlockPrompt():
                tokens, repeated, shared = self._of_blocks(turn.prompt)
            case MessagePrompt(messages):
                characters = sum(len(text_of(message.content)) for message in messages)
                tokens = max(turn.new_tokens, round(characters / CHARACTERS_PER_TOKEN))
                repeated, shared = (tokens - turn.new_tokens if self._context else 0), 0
            case None if turn.compacts or not self._context:
                prefix = 0 if self._prefix is None else self._prefix.tokens
                tokens, repeated = prefix + turn.new_tokens, prefix if self._context else 0
                shared = 0 if self._context or self._prefix is None or self._is_new(self._prefix) else prefix
            case None:
                tokens, repeated, shared = self._context + turn.new_tokens, self._context, 0
        self._context = tokens + turn.output_tokens
        return tokens, repeated, shared

    def _of_blocks(self, prompt: BlockPrompt) -> tuple[int, int, int]:
        del self._chain[prompt.kept :]
        kept = min(round(prompt.kept * prompt.block_tokens), prompt.tokens)
        sent = self._sent_here if prompt.scope == self._root_id else self._sent
        num_known = 0
        for link in self._links(prompt):
            self._chain.append(link)
            # A link also stands for everything before it, so the known part is always a prefix.
            if link in sent:
                num_known += 1
            elif len(sent) < _MOST_REMEMBERED:
                sent.add(link)
        known = min(math.ceil((prompt.kept + num_known) * prompt.block_tokens), prompt.tokens)
        return prompt.tokens, kept, max(0, known - kept)

    def _links(self, prompt: BlockPrompt) -> Iterator[int]:
        link = self._chain[-1] if self._chain else hash(prompt.scope)
        for block_id in prompt.ids:
            link = hash((link, block_id))
            yield link

    def _is_new(self, prefix: SharedPrefix) -> bool:
        """Whether this is the first session with it; from now on it counts as sent."""
        key = hash(prefix)
        if key in self._sent:
            return False
        if len(self._sent) < _MOST_REMEMBERED:
            self._sent.add(key)
        return True
