"""Whether a device that was calibrated behaves, simulated, as it does: `mixed` on this machine and on its profile.

    python tests/benchmarks/simulated_as_measured.py [--model MODEL ...] [--rounds 2] [--duration 40] [--output F]

Each model is calibrated, then benchmarked on the CPU through HTTP in several rounds with seeds of their own, and
simulated with the same workload, rate and seeds. `mixed` has arrivals of its own there (a third of what the CPU can
take to two thirds), contexts that are a fifth as long as usual, four turns, and answers of 32 tokens: with longer ones
an hour would have a few hundred requests. Requests that were answered both ways are compared, all rounds together: exit
code 1 where a p50 of the simulation is more than 10% off or a p99 more than 20%.

Nothing else should run meanwhile. Without --model: SmolLM2-135M-Instruct, fetched once, and tiny, in about six minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from abatch.cli.measuring.run import Run
from abatch.engine.simulation.measured_steps import quantile
from abatch.workloads.result import Result

METRICS = ("ttft", "itl", "e2e")
LIMITS = {"p50": (0.50, 0.10), "p99": (0.99, 0.20)}
"""Share of the samples, and how far off the simulation may be."""
SESSION_RATES = {"tiny": 3.0}
DEFAULT_SESSION_RATE = 0.35
WORKLOAD = ("--workload", "mixed", "--context-scale", "0.2", "--turns", "4", "--output-len", "32", "--idle-probe", "0")
CALIBRATION_S = 45
_ABATCH = (sys.executable, "-P", "-m", "abatch.cli")


def abatch(*words: str) -> str:
    """Run a command to its end and return what it says."""
    done = subprocess.run([*_ABATCH, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"abatch {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def answered(folder: Path) -> dict[tuple[str, int], Result]:
    """The requests of a run that came to their end, by session and turn."""
    results = Run(folder).results()
    return {(one.session_id, one.turn_index): one for one in results if one.has_latency and not one.censored}


def samples(results: Sequence[Result]) -> dict[str, list[float]]:
    """Their latencies in ms, ascending."""
    gaps = [gap for result in results for gap in result.gaps_us]
    found = {"ttft": [one.ttft_us for one in results], "itl": gaps, "e2e": [one.e2e_us for one in results]}
    return {metric: sorted(value / 1e3 for value in values) for metric, values in found.items()}


def compare(
    model: str, rounds: int, duration_s: float, engine: Sequence[str], folder: Path
) -> tuple[list[dict[str, Any]], str]:
    """Calibrate a model, run it both ways, and set the percentiles side by side. Also what was compared, in words."""
    profile = folder / "profile.json"
    device = ["--device", "cpu", "--model", model, *engine]
    said = abatch("calibrate", *device, "--duration", str(CALIBRATION_S), "--output", str(profile))
    print(said, file=sys.stderr)
    load = [*WORKLOAD, "--session-rate", str(SESSION_RATES.get(model, DEFAULT_SESSION_RATE))]
    both: dict[str, list[Result]] = {"real": [], "simulated": []}
    for seed in range(rounds):
        pace = [*load, "--duration", f"{duration_s:g}", "--seed", str(seed)]
        real, simulated = folder / f"real-{seed}", folder / f"simulated-{seed}"
        abatch("bench", *device, *pace, "--output", str(real))
        abatch("bench", "--device", f"simulated:{profile}", *pace, "--output", str(simulated))
        measured, made = answered(real), answered(simulated)
        both["real"] += [measured[key] for key in measured if key in made]
        both["simulated"] += [made[key] for key in measured if key in made]
    by_kind = {kind: samples(results) for kind, results in both.items()}
    rows = []
    for metric in METRICS:
        for name, (share, limit) in LIMITS.items():
            real_ms, simulated_ms = (quantile(by_kind[kind][metric], share) for kind in ("real", "simulated"))
            rows.append(
                {
                    "model": Path(model).name,
                    "metric": f"{metric} {name}",
                    "real_ms": real_ms,
                    "simulated_ms": simulated_ms,
                    "ratio": simulated_ms / real_ms,
                    "is_within": abs(simulated_ms / real_ms - 1) <= limit,
                }
            )
    return rows, f"{Path(model).name}: {len(both['real'])} requests both ways; {_tokens(both)}"


def _tokens(both: dict[str, list[Result]]) -> str:
    parts = []
    for kind, results in both.items():
        prompt = statistics.mean(one.prompt_tokens or 0 for one in results)
        cached = statistics.mean(one.cached_tokens or 0 for one in results)
        parts.append(f"{kind} prompts of {prompt:.0f} tokens on average, {cached:.0f} of them cached")
    return ", ".join(parts)


def main() -> None:
    """Compare all models, print a table, save the figures, fail where one is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeatable; SmolLM2-135M-Instruct and tiny if not given")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind, with seeds of their own")
    parser.add_argument("--duration", type=float, default=40.0, help="seconds of each run")
    parser.add_argument("--engine", default="", help="options of abatch serve, such as '--num-threads 1'")
    parser.add_argument("--folder", type=Path, help="a new folder to keep profiles and runs in")
    parser.add_argument("--output", type=Path, help="save all figures as JSON")
    arguments = parser.parse_args()
    models = arguments.model
    if models is None:
        sys.path.insert(0, str(Path(__file__).parent.parent))
        from support.smollm2 import smollm2_folder

        models = [str(smollm2_folder()), "tiny"]
    rows: list[dict[str, Any]] = []
    print("| model | metric | real ms | simulated ms | ratio | within |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    notes = []
    for model in models:
        kept = arguments.folder and arguments.folder / Path(model).name
        if kept:
            kept.mkdir(parents=True)
        with nullcontext(str(kept)) if kept else tempfile.TemporaryDirectory(prefix="abatch-") as folder:
            of_model, note = compare(
                model, arguments.rounds, arguments.duration, arguments.engine.split(), Path(folder)
            )
        notes.append(note)
        for row in of_model:
            print(
                f"| {row['model']} | {row['metric']} | {row['real_ms']:.2f} | {row['simulated_ms']:.2f} "
                f"| {row['ratio']:.2f} | {'yes' if row['is_within'] else 'NO'} |",
                flush=True,
            )
        rows += of_model
    print("\n" + "\n".join(notes))
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=2))
    sys.exit(0 if all(row["is_within"] for row in rows) else 1)


if __name__ == "__main__":
    main()
