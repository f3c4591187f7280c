"""What can cause a tail, what to do about it, and what attribution found in a run: part of summary.json."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ...workloads.bounds import Amount, Count, Number


class Cause(StrEnum):
    """Why a gap or a ttft was long."""

    CLIENT = "client"
    """The load generator itself was late, or did not read."""
    SIZE = "workload size"
    """The request itself was large."""
    COLD_PREFIX = "cold prefix"
    """A later turn whose context the server had dropped."""
    PREFILL = "prefill interference"
    """Another request's prompt was computed in the same step."""
    STALL = "batch-wide stall"
    """Nearly all streams stalled at once, and no prompt explains it."""
    STATIC_BATCH = "static batch"
    """It waited until a whole batch had ended, and began together with others."""
    QUEUEING = "queueing"
    """It waited behind others for a slot."""
    PREEMPTION = "preemption"
    """One stream stalled alone while the others went on, on a server that says it preempted."""
    SINGLE = "single-stream stall"
    """One stream stalled alone while the others went on."""
    COALESCING = "chunk coalescing"
    """Chunks were held back and arrived together, again and again: the tokens were on time."""
    NETWORK = "network jitter"
    """Chunks were late on their way, and those behind them caught up: the tokens were on time."""
    CONNECTION = "connection set-up"
    """It waited for a new connection: name look-up, TCP and TLS; or was sent again on one."""
    SLOW_REPLICA = "slow replica"
    """Its stream was slow from end to end while others were not."""
    SLOW_SPELL = "slow spell"
    """Every stream was slow for a while, without standing still."""
    REFUSALS = "refusals and backoff"
    """Requests were refused meanwhile (429, 503): the server, or a gateway in front of it, shed load."""
    DRIFT = "overload or drift"
    """The run became slower and slower: the server fell behind its load, or changed."""
    UNKNOWN = "unknown"


ADVICE = {
    Cause.CLIENT: "the client was late, not the server: raise --workers, or give it a core of its own",
    Cause.SIZE: "request sizes are uneven: judge the normalised ratio, or put long prompts in a class of their own",
    Cause.COLD_PREFIX: "keep contexts through pauses: add KV memory or a host tier (--park auto, --host-kv-memory); "
    "with several servers, use prefix caching with session affinity",
    Cause.PREFILL: "use smaller prefill chunks (abatch: --max-step-ms; vLLM: a lower --max-num-batched-tokens), or "
    "prefill on other devices (disaggregation)",
    Cause.STALL: "look in the server's log at these times for garbage collection, a blocked event loop, compilation or "
    "graph capture",
    Cause.STATIC_BATCH: "requests wait for a whole batch to end: use continuous batching (abatch --batching async)",
    Cause.QUEUEING: "too few slots for this load: raise --max-num-seqs or KV memory, add a replica, or lower the rate "
    "(--sweep finds the highest one that holds)",
    Cause.PREEMPTION: "single streams are evicted and recomputed: add KV memory, or run fewer sequences at once "
    "(--max-num-seqs)",
    Cause.SINGLE: "single streams pause while others go on: if the server's counter of preemptions grows, add KV "
    "memory or run fewer sequences at once (--max-num-seqs); otherwise look for these requests in its log",
    Cause.NETWORK: "chunks are late on the way and those behind them catch up: look for lost packets between client "
    "and server, or, where all streams are late together, for a link that fails or a front end that blocks",
    Cause.CONNECTION: "new connections take that long (name look-up, TCP, TLS): keep connections open, and look at "
    "the name server and at the server's queue of connections; where requests had to be sent again, raise the time for "
    "which the server keeps idle connections",
    Cause.SLOW_REPLICA: "some answers come at half the pace of others or less: compare the replicas behind the "
    "address, and take the slow one out",
    Cause.SLOW_SPELL: "the whole server was slow for a while: look in its log at these times for another job on the "
    "machine, or for throttling (power, heat, token limits)",
    Cause.REFUSALS: "requests were refused at these times (429, 503): lower the rate, or raise the limit of the "
    "server or gateway",
    Cause.DRIFT: "the run got slower and slower: lower the rate (--sweep finds the highest one that holds), or find "
    "what grows on the server",
    Cause.COALESCING: "something between server and client buffers: turn off response buffering in the proxy, or "
    "stream every token (vLLM --stream-interval 1)",
    Cause.UNKNOWN: "run with --step-log against abatch's own engine, or look in the server's log at these times",
}
"""One line each: what to do."""


BECAUSE = {
    Cause.CLIENT: "the load generator itself was late",
    Cause.SIZE: "requests differ in size",
    Cause.COLD_PREFIX: "the contexts of later turns had to be computed again",
    Cause.PREFILL: "other requests' prompts were computed in the same steps",
    Cause.STALL: "the server made no progress at times",
    Cause.STATIC_BATCH: "requests waited for a whole batch to end",
    Cause.QUEUEING: "requests waited behind others for a slot",
    Cause.PREEMPTION: "single streams stalled while the others went on",
    Cause.COALESCING: "chunks were held back and arrived together",
    Cause.SINGLE: "single streams paused while the others went on",
    Cause.NETWORK: "chunks were late on their way",
    Cause.CONNECTION: "requests waited for new connections",
    Cause.SLOW_REPLICA: "some answers came at half the pace of all others or less",
    Cause.SLOW_SPELL: "everything was slow for a while",
    Cause.REFUSALS: "the server, or a gateway before it, refused requests at these times",
    Cause.DRIFT: "the run became slower and slower",
    Cause.UNKNOWN: "of something that a client cannot see",
}
"""Of each cause, what follows "your p99 is high, because"."""


WAITS = {"ttft": "ttft", "resume_ttft": "ttft", "e2e": "ttft", "itl": "itl", "max_gap": "itl"}
"""By metric, the waits whose causes are looked for."""


def advice_on(cause: Cause) -> str:
    """A cause and what to do about it."""
    return f"{cause}: {ADVICE[cause]}"


class CauseShare(msgspec.Struct, kw_only=True):
    """How much of a tail a cause explains.

    Attributes:
        share: Of the tail events looked into.
        base_rate: Of waits of the same length at random moments, how many the same rule would blame on it.
        excess: (share - base_rate) / (1 - base_rate): what it explains beyond chance.
    """

    cause: Cause
    share: Amount
    base_rate: Amount
    excess: Number
    events: Count


class TailCauses(msgspec.Struct, kw_only=True):
    """Why one metric has its tail.

    Attributes:
        events: Waits above `threshold_ms`, three medians; `examined`: how many of them were looked into.
        exact: Of these, by the engine's step log; the others by what a client can see.
        causes: The largest share first.
        likely: Those that stand out from their base rate.
    """

    threshold_ms: Amount
    events: Count
    examined: Count
    exact: Count = 0
    causes: list[CauseShare] = []
    likely: list[Cause] = []


class ServerThen(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the server's metrics said around a stall.

    Attributes:
        running_before: At the last sample whose answer came before it began.
        running_after: At the first whose answer came when it was over.
        waiting_after: The largest value from its beginning up to that sample: a queue is soon gone.
        silent_s: How long scrapes during it waited for an answer; None if they were answered at once.
    """

    running_before: Count | None = None
    running_after: Count | None = None
    waiting_before: Count | None = None
    waiting_after: Count | None = None
    silent_s: Amount | None = None


class Stall(msgspec.Struct, kw_only=True):
    """Streams that stalled together.

    Attributes:
        start_s: Seconds since the run began. `length_s`: the median gap.
        streams: How many had a gap then.
        waiting: Requests that spent most of it waiting for their first token.
        server: What the server's metrics said, where it has some.
    """

    start_s: Amount
    length_s: Amount
    streams: Count
    waiting: Count = 0
    cause: Cause = Cause.STALL
    server: ServerThen | None = None

    @property
    def end_s(self) -> float:
        """When it was over."""
        return self.start_s + self.length_s


class Attribution(msgspec.Struct, kw_only=True):
    """Causes by metric (`itl`, `ttft`), and the moments at which many streams stalled at once.

    Attributes:
        worst_class: Of the classes that the verdict is not about, the one with the largest flagged ratio.
        worst_causes: Its causes.
    """

    causes: dict[str, TailCauses] = {}
    worst_class: str | None = None
    worst_causes: dict[str, TailCauses] = {}
    stalls: list[Stall] = []
    advice: list[str] = []
