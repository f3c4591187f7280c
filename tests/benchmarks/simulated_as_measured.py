"""Whether a device that was calibrated behaves, simulated, as it does: `mixed` on this machine and on its profile.

    python tests/benchmarks/simulated_as_measured.py [--model MODEL ...] [--rounds 2] [--duration 45] [--output F]

Each model is calibrated, then benchmarked on the CPU through HTTP in several rounds with seeds of their own, and
simulated with the same workload, rate and seeds. The figures of all rounds together are compared: exit code 1 where a
p50 of the simulation is more than 10% off or a p99 more than 20%. Nothing else should run meanwhile. Without --model:
SmolLM2-135M-Instruct, fetched once, and tiny; that takes five minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abatch.cli.measuring.run import Run
from abatch.engine.simulation.measured_steps import quantile

METRICS = ("ttft", "itl", "e2e")
LIMITS = {"p50": 0.10, "p99": 0.20}
SHARES = {"p50": 0.50, "p99": 0.99}
SESSIONS = {"tiny": 6}
"""Live sessions where another number than the default loads the CPU moderately."""
DEFAULT_SESSIONS = 3
_ABATCH = (sys.executable, "-P", "-m", "abatch.cli")


def abatch(*words: str) -> None:
    """Run a command to its end; what it says is shown only if it fails."""
    done = subprocess.run([*_ABATCH, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"abatch {' '.join(words)} failed:\n{done.stdout}{done.stderr}")


def samples(folders: Sequence[Path]) -> dict[str, list[float]]:
    """All latencies of the measured parts of some runs, in ms, ascending."""
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for folder in folders:
        for result in Run(folder).results():
            if result.has_latency and not result.censored:
                found["ttft"].append(result.ttft_us / 1e3)
                found["itl"] += [gap / 1e3 for gap in result.gaps_us]
                found["e2e"].append(result.e2e_us / 1e3)
    return {name: sorted(values) for name, values in found.items()}


def compare(model: str, rounds: int, duration_s: float, folder: Path) -> list[dict[str, Any]]:
    """Calibrate a model, run it both ways, and set the percentiles side by side."""
    profile = folder / "profile.json"
    abatch("calibrate", "--device", "cpu", "--model", model, "--output", str(profile), "--quiet")
    load = ["--workload", "mixed", "--concurrency", str(SESSIONS.get(model, DEFAULT_SESSIONS))]
    load += ["--duration", f"{duration_s:g}", "--idle-probe", "0"]
    folders: dict[str, list[Path]] = {"real": [], "simulated": []}
    for seed in range(rounds):
        for kind, words in (
            ("real", ["--device", "cpu", "--model", model]),
            ("simulated", ["--device", f"simulated:{profile}"]),
        ):
            folders[kind].append(folder / f"{kind}-{seed}")
            abatch("bench", *words, *load, "--seed", str(seed), "--output", str(folders[kind][-1]))
    real, simulated = samples(folders["real"]), samples(folders["simulated"])
    rows = []
    for metric in METRICS:
        for name, share in SHARES.items():
            measured_ms, simulated_ms = quantile(real[metric], share), quantile(simulated[metric], share)
            rows.append(
                {
                    "model": Path(model).name,
                    "metric": f"{metric} {name}",
                    "real_ms": measured_ms,
                    "simulated_ms": simulated_ms,
                    "ratio": simulated_ms / measured_ms,
                    "is_within": abs(simulated_ms / measured_ms - 1) <= LIMITS[name],
                    "samples": [len(real[metric]), len(simulated[metric])],
                }
            )
    return rows


def main() -> None:
    """Compare all models, print a table, save the figures, fail where one is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeatable; SmolLM2-135M-Instruct and tiny if not given")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind, with seeds of their own")
    parser.add_argument("--duration", type=float, default=45.0, help="seconds of each run")
    parser.add_argument("--output", type=Path, help="save all figures as JSON")
    arguments = parser.parse_args()
    models = arguments.model
    if models is None:
        sys.path.insert(0, str(Path(__file__).parent.parent))
        from support.smollm2 import smollm2_folder

        models = [str(smollm2_folder()), "tiny"]
    rows: list[dict[str, Any]] = []
    print("| model | metric | real ms | simulated ms | ratio | within | samples, real and simulated |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    for model in models:
        with tempfile.TemporaryDirectory(prefix="abatch-as-measured-") as folder:
            of_model = compare(model, arguments.rounds, arguments.duration, Path(folder))
        for row in of_model:
            real, simulated = row["samples"]
            print(
                f"| {row['model']} | {row['metric']} | {row['real_ms']:.2f} | {row['simulated_ms']:.2f} "
                f"| {row['ratio']:.2f} | {'yes' if row['is_within'] else 'NO'} | {real}, {simulated} |",
                flush=True,
            )
        rows += of_model
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=2))
    sys.exit(0 if all(row["is_within"] for row in rows) else 1)


if __name__ == "__main__":
    main()
