"""What becomes of resume and chat latency under each --park policy, over load.

    python tests/benchmarks/parking.py simulated            # simulated H100, llama-3.1-8b, virtual time
    python tests/benchmarks/parking.py cpu MODEL_FOLDER     # this machine, through HTTP; minutes

Agents in a closed loop of growing size beside chats at a fixed rate, on the same KV memory. A policy may differ from
another only by what happens between the turns of a session.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abatch.cli.measuring.measure import Plan, run
from abatch.cli.measuring.own_engine import own_engine
from abatch.cli.measuring.progress import Progress
from abatch.cli.options.options import ENGINE_OPTIONS
from abatch.cli.options.traffic import TRAFFIC_OPTIONS, make_traffic
from abatch.engine.parking.config import PARK_POLICIES
from abatch.reports.summary.summary import Summary
from rich.console import Console


@dataclass(frozen=True, slots=True)
class Setting:
    """A machine, and how the traffic is fitted to it. `loads`: live agents."""

    model: str | None
    engine: dict[str, Any]
    traffic: dict[str, Any]
    loads: dict[str, list[int]]
    longest_run: int = 1
    """Times the duration at the smallest load, for as many returns as at the largest: a p99 of few is a maximum."""
    by_preset: dict[str, dict[str, Any]] = field(default_factory=dict)


def simulated(_: str | None) -> Setting:
    return Setting(
        model="llama-3.1-8b",
        engine={"device": "simulated:h100", "kv_memory_bytes": "16GiB", "host_kv_memory_bytes": "64GiB"},
        traffic={"request_rate": 2.0, "duration": 240.0, "warmup": 40.0, "pause_cap": 60.0},
        longest_run=4,
        by_preset={"agent-coding": {"context_scale": 0.1}},
        loads={"agent-tools": [8, 16, 32, 64], "agent-coding": [4, 8, 16, 24]},
    )


def cpu(model: str | None) -> Setting:
    return Setting(
        model=model,
        engine={"device": "cpu", "kv_memory_bytes": "256MiB", "host_kv_memory_bytes": "1GiB", "max_num_seqs": 16},
        traffic={"request_rate": 0.1, "duration": 45.0, "warmup": 8.0, "drain": 6.0, "output_len": 8},
        by_preset={"agent-tools": {"context_scale": 0.3}, "agent-coding": {"context_scale": 0.02}},
        loads={"agent-tools": [5, 9], "agent-coding": [5, 9]},
    )


SETTINGS = {"simulated": simulated, "cpu": cpu}


def measure(setting: Setting, preset: str, load: int, park: str, seed: int, folder: Path) -> Summary:
    traffic = {option.name: option.default for option in TRAFFIC_OPTIONS}
    traffic |= setting.traffic | setting.by_preset.get(preset, {})
    traffic |= {"workload": f"{preset},chat-short", "concurrency": load, "seed": seed}
    traffic["duration"] *= max(1, min(setting.longest_run, max(setting.loads[preset]) // load))
    engine = {option.name: option.default for option in ENGINE_OPTIONS} | setting.engine | {"park": park}
    source = own_engine(
        setting.model,
        seed,
        engine,
        real_time=False,
        has_step_log=False,
        timeout_s=600.0,
        startup_timeout_s=600.0,
    )
    plan = Plan(traffic=make_traffic(traffic), source=source, folder=folder, options={})
    summary, _ = run(plan, Progress(Console(file=sys.stderr, quiet=True)))
    return summary


COLUMNS = (
    "n resume_p50 resume_p99 chat_p50 chat_p99 tok/s kept restored recomputed broken lost_tokens GB errors".split()
)


def figures(summary: Summary) -> list[float]:
    """One for each of `COLUMNS`."""

    def percentile(metric: str, traffic_class: str, name: str) -> float:
        value = summary.metrics.get(metric, {}).get(traffic_class)
        return math.nan if value is None else float(getattr(value, name))

    assert summary.engine is not None
    parking = summary.engine.parking
    assert parking is not None
    return [
        summary.metrics["resume_ttft"]["all"].count,
        percentile("resume_ttft", "all", "p50_ms"),
        percentile("resume_ttft", "all", "p99_ms"),
        percentile("ttft", "chat", "p50_ms"),
        percentile("ttft", "chat", "p99_ms"),
        summary.output_tokens_per_s,
        parking.kept,
        parking.restored,
        parking.recomputed,
        parking.broken,
        parking.recomputed_tokens,
        (parking.offloaded_bytes + parking.restored_bytes) / 1e9,
        sum(summary.errors.values()),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("setting", choices=sorted(SETTINGS))
    arguments.add_argument("model", nargs="?")
    arguments.add_argument("--preset", choices=["agent-tools", "agent-coding"])
    arguments.add_argument("--loads", help="live agents, with commas")
    arguments.add_argument("--seeds", type=int, default=1, help="medians over so many runs of each")
    arguments.add_argument("--park", default=",".join(PARK_POLICIES))
    given = arguments.parse_args()
    setting = SETTINGS[given.setting](given.model)
    print("| " + " | ".join(["preset", "agents", "park", *COLUMNS]) + " |")
    for preset, loads in setting.loads.items():
        if given.preset not in (None, preset):
            continue
        for load in [int(text) for text in given.loads.split(",")] if given.loads else loads:
            for park in given.park.split(","):
                runs = []
                for seed in range(given.seeds):
                    with tempfile.TemporaryDirectory() as folder:
                        runs.append(figures(measure(setting, preset, load, park, seed, Path(folder) / "run")))
                cells = [f"{statistics.median(values):.6g}" for values in zip(*runs, strict=True)]
                print("| " + " | ".join([preset, str(load), park, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
