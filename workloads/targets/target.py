"""The interface between the load generator and what it sends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...engine.loop.step_account import EngineTotals
from ...engine.protocol.conversation import ChatMessage
from ..http.limits import MESSAGE_CHARS
from ..watching.server_watch import ServerWatch
from .prompts import PromptSizer


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        session_id: Requests with the same id belong to one conversation.
        next_tool: The tool that the answer would call, if it were more than noise.
        ends_session: The conversation has no further requests.
        ignore_eos: Generate exactly `max_tokens` tokens.
        seed: Of the server's sampling; None: the server's own.
        model: What the server calls the model; None: the target's own.
    """

    messages: Sequence[ChatMessage]
    max_tokens: int
    session_id: str
    next_tool: str | None = None
    ends_session: bool = False
    ignore_eos: bool = True
    seed: int | None = None
    model: str | None = None


@dataclass(slots=True)
class Reply:
    """The state of a call so far. A target fills it in as things happen, so an interrupted call keeps what it has.

    Times are on the event loop's clock.
    """

    request_id: str | None = None
    """The id sent with the request, if any, which also appears in the server's log."""
    waited_s: float = 0.0
    """For one of the places of --max-in-flight, before it was sent."""
    sent_s: float | None = None
    sent_bytes: int = 0
    """Of the request's body."""
    retries: int = 0
    """How often it was sent again because the server had closed the connection before it began to answer."""
    connect_s: float = 0.0
    """How long new connections took, from `sent_s` on; of that, `dns_s` for the name's look-up, `tls_s` for TLS."""
    dns_s: float = 0.0
    tls_s: float = 0.0
    first_s: float | None = None
    """When the first content of any kind came."""
    first_answer_s: float | None = None
    """When the first content came that is not reasoning."""
    last_s: float | None = None
    finished_s: float | None = None
    """When the server gave its finish reason. What follows (usage) is not part of the latency."""
    gaps_us: list[int] = field(default_factory=list)
    least_prompt_tokens: int | None = None
    """What was sent has at least this many tokens; None where nobody knows. The load generator fills it in."""
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    """What came before the answer, where the model thinks aloud."""
    was_streamed: bool = True
    """False: the answer came as one JSON, or all in one burst, so that only its end has a time."""
    compression: str = ""
    """Of its body, which may have held events back; empty where there was none."""
    malformed_events: int = 0
    """Of its stream: they could not be read, and may have had content."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    """All of them, those of its reasoning included."""
    reasoning_tokens: int | None = None
    has_odd_usage: bool = False
    """The server counted tokens in a way that cannot be right; such counts are None."""
    finish_reason: str | None = None
    error: str | None = None
    error_message: str | None = None
    retry_after_s: float | None = None
    """How long the server wants to be left alone, where it refused to answer and said so."""

    def saw_content(self, now_s: float) -> None:
        """Note the arrival of a chunk with content."""
        if self.first_s is None or self.last_s is None:
            self.first_s = now_s
        else:
            self.gaps_us.append(max(0, round((now_s - self.last_s) * 1e6)))
        self.last_s = now_s

    def fail(self, error: str, message: str) -> None:
        """Mark the call as failed. `error` is the class of failure, for counting; `message` is for people."""
        self.error = error
        # Headers may hold any bytes, which no encoding has: those would not fit the log.
        self.error_message = message[:MESSAGE_CHARS].encode(errors="replace").decode()


class Target(Protocol):
    """Where turns are sent."""

    async def send(self, call: Call, reply: Reply) -> None:
        """Make the call and fill in the reply. Failures go into the reply; only cancellation is raised."""


class BenchTarget(Target, Protocol):
    """A target with everything that a whole run needs.

    Attributes:
        takes_ignore_eos: Answers have exactly the length that is asked for, as far as is known before the run.
        warnings: Caveats to report along with the numbers.
    """

    warnings: list[str]

    @property
    def model(self) -> str: ...

    @property
    def takes_ignore_eos(self) -> bool: ...

    async def calibrate(self) -> PromptSizer:
        """Find out how the target counts tokens."""

    async def engine_totals(self) -> EngineTotals | None:
        """Running totals of the abatch engine behind it, as of now; None if it is another server."""

    async def watch_server(self, watch: ServerWatch, origin_s: float) -> None:
        """Record the server's own metrics from `origin_s` on the loop's clock until cancelled.

        Returns early if the server has none.
        """
