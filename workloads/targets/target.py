"""What the load generator sends to, whatever that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...engine.loop.step_account import EngineTotals
from ...engine.protocol import ChatMessage
from ..watching.server_watch import ServerWatch
from .prompts import PromptSizer


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        session_id: Requests with the same id are of one conversation.
        next_tool: What the answer would be a call of, if it were more than noise.
        ends_session: No further request of the conversation will come.
        ignore_eos: The output is to have exactly `max_tokens` tokens.
    """

    messages: Sequence[ChatMessage]
    max_tokens: int
    session_id: str
    next_tool: str | None = None
    ends_session: bool = False
    ignore_eos: bool = True


@dataclass(slots=True)
class Reply:
    """What is known of a call so far. A target fills it in while it happens, so an interrupted call keeps its part.

    Times are of the event loop's clock.
    """

    request_id: str | None = None
    """What the server was told to call it, where it was told: what its log is joined by."""
    sent_s: float | None = None
    first_s: float | None = None
    last_s: float | None = None
    finished_s: float | None = None
    """When the server said why it stopped. What comes behind that (usage) is no latency."""
    gaps_us: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    error_message: str | None = None

    def saw_content(self, now_s: float) -> None:
        """A chunk with content came."""
        if self.first_s is None or self.last_s is None:
            self.first_s = now_s
        else:
            self.gaps_us.append(max(0, round((now_s - self.last_s) * 1e6)))
        self.last_s = now_s

    def fail(self, error: str, message: str) -> None:
        """The call failed. `error` is its class, for counting; `message` is for people."""
        self.error = error
        self.error_message = message[:500]


class Target(Protocol):
    """What turns are sent to."""

    async def send(self, call: Call, reply: Reply) -> None:
        """Do the call and fill in the reply. Failures go into the reply: nothing is raised but cancellation."""


class BenchTarget(Target, Protocol):
    """A target that a whole run can be made of.

    Attributes:
        warnings: What should be said of it beside the numbers.
    """

    model: str
    warnings: list[str]

    async def calibrate(self) -> PromptSizer:
        """Find out how the target counts tokens."""

    async def engine_totals(self) -> EngineTotals | None:
        """Running totals of our own engine behind it, as of now; None if it is another."""

    async def watch_server(self, watch: ServerWatch, origin_s: float) -> None:
        """Have it note what the server says of itself, from `origin_s` of the loop's clock on, until cancelled.

        Returns early where the server says nothing.
        """
