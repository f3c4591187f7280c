"""Our parts that can share one loaded model: side by side with transformers, and how much the device stands still."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from benchmarks.gpu import idle, machine, peers
from benchmarks.gpu.driving import EngineBench
from benchmarks.gpu.setting import Setting, error_line

_SHARE_OF_PEERS = 0.6


def run(setting: Setting) -> None:
    """Both of them, over an engine with the limits that `peers` has: those of `idle` are smaller.

    Raises:
        RuntimeError: one of them failed. The other has been measured.
    """
    bytes_per_s = machine.identify(setting.within("machine"))
    loads = peers.loads_of(setting)
    bench = EngineBench(setting, peers.engine_config(setting, loads))

    def beside_peers() -> None:
        peers.measure_ours(setting.within("peers", "D", share=_SHARE_OF_PEERS), bench, loads, bytes_per_s)

    def standing_still() -> None:
        idle.run(setting.within("idle"), bench)

    parts: dict[str, Callable[[], None]] = {"peers": beside_peers, "idle": standing_still}
    failed = []
    for name, part in parts.items():
        try:
            part()
        except Exception as error:
            traceback.print_exc()
            failed.append(f"{name}: {error_line(error)}")
    if failed:
        raise RuntimeError("; ".join(failed))
