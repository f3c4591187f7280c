"""The result of one turn: the unit that run folders are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .bounds import Count, Gap, Moment, Name
from .session import Pause

Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A number of tokens of one request. A line of results.jsonl that says anything else is damaged."""

_ROUNDING_S = 0.01


class Result(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One request as the client saw it. Times are seconds since the run began, gaps microseconds.

    Attributes:
        due_s: When it should have been sent. All latencies are measured from here.
        request_id: The X-Request-ID sent with the request, unique to it; None if it was not sent, or not over HTTP.
        waited_s: How long it waited for one of the --max-in-flight places: the load's doing, and part of its latency.
        sent_s: When its bytes were handed to the connection; None if it was never sent (dropped).
        retries: How often it was sent again, because the server had closed the connection before it began to answer.
        connect_s: How long after that new connections took: name look-up, TCP and TLS. Of that, `dns_s` was the look-up
            and `tls_s` TLS.
        first_s: When the first chunk with content arrived, of whatever kind.
        had_reasoning: The model thought aloud. `first_answer_s`: when the first content came that is no reasoning;
            None if none came, or nothing but the answer, which then began at `first_s`.
        was_streamed: False if the answer came as one JSON, or all in one burst: then only its end has a time.
        malformed_events: Events of its stream that could not be read. They may have had content.
        tool: The tool whose result it carried.
        least_prompt_tokens: The prompt as it was sent has at least this many tokens: answers that it repeats, and what
            the server adds, come on top. None where texts are recorded ones, or the server's tokens are not known.
        max_tokens: How many output tokens were asked for.
        is_last: Whether it was the last turn of its session.
        end_s: When the stream ended, failed, or the run stopped waiting for it.
        gaps_us: Between content chunks, in order.
        output_tokens: All of them, with the `reasoning_tokens`.
        has_odd_usage: The server's token counts could not be right; those are None (see `targets/streams/usage.py`).
        error: Class of failure; None for a success. Failed requests enter no latency histogram.
        censored: The run ended first, so the latencies are lower bounds.
        shared_tokens: Of a first turn: the tokens at the beginning of its prompt that other sessions' prompts begin
            with too; None of other turns, and where recorded text decides that.
        warmup: Whether it was due before the measured part began.
    """

    session_id: Name
    turn_index: Count
    traffic_class: Name
    due_s: Moment
    end_s: Moment
    request_id: str | None = None
    waited_s: Moment = 0.0
    sent_s: Moment | None = None
    first_s: Moment | None = None
    first_answer_s: Moment | None = None
    had_reasoning: bool = False
    was_streamed: bool = True
    malformed_events: Count = 0
    gaps_us: list[Gap] = []
    pause: Pause = Pause.NONE
    pause_s: Moment = 0.0
    pause_was_capped: bool = False
    tool: Name | None = None
    is_last: bool = False
    prompt_tokens: Tokens | None = None
    least_prompt_tokens: Tokens | None = None
    cached_tokens: Tokens | None = None
    shared_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None
    has_odd_usage: bool = False
    max_tokens: Tokens = 0
    retries: Count = 0
    connect_s: Moment = 0.0
    dns_s: Moment = 0.0
    tls_s: Moment = 0.0
    finish_reason: str | None = None
    error: str | None = None
    error_message: str | None = None
    censored: bool = False
    warmup: bool = False

    @property
    def is_dropped(self) -> bool:
        """It was due but never sent."""
        return self.sent_s is None

    @property
    def is_unplaced(self) -> bool:
        """It was never sent because it waited for a place to the end."""
        return self.sent_s is None and self.waited_s > 0

    @property
    def has_latency(self) -> bool:
        """It belongs in the latency histograms, exactly or as a lower bound."""
        return self.error is None and not self.warmup

    @property
    def start_delay_us(self) -> int:
        """How late it was sent, without the wait for a place: the client's fault, never the server's."""
        return _us((self.sent_s or self.due_s) - self.due_s - self.waited_s)

    @property
    def ttft_us(self) -> int:
        """From due to first content; a lower bound if it was cut off before that."""
        return _us((self.end_s if self.first_s is None else self.first_s) - self.due_s)

    @property
    def is_unanswered(self) -> bool:
        """It ended inside its reasoning, or was cut off there: no answer token ever came."""
        return self.had_reasoning and self.first_answer_s is None

    @property
    def ttfa_us(self) -> int:
        """From due to the first content that is no reasoning; a lower bound if none came."""
        if not self.had_reasoning:
            return self.ttft_us
        return _us((self.end_s if self.first_answer_s is None else self.first_answer_s) - self.due_s)

    @property
    def is_whole(self) -> bool:
        """It came as one JSON, or in one burst, though it has several tokens: nobody knows when its first one came."""
        return not self.was_streamed and (self.output_tokens is None or self.output_tokens > 1)

    @property
    def hidden_tokens(self) -> int:
        """Of its output tokens, those of a reasoning that the server kept to itself."""
        return 0 if self.had_reasoning else min(self.reasoning_tokens or 0, self.output_tokens or 0)

    @property
    def shown_tokens(self) -> int | None:
        """Output tokens that came as content."""
        return None if self.output_tokens is None else self.output_tokens - self.hidden_tokens

    @property
    def e2e_us(self) -> int:
        """From due to end."""
        return _us(self.end_s - self.due_s)

    def problem(self) -> str | None:
        """What of its times cannot be, in a line that was read; None if nothing. Rounding is allowed for."""
        first_s = self.end_s if self.first_s is None else self.first_s
        if max(self.due_s, self.sent_s or 0.0, first_s) > self.end_s + _ROUNDING_S:
            return "end_s is before due_s, sent_s or first_s"
        if first_s < self.due_s - _ROUNDING_S:
            return "first_s is before due_s"
        if (
            self.first_answer_s is not None
            and not first_s - _ROUNDING_S <= self.first_answer_s <= self.end_s + _ROUNDING_S
        ):
            return "first_answer_s is not between first_s and end_s"
        if sum(self.gaps_us) / 1e6 > self.end_s - first_s + len(self.gaps_us) / 1e6 + _ROUNDING_S:
            return "gaps_us are longer than the answer took"
        return None

    def all_gaps_us(self) -> list[int]:
        """Gaps within the stream. A censored one ends with the gap it was cut off in, a lower bound."""
        if self.first_s is None or not self.censored:
            return self.gaps_us
        return [*self.gaps_us, max(0, _us(self.end_s - self.first_s) - sum(self.gaps_us))]

    @property
    def tpot_us(self) -> float | None:
        """(last - first) / (shown tokens - 1); None where that is undefined or unknown."""
        tokens = self.shown_tokens
        if self.censored or tokens is None or tokens < 2 or not self.gaps_us:
            return None
        return sum(self.gaps_us) / (tokens - 1)


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1e6))
