"""The server's own metrics over the measured part: part of summary.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec

from ...workloads.bounds import Amount, Count, Number
from ...workloads.watching.server_metrics import ServerSample
from ..formatting import counted

_Number = TypeVar("_Number", int, float)


class ServerSummary(msgspec.Struct, kw_only=True):
    """Means and maxima of the samples of the measured part, and the growth of its totals. None if not reported.

    Attributes:
        kind: Which server; None where only its GPUs could be read.
        samples: Answered scrapes; `unanswered`: those that were not; `unreadable`: answered with nothing known.
        left_out: Series with values that are none, and totals that went backwards: what they tell is None.
        kv_used_mean: Share of the KV memory in use; `kv_used_max`: its maximum.
        prefix_hit_share: Share of the prompt tokens that were found in a cache.
        gpu_power_w: All GPUs together, on average. `gpu_busy`: share of the time.
        gpu_energy_j_per_output_token: That power over the output tokens per second.
    """

    kind: str | None = None
    samples: Count = 0
    unanswered: Count = 0
    unreadable: Count = 0
    left_out: list[str] = []
    running_mean: Amount | None = None
    running_max: Count | None = None
    waiting_mean: Amount | None = None
    waiting_max: Count | None = None
    kv_used_mean: Amount | None = None
    kv_used_max: Amount | None = None
    preemptions: Count | None = None
    prefix_hit_share: Amount | None = None
    gpu_power_w: Amount | None = None
    gpu_busy: Amount | None = None
    gpu_memory_max_bytes: Count | None = None
    gpu_energy_j_per_output_token: Number | None = None


def summarise_server(
    samples: Iterable[ServerSample], from_s: float, to_s: float, output_tokens_per_s: float
) -> ServerSummary | None:
    """The samples that were asked for in a part of the run; None if there are none.

    Args:
        samples: Of the whole run, in order.
        from_s: Where the part begins, in seconds since the run began.
        to_s: Where it ends.
        output_tokens_per_s: Of that part.
    """
    before: ServerSample | None = None
    part: list[ServerSample] = []
    for sample in samples:
        if from_s <= sample.at_s <= to_s:
            part.append(sample)
        elif sample.at_s < from_s and sample.kind is not None:
            before = sample
    if not part:
        return None
    said = [sample for sample in part if sample.kind is not None]
    running, waiting, used = (_of(said, field) for field in ("running", "waiting", "kv_used"))
    power, busy, memory = (_of(part, field) for field in ("gpu_power_w", "gpu_busy", "gpu_memory_bytes"))
    # Totals are as of a moment: what came between the last look before the part and the last one in it.
    seen = said if before is None else [before, *said]
    hits, asked = _growth(seen, "prefix_hit_tokens"), _growth(seen, "prefix_query_tokens")
    power_w = _mean(power, 1)
    return ServerSummary(
        kind=said[-1].kind if said else None,
        samples=sum(1 for sample in part if not (sample.unanswered or sample.unreadable)),
        unanswered=sum(1 for sample in part if sample.unanswered),
        unreadable=sum(1 for sample in part if sample.unreadable),
        left_out=sorted({name for sample in part for name in sample.left_out}.union(_went_back(seen))),
        running_mean=_mean(running, 3),
        running_max=_most(running, int),
        waiting_mean=_mean(waiting, 3),
        waiting_max=_most(waiting, int),
        kv_used_mean=_mean(used, 4),
        kv_used_max=_most(used, float),
        preemptions=_growth(seen, "preemptions"),
        prefix_hit_share=round(min(hits / asked, 1.0), 4) if hits is not None and asked else None,
        gpu_power_w=power_w,
        gpu_busy=_mean(busy, 4),
        gpu_memory_max_bytes=_most(memory, int),
        gpu_energy_j_per_output_token=round(power_w / output_tokens_per_s, 4)
        if power_w and output_tokens_per_s
        else None,
    )


def server_notes(server: ServerSummary | None) -> Iterator[str]:
    """What of a server's metrics could not be used."""
    if server is None:
        return
    if server.left_out:
        names = ", ".join(server.left_out)
        yield f"the server's metrics have values that cannot be right, which are left out: {names}"
    if server.unreadable:
        yield f"{counted(server.unreadable, 'scrape')} of the server's metrics brought nothing that is known"


_TOTALS = ("preemptions", "prefix_hit_tokens", "prefix_query_tokens")


def _went_back(samples: Sequence[ServerSample]) -> Iterator[str]:
    for field in _TOTALS:
        if any(after < before for before, after in pairwise(_of(samples, field))):
            yield f"{field} (went backwards)"


def _of(samples: Sequence[ServerSample], field: str) -> list[float]:
    return [value for sample in samples if (value := getattr(sample, field)) is not None]


def _mean(values: Sequence[float], digits: int) -> float | None:
    return round(sum(values) / len(values), digits) if values else None


def _most(values: Sequence[float], kind: Callable[[float], _Number]) -> _Number | None:
    return kind(max(values)) if values else None


def _growth(samples: Sequence[ServerSample], field: str) -> int | None:
    """How much a total grew. None if there are fewer than two samples, or the server was restarted in between."""
    totals = _of(samples, field)
    if len(totals) < 2 or any(after < before for before, after in pairwise(totals)):
        return None
    return int(totals[-1] - totals[0])
