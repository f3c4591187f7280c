"""How evenly tokens come in a closed loop of short chats: the bound on a step's time off and on, side by side.

    python tests/benchmarks/even_steps.py --model FOLDER [--dtype bfloat16] [--rounds 3]   # this machine
    python tests/benchmarks/even_steps.py --simulated [--batching continuous]              # virtual time

Prompts of 45 tokens and 64 out, at 8, 16 and 32 streams, through `abatch bench`. Each round runs off and on in turn
(off, on, on, off, ...); medians over rounds. Nothing else should run on a machine that is measured.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from support.two_cores import LIMITS, SHORT_CHATS, figures, write_profile

_BOUNDS: dict[str, tuple[str, ...]] = {"off": ("--max-step-ms", "0"), "on": ()}


def measure(target: tuple[str, ...], streams: int, seconds: float, bound: str, folder: Path) -> dict[str, float]:
    """The figures of one run."""
    run = folder / "run"
    load = (*SHORT_CHATS, "--concurrency", str(streams), "--duration", str(seconds), "--output", str(run))
    command = [sys.executable, "-m", "abatch.cli", "bench", "--quiet", *target, *load, *_BOUNDS[bound]]
    result = subprocess.run(command, capture_output=True, text=True)
    if not (run / "summary.json").is_file():
        sys.exit(result.stderr)
    return figures(run)


def main() -> None:
    """Run all rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a real model, on this machine's processor")
    parser.add_argument("--simulated", action="store_true", help="smollm2-135m on two simulated cores")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batching", default="async")
    parser.add_argument("--streams", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a run")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    if (arguments.model is None) != arguments.simulated:
        parser.error("give --model FOLDER or --simulated")
    print("| streams | bound | ttft p50 | ttft p99 | itl p50 | itl p99 | itl p99/p50 | tokens/s |")
    print("|--:|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as temporary:
        where: tuple[str, ...]
        if arguments.simulated:
            where = ("--model", "smollm2-135m", "--device", write_profile(Path(temporary)), *LIMITS)
        else:
            where = ("--model", str(arguments.model), "--device", "cpu")
        target = (*where, "--dtype", str(arguments.dtype), "--batching", str(arguments.batching))
        for streams in arguments.streams:
            found: dict[str, list[dict[str, float]]] = {bound: [] for bound in _BOUNDS}
            for number in range(arguments.rounds):
                for bound in list(_BOUNDS)[:: 1 if number % 2 == 0 else -1]:
                    with tempfile.TemporaryDirectory() as folder:
                        cell = measure(target, streams, arguments.seconds, bound, Path(folder))
                    found[bound].append(cell)
            for bound, cells in found.items():
                medians = {name: statistics.median(cell[name] for cell in cells) for name in cells[0]}
                print(f"| {streams} | {bound} | " + " | ".join(f"{value:.4g}" for value in medians.values()) + " |")


if __name__ == "__main__":
    main()
