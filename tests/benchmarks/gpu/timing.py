"""How long work takes on a device."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch
from benchmarks.gpu.setting import spread

_WARM_UPS = 3


def settle() -> None:
    """Keep the collector off what was built before a loop is timed: a full pass over a model takes it 0.1 s.

    What the loop itself makes is collected as ever: a server does not run without.
    """
    gc.collect()
    gc.freeze()


def times_s(call: Callable[[], object], repeats: int) -> dict[str, float]:
    """Spread of single calls: by CUDA events, or by the clock where there is no CUDA."""
    for _ in range(_WARM_UPS):
        call()
    if not torch.cuda.is_available():
        values = []
        for _ in range(repeats):
            began_s = time.perf_counter()
            call()
            values.append(time.perf_counter() - began_s)
        return spread(values)
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, end in events:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return spread([start.elapsed_time(end) / 1e3 for start, end in events])


def graph_times_s(calls: list[Callable[[], object]], repeats: int = 20) -> dict[str, float]:
    """Spread of the mean time of a call where all of them are replayed as one CUDA graph: no host in it.

    The calls should read different memory, or the cache would flatter them. Without CUDA they are called in turn.
    """

    def all_of_them() -> None:
        for call in calls:
            call()

    replay: Callable[[], object] = all_of_them
    if torch.cuda.is_available():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            all_of_them()  # compiles what is compiled at the first call
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            all_of_them()
        replay = graph.replay
    times = times_s(replay, repeats)
    return {name: value if name == "n" else value / len(calls) for name, value in times.items()}
