"""How much faster than real time simulated traffic runs, and whether its memory stays flat.

    python tests/benchmarks/virtual_time.py [--device simulated:h100] [--output FILE.json]

`mixed` on Llama-3.1-8B with 100 and with 1,000 live sessions, each run in a process of its own through the command
line, as a user would; then an hour with 100, with its memory looked at on the way. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.process_memory import resident_mib  # found by the line above

ROUNDS = 3


def bench(device: str, sessions: int, duration_s: float, *, watch_memory: bool = False) -> dict[str, object]:
    """One run: real seconds, virtual seconds, and its resident memory over time (MiB)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "abatch.cli", "bench", "--model", "llama-3.1-8b", "--device", device]
        command += ["-c", str(sessions), "-d", f"{duration_s:g}", "--drain", "10", "-o", f"{folder}/run"]
        started_s = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        memory = []
        while process.poll() is None:
            time.sleep(5.0 if watch_memory else 0.05)
            if watch_memory:
                memory.append(resident_mib(process.pid))
        elapsed_s = time.monotonic() - started_s
        assert process.returncode == 0
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    return {
        "sessions": sessions,
        "virtual_s": duration_s,
        "real_s": elapsed_s,
        "ratio": duration_s / elapsed_s,
        "requests": summary["requests"],
        "steps": summary["engine"]["num_steps"],
        "output_tokens": summary["output_tokens"],
        "resident_mib": memory,
    }


def main() -> None:
    """Run everything, print a table, save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="simulated:h100", help="as for abatch bench")
    parser.add_argument("--output", type=Path, help="save all figures as JSON")
    arguments = parser.parse_args()
    runs = []
    print("| live sessions | virtual s | real s (min-max) | times real time | requests | steps | output tokens |")
    print("|---|---|---|---|---|---|---|")
    for sessions, duration_s in ((100, 600.0), (1000, 300.0)):
        rounds = [bench(arguments.device, sessions, duration_s) for _ in range(ROUNDS)]
        runs += rounds
        seconds = [float(str(run["real_s"])) for run in rounds]
        last, middle = rounds[-1], statistics.median(seconds)
        print(
            f"| {sessions} | {duration_s:.0f} | {middle:.1f} ({min(seconds):.1f}-{max(seconds):.1f}) "
            f"| {duration_s / middle:.1f} | {last['requests']} | {last['steps']} | {last['output_tokens']} |"
        )
    hour = bench(arguments.device, 100, 3600.0, watch_memory=True)
    runs.append(hour)
    memory = hour["resident_mib"]
    assert isinstance(memory, list)
    print(f"\nan hour with 100 sessions: {hour['real_s']:.0f} s, {hour['steps']} steps; resident MiB every 5 s:")
    print(" ".join(f"{value:.0f}" for value in memory[:-1]))
    if arguments.output:
        arguments.output.write_text(json.dumps(runs, indent=2))


if __name__ == "__main__":
    main()
