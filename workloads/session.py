"""What traffic is made of: turns in sessions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum

from ..engine.protocol import ChatMessage


class Pause(StrEnum):
    """What a session waited for before a turn."""

    NONE = "none"
    TOOL = "tool"
    HUMAN = "human"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class BlockPrompt:
    """A whole prompt as traces with hashed blocks describe it: equal ids are equal text, so prefixes are shared alike.

    The first `kept` blocks, all of them whole, are those of the turn before; the ids say the rest. (Written out in
    full for each turn, the ids of a session would grow with the square of its length.)

    Attributes:
        scope: Where ids mean the same: a file, or a session.
        block_tokens: Tokens of a block.
        tokens: Of the whole prompt. Its last block may be cut short.
    """

    scope: str
    block_tokens: float
    tokens: int
    ids: tuple[int, ...]
    kept: int = 0


@dataclass(frozen=True, slots=True)
class MessagePrompt:
    """A whole prompt as recorded."""

    messages: tuple[ChatMessage, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a session.

    It is due once `pause_s` have passed since the previous turn ended, `gap_s` since that one was due, all `children`
    have ended, and the clock is at a multiple of `tick_s`.

    Attributes:
        new_tokens: Tokens this turn adds to the conversation: a question, a tool's result.
        output_tokens: Tokens the server is to generate.
        pause: What the session waited for.
        pause_s: How long that took.
        pause_was_capped: It would have taken longer, but for the cap on pauses.
        gap_s: For traces that know only when requests were sent.
        tick_s: Agents that wake together do so at multiples of this, counted from the beginning of the run.
        tool: Whose result it brings; of several called at once, the slowest.
        num_tools: Tools called at once.
        children: Sub-agents the session waits for. They start when the previous turn ends.
        compacts: The conversation so far is replaced: the prompt is the shared prefix and this turn's new tokens.
        text: What it says, where that is known. Otherwise noise of `new_tokens` tokens.
        prompt: The whole prompt, instead of the conversation so far and what is new.
    """

    new_tokens: int
    output_tokens: int
    _: KW_ONLY
    pause: Pause = Pause.NONE
    pause_s: float = 0.0
    pause_was_capped: bool = False
    gap_s: float = 0.0
    tick_s: float | None = None
    tool: str | None = None
    num_tools: int = 0
    children: tuple[Session, ...] = ()
    compacts: bool = False
    text: str | None = None
    prompt: BlockPrompt | MessagePrompt | None = None


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Text that many sessions begin with (a system prompt, tool definitions). The same name means the same text."""

    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation. Turns follow each other, each with the whole conversation so far as its prompt.

    `start_s` is when it begins, in seconds since its trace did; None where only a workload's pace says so.
    """

    session_id: str
    traffic_class: str
    turns: tuple[Turn, ...]
    prefix: SharedPrefix | None = None
    start_s: float | None = None
