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
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from abatch.cli.measuring.measure import run
from abatch.cli.measuring.plan import Plan
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.target import TargetOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.parking.config import PARK_POLICIES
from abatch.reports.summary.summary import Summary


@dataclass(frozen=True, slots=True)
class Setting:
    """A machine, and how the traffic is fitted to it. `loads`: live agents."""

    model: str | None
    engine: EngineOptions
    traffic: TrafficOptions
    loads: dict[str, list[int]]
    longest_run: int = 1
    """Times the duration at the smallest load, for as many returns as at the largest: a p99 of few is a maximum."""
    context_scale: dict[str, float] = field(default_factory=dict)
    """By preset; where there is none, prompts keep their length."""


def simulated(_: str | None) -> Setting:
    return Setting(
        model="llama-3.1-8b",
        engine=EngineOptions(device="simulated:h100", kv_memory="16GiB", host_kv_memory="64GiB"),
        traffic=TrafficOptions(session_rate=2.0, duration_s=240.0, warmup_s=40.0, pause_cap_s=60.0),
        longest_run=4,
        context_scale={"agent-coding": 0.1},
        loads={"agent-tools": [8, 16, 32, 64], "agent-coding": [4, 8, 16, 24]},
    )


def cpu(model: str | None) -> Setting:
    return Setting(
        model=model,
        engine=EngineOptions(device="cpu", kv_memory="256MiB", host_kv_memory="1GiB", max_num_seqs=16),
        traffic=TrafficOptions(session_rate=0.1, duration_s=45.0, warmup_s=8.0, drain_s=6.0, output_len=8),
        context_scale={"agent-tools": 0.3, "agent-coding": 0.02},
        loads={"agent-tools": [5, 9], "agent-coding": [5, 9]},
    )


SETTINGS = {"simulated": simulated, "cpu": cpu}


def measure(setting: Setting, preset: str, load: int, park: str, seed: int, folder: Path) -> Summary:
    duration_s = setting.traffic.duration_s
    assert duration_s is not None
    traffic = replace(
        setting.traffic,
        workload=f"{preset},chat-short",
        concurrency=load,
        seed=seed,
        duration_s=duration_s * max(1, min(setting.longest_run, max(setting.loads[preset]) // load)),
        context_scale=setting.context_scale.get(preset, 1.0),
    )
    source = TargetOptions(model=setting.model).source(replace(setting.engine, park=park), seed)
    return run(Plan(traffic=make_traffic(traffic), source=source, folder=folder)).summary


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
    arguments.add_argument("--seeds", type=int, default=1, help="medians over this many runs of each")
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
