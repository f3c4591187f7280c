"""What traffic is made of: sessions of turns."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum

from ..engine.protocol.conversation import ChatMessage


class Pause(StrEnum):
    """What a session waits for before a turn."""

    NONE = "none"
    TOOL = "tool"
    HUMAN = "human"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class BlockPrompt:
    """A whole prompt as traces with hashed blocks describe it: equal ids mean equal text, so they share prefixes.

    The first `kept` blocks, all of them whole, are those of the previous turn; `ids` are the rest. (If every turn
    listed all of its ids, a session would grow with the square of its length.)

    Attributes:
        scope: Within what an id means the same text: a file, or a session.
        block_tokens: Tokens per block.
        tokens: Of the whole prompt. Its last block may be partial.
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

    It is due once `pause_s` have passed since the previous turn ended and `gap_s` since that one was due, all
    `children` have ended, and the clock is at a multiple of `tick_s`.

    Attributes:
        new_tokens: Tokens that this turn adds to the conversation, such as a question or a tool's result.
        output_tokens: Tokens for the server to generate.
        pause: What the session waited for.
        pause_s: How long that took.
        pause_was_capped: Whether the cap on pauses shortened it.
        gap_s: For traces that record only when requests were sent.
        tick_s: Agents that wake together do so at multiples of this, counted from the start of the run.
        tool: The tool whose result it carries; of several called at once, the slowest.
        num_tools: Number of tools called at once.
        children: Sub-agents that the session waits for. They start when the previous turn ends.
        compacts: Replace the conversation: the prompt is the shared prefix and this turn's new tokens.
        text: The turn's text, where known. Otherwise noise of `new_tokens` tokens.
        prompt: The whole prompt, instead of the conversation so far and the new tokens.
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
    """Text that many sessions begin with, such as a system prompt. The same name means the same text."""

    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation: turns in order, each with the whole conversation so far as its prompt.

    `start_s` is when it begins, in seconds since its trace began; None where the workload's pace decides that.
    `model` is the one that it talks to; None: the one that all talk to.
    """

    session_id: str
    traffic_class: str
    turns: tuple[Turn, ...]
    prefix: SharedPrefix | None = None
    start_s: float | None = None
    model: str | None = None

    @property
    def num_requests(self) -> int:
        """Its turns and those of its sub-agents."""
        return sum(1 + sum(child.num_requests for child in turn.children) for turn in self.turns)
