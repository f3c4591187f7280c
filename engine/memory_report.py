"""Where a device's memory went."""

from __future__ import annotations

import msgspec


class MemoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of device memory, by what they are for.

    Attributes:
        total_bytes: All the device has.
        weight_bytes: The model.
        step_bytes: What the largest step takes beside it, at its peak.
        graph_bytes: Recorded decode steps, as measured before KV was sized.
        kv_bytes: KV blocks.
        free_bytes: What nobody has, once everything stands.
        num_graphs: Recorded decode steps.
    """

    total_bytes: int
    weight_bytes: int
    step_bytes: int
    graph_bytes: int
    kv_bytes: int
    free_bytes: int
    num_graphs: int

    def __str__(self) -> str:
        def gib(count: int) -> str:
            return f"{count / 2**30:.1f} GiB"

        graphs = f", {self.num_graphs} CUDA graphs {gib(self.graph_bytes)}" if self.num_graphs else ""
        return (
            f"device memory {gib(self.total_bytes)}: weights {gib(self.weight_bytes)}, largest step "
            f"{gib(self.step_bytes)}{graphs}, KV {gib(self.kv_bytes)}, free {gib(self.free_bytes)}"
        )
