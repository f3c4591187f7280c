"""What a tool pause costs, in words, for every rendering."""

from __future__ import annotations

from ..formatting import CI, counted, duration, listed
from ..recording.pause_cost import LEAST_TURNS, Cost, PauseBand, PauseCosts
from ..recording.pauses import Context

_SMALL_SHARE = 0.1
_SMALL_MS = 1.0
"""A cost below either of them is next to nothing."""
_LEAST_SHARE = 0.005
_HAD = {
    Context.KEPT: "kept",
    Context.PARTLY: "partly kept",
    Context.RECOMPUTED: "recomputed",
    Context.UNKNOWN: "unknown",
}


def pauses_in_words(costs: PauseCosts) -> str:
    """One sentence about the longest pauses whose cost is known, and what the server had kept."""
    band, reference = costs.told, costs.reference
    long = duration(1e3 * band.pause_s)
    if band.p50 is None or reference is None:
        waits = f"the first token after a {long} pause ({band_in_words(band)}, {counted(band.turns, 'turn')})"
        return f"{waits} takes {_ttfts(band)}; {why_unknown(costs, band)}{_contexts(band, None)}"
    words = f"a {long} pause costs {cost_in_words(band.p50)} at p50, "
    words += "too few turns for p99" if band.p99 is None else f"{cost_in_words(band.p99)} at p99"
    paused = f"ttft of {counted(band.turns, 'turn')} after {band_in_words(band)}"
    beside = [duration(cost.beside_ms) for cost in (band.p50, band.p99) if cost is not None]
    instead = f"of similar ones after {band_in_words(reference)} {listed(beside)}"
    return f"{words}; {paused} is {_ttfts(band)}, {instead}{_contexts(band, reference)}"


def why_unknown(costs: PauseCosts, band: PauseBand) -> str:
    """Why nobody can say what of a first token's wait is the pause's doing."""
    reference = costs.reference
    shorter = sum(one.turns for one in costs.bands if one.from_s < band.from_s)
    if not shorter:
        return "no turns after a shorter pause to tell what of that is the pause's: replay with --tool-pause 0, too"
    if reference is None or band.turns < LEAST_TURNS:
        return f"too few turns to tell what of that is the pause's ({LEAST_TURNS} of each at least)"
    return "the run is too short to tell what of that is the pause's"


def band_in_words(band: PauseBand) -> str:
    """How long the pauses of a band were: `no pause`, `under 1 s`, `3 to 10 s`, `over 100 s`."""
    if band.from_s == 0:
        return "no pause"
    if band.to_s is None:
        return f"over {band.from_s:g} s"
    return f"{band.from_s:g} to {band.to_s:g} s"


def cost_in_words(cost: Cost) -> str:
    """How much longer the first token took, with its interval: `37 ms (95% CI +30 ms to +45 ms)`."""
    interval = cost.interval_ms
    within = f"at least {signed(interval.low)}"
    if not interval.is_open:
        within = f"{signed(interval.low)} to {signed(interval.high)}"
    if is_real(cost):
        return f"{duration(cost.cost_ms)} ({CI} {within})"
    if is_next_to_nothing(cost):
        return f"next to nothing ({CI} {within})"
    return f"an unclear amount ({CI} {within})"


def is_real(cost: Cost) -> bool:
    """Whether the first token took longer for certain. That turns after a pause are faster is no cost, either."""
    return cost.interval_ms.low > 0


def is_next_to_nothing(cost: Cost) -> bool:
    """Whether it is small for certain, if it is anything."""
    return not is_real(cost) and cost.interval_ms.high <= max(_SMALL_MS, _SMALL_SHARE * cost.beside_ms)


def signed(value_ms: float) -> str:
    """A time that may be below nothing: `-1.25 ms`, `+3.2 s`."""
    return "0 ms" if value_ms == 0 else f"{'-' if value_ms < 0 else '+'}{duration(abs(value_ms))}"


def shares(band: PauseBand) -> str:
    """`80% kept, 5% partly kept, 15% recomputed`; what is next to none is left out."""
    known = ((name, count / band.turns) for name, count in band.contexts.items())
    return ", ".join(f"{share:.0%} {_HAD[name]}" for name, share in known if share >= _LEAST_SHARE)


def _contexts(band: PauseBand, reference: PauseBand | None) -> str:
    if band.contexts.get(Context.UNKNOWN, 0) == band.turns:
        return "; what it kept of their contexts, the server does not say"
    words = f"; contexts: {shares(band)}"
    if reference is not None and reference.contexts.get(Context.UNKNOWN, 0) < reference.turns:
        words += f" (after {band_in_words(reference)}: {shares(reference)})"
    return words


def _ttfts(band: PauseBand) -> str:
    """`60 ms at p50 and 1.5 s at p99`, as far as they are known."""
    found = [_at(band, band.p50_ms, "p50", 0.5)]
    if band.p99_ms is not None:
        found.append(_at(band, band.p99_ms, "p99", 0.01))
    return listed(found)


def _at(band: PauseBand, value_ms: float, percentile: str, share: float) -> str:
    bound = "at least " if band.cut_off > share * band.turns else ""
    return f"{bound}{duration(value_ms)} at {percentile}"
