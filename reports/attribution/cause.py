"""What can make a tail, and what to do about it."""

from __future__ import annotations

from enum import StrEnum


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
