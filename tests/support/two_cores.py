"""Two cores of a processor as a simulated device: multiplying takes longer than reading from about ten rows on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PROFILE = {
    "name": "two cores",
    "bandwidth_bytes_per_s": 45e9,
    "flops_per_s": 690e9,
    "memory_bytes": 16e9,
    "launch_s": 3e-4,
    "host": {"step_s": 1e-3, "sequence_s": 3e-5},
}
"""SmolLM2-135M in float32: a step of B sequences takes the longer of 14 ms and B x 1.3 ms."""

LIMITS = ("--max-num-seqs", "64", "--max-num-batched-tokens", "256")
"""Of an engine on a CPU, which a simulated device is not."""

SHORT_CHATS = ("--workload", "chat-short", "--turns", "1", "--input-len", "45", "--output-len", "64")


def write_profile(folder: Path) -> str:
    """Write the profile there, and return the name of the device."""
    path = folder / "two-cores.json"
    path.write_text(json.dumps(PROFILE))
    return f"simulated:{path}"


def figures(run: Path) -> dict[str, float]:
    """Of a run's folder: ttft and itl at p50 and p99 in ms, itl p99/p50, tokens per second."""
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    found: dict[str, float] = {}
    for name in ("ttft", "itl"):
        metric = summary["metrics"][name]["all"]
        found |= {f"{name} p50": metric["p50_ms"], f"{name} p99": metric["p99_ms"]}
    return found | {"itl p99/p50": found["itl p99"] / found["itl p50"], "tokens/s": summary["output_tokens_per_s"]}
