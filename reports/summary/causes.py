"""What can make a tail, what to do about it, and what attribution found of it: part of summary.json."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Cause(StrEnum):
    """Why a gap or a ttft was long."""

    CLIENT = "client"
    """The load generator itself was late, or did not read."""
    SIZE = "workload size"
    """The request was that large."""
    COLD_PREFIX = "cold prefix"
    """A later turn whose context the server had let go of."""
    PREFILL = "prefill interference"
    """Another request's prompt was computed in the same step."""
    STALL = "batch-wide stall"
    """Nearly all streams stood still at once, and no prompt explains it."""
    STATIC_BATCH = "static batch"
    """It waited until a batch had ended, and began together with others."""
    QUEUEING = "queueing"
    """It waited behind others for a place."""
    PREEMPTION = "preemption"
    """One stream stood still alone, while the others went on."""
    COALESCING = "chunk coalescing"
    """Chunks were held back and came together: the tokens were on time."""
    UNKNOWN = "unknown"


ADVICE = {
    Cause.CLIENT: "the client was late, not the server: raise --workers, or give it a processor of its own",
    Cause.SIZE: "the work itself is that uneven: judge the normalised ratio, or give long prompts a class of their own",
    Cause.COLD_PREFIX: "keep contexts through pauses: more KV memory, a host tier (--park auto, --host-kv-memory), or "
    "prefix caching with session affinity where there are several servers",
    Cause.PREFILL: "chunk prefill smaller (abatch and vLLM: --max-num-batched-tokens 512), or prefill elsewhere "
    "(disaggregation)",
    Cause.STALL: "the server stood still: look in its log at these times for garbage collection, a blocked event loop, "
    "compilation or graph capture",
    Cause.STATIC_BATCH: "requests wait for a batch to end: use continuous batching (abatch --batching async)",
    Cause.QUEUEING: "too few places for this load: raise --max-num-seqs or KV memory, add a replica, or lower the rate "
    "(--sweep finds the highest that holds)",
    Cause.PREEMPTION: "single streams are thrown out and computed again: more KV memory, or fewer sequences at once "
    "(--max-num-seqs)",
    Cause.COALESCING: "something on the way buffers: turn off response buffering in the proxy, or stream every token "
    "(vLLM --stream-interval 1)",
    Cause.UNKNOWN: "run with --step-log against our own engine, or look at the server's log at these times",
}
"""One line each: what to do."""


class CauseShare(msgspec.Struct, kw_only=True):
    """How much of a tail a cause explains.

    Attributes:
        share: Of the tail events looked into.
        base_rate: Of ordinary waits, how many the same rule would blame on it.
        excess: (share - base_rate) / (1 - base_rate): what it explains beyond chance.
    """

    cause: Cause
    share: float
    base_rate: float
    excess: float
    events: int


class TailCauses(msgspec.Struct, kw_only=True):
    """Why one metric has its tail.

    Attributes:
        events: Waits above `threshold_ms`, three medians; `examined`: how many of them were looked into.
        exact: Of these, by the engine's step log; the others by what a client can see.
        causes: The largest share first.
        likely: Those that stand out from their base rate.
    """

    threshold_ms: float
    events: int
    examined: int
    exact: int = 0
    causes: list[CauseShare] = []
    likely: list[Cause] = []


class ServerThen(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the server said of itself around a stall.

    Attributes:
        running_before: At the last sample whose answer came before it began.
        running_after: At the first whose answer came when it was over.
        waiting_after: The most that any sample said from its beginning up to that one: the queue is soon gone.
        silent_s: How long looks that fell into it had to wait for an answer; None if they were answered at once.
    """

    running_before: int | None = None
    running_after: int | None = None
    waiting_before: int | None = None
    waiting_after: int | None = None
    silent_s: float | None = None


class Stall(msgspec.Struct, kw_only=True):
    """Streams that stood still together.

    Attributes:
        start_s: Seconds since the run began. `length_s`: the median gap.
        streams: How many had a gap then.
        waiting: Requests that spent most of it waiting for their first token.
        server: What the server's metrics said, where it has some.
    """

    start_s: float
    length_s: float
    streams: int
    waiting: int = 0
    cause: Cause = Cause.STALL
    server: ServerThen | None = None

    @property
    def end_s(self) -> float:
        """When it was over."""
        return self.start_s + self.length_s


class Attribution(msgspec.Struct, kw_only=True):
    """Causes by metric (`itl`, `ttft`), and the moments at which many streams stood still at once."""

    causes: dict[str, TailCauses] = {}
    stalls: list[Stall] = []
    advice: list[str] = []
