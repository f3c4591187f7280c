"""Whether a prefix cache answered more than the workload explains: part of summary.json."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ...workloads.bounds import Amount, Count
from ..formatting import counted
from ..recording.cache_use import CacheUse
from .finding import Finding, not_trusted

MAX_KNOWN_SHARE = 0.05
"""Of first turns: fewer whose prompts a cache knew leave percentiles as they are."""
MAX_SHARE_ABOVE = 0.1
"""By how much a server's own share of prefix hits may exceed what the workload explains: other clients are in it."""

_WORTH_SAYING = 0.0005


class CacheMode(StrEnum):
    """What a server's prefix cache may have seen of a run's texts before the run."""

    COLD = "cold"
    """Nothing: they are new in every run."""
    WARM = "warm"
    """The first prompts of its sessions: they are sent once before the run."""
    AS_IS = "as-is"
    """Whatever runs of the same seed have left there."""


class Priming(msgspec.Struct, kw_only=True):
    """What was sent before a run so that the server knows its texts.

    Attributes:
        sessions: Those whose first prompt was answered; `failed`: those whose prompt failed.
        took_s: How long it took.
        is_whole: No session is known to follow: neither the time nor the number of prompts ended it.
    """

    sessions: Count
    failed: Count
    took_s: Amount
    is_whole: bool


class CacheSummary(msgspec.Struct, kw_only=True):
    """What a prefix cache had, and what the workload explains of it.

    Attributes:
        mode: What it may have seen of the texts (see `CacheMode`).
        priming: What was sent before the run, with `warm`.
        first_turns: First turns of sessions for which the server said how much of the prompt it had cached, where the
            workload knows what sessions share.
        first_prompt_tokens: Their prompt tokens; `first_cached_tokens`: those that a cache had; `first_shared_tokens`:
            those that sessions share, at most.
        known_turns: Those of them whose prompts a cache had beyond what sessions of the run share.
        explained_share: Share of all prompt tokens that another prompt of the run began with too: what sessions share,
            and earlier turns. None where recorded text decides that.
        server_hit_share: Share of prompt tokens found in a cache, by the server's own metrics.
    """

    mode: str
    priming: Priming | None = None
    first_turns: Count = 0
    first_prompt_tokens: Count = 0
    first_cached_tokens: Count = 0
    first_shared_tokens: Count = 0
    known_turns: Count = 0
    explained_share: Amount | None = None
    server_hit_share: Amount | None = None


def fill_cache(summary: CacheSummary, use: CacheUse) -> None:
    """Put what was recorded into a summary whose mode is already there."""
    summary.first_turns = use.first_turns
    summary.first_prompt_tokens = use.first_prompt_tokens
    summary.first_cached_tokens = use.first_cached_tokens
    summary.first_shared_tokens = use.first_shared_tokens
    summary.known_turns = use.known_turns
    summary.explained_share = use.explained_share


def cache_doubts(cache: CacheSummary | None) -> list[Finding]:
    """What shows that the server knew texts that should have been new to it; empty if nothing does."""
    if cache is None or cache.mode != CacheMode.COLD:
        return []
    if cache.first_turns:
        if (known := cache.known_turns / cache.first_turns) <= MAX_KNOWN_SHARE:
            return []
        cached = cache.first_cached_tokens / max(cache.first_prompt_tokens, 1)
        words = (
            f"a prefix cache knew the texts of {known:.0%} of the sessions before they began, and had {cached:.0%} of "
            "their first prompts: what a new prompt takes was not measured"
        )
        return [not_trusted(words, share_known=known, share_cached=cached)]
    hits, explained = cache.server_hit_share, cache.explained_share
    if hits is None or explained is None or hits <= explained + MAX_SHARE_ABOVE:
        return []
    words = (
        f"the server found {hits:.0%} of the prompt tokens in its prefix cache, where sessions share {explained:.0%} "
        "at most: it knew these texts, or it serves others too"
    )
    return [not_trusted(words, share_hit=hits, share_explained=explained)]


def cache_facts(cache: CacheSummary) -> str:
    """What a prefix cache may have known, and whether it did, in one line."""
    match cache.mode:
        case CacheMode.WARM if cache.priming is not None:
            mode = _primed(cache.priming)
        case CacheMode.AS_IS:
            mode = "as-is: all runs of this seed send the same texts"
        case _:
            mode = f"{cache.mode}: new texts" if cache.mode == CacheMode.COLD else cache.mode
    return f"{mode}; {_had(cache)}"


def _had(cache: CacheSummary) -> str:
    hits, explained = cache.server_hit_share, cache.explained_share
    if cache.first_turns:
        num_prompt = max(cache.first_prompt_tokens, 1)
        had, shared = cache.first_cached_tokens / num_prompt, cache.first_shared_tokens / num_prompt
        words = f"its prefix cache had {had:.1%} of sessions' first prompts"
        return f"{words}, of which they share {shared:.1%}" if shared >= _WORTH_SAYING else words
    if hits is not None and explained is not None:
        return f"its prefix cache had {hits:.1%} of all prompts, of which sessions share {explained:.1%} at most"
    return "the server does not say what a prefix cache had"


def _primed(priming: Priming) -> str:
    words = f"warm: the first prompts of {counted(priming.sessions, 'session')} were sent before the run"
    if priming.failed:
        words += f", {priming.failed:,} failed"
    return f"{words}, in {priming.took_s:.1f} s" + ("" if priming.is_whole else "; later sessions are cold")
