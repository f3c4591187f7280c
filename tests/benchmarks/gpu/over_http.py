"""What clients see of static and of asynchronous batching under mixed traffic: `abatch compare`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import Setting, SkippedError

_MODES = ("async", "window")
"""What users get by default, then what it is compared with."""
_START_S = 35.0
"""For a server to load where nobody has measured it."""
_AROUND_S = 15.0
"""For the processes around an engine, and for what a server does besides."""
_LEAST_S, _MOST_S = 12.0, 40.0
"""Of sending, in each run."""
_DRAIN_S = 4.0
_CLASS = "chat"


def run(setting: Setting) -> None:
    """One round of both modes, as long as time allows."""
    duration_s = sending_s(setting)
    folder = setting.work / "http"
    options = {
        "--batching": ",".join(_MODES),
        "--workload": "mixed",
        "--rounds": "1",
        "--duration": f"{duration_s:.0f}",
        "--drain": setting.choose(f"{_DRAIN_S:g}", "1"),
        "--output": str(folder),
        "--device": setting.device,
        "--host-kv-memory": "0",
        **setting.choose(
            {
                "--model": setting.model,
                "--load-format": "dummy",
                "--dtype": "bfloat16",
                "--kv-memory": "40GiB",  # sized by the server itself, it would take longer
                "--max-num-seqs": "64",
                "--max-num-batched-tokens": str(setting.http_batched_tokens),
            },
            {
                "--model": "tiny",
                "--max-num-seqs": "8",
                "--max-num-batched-tokens": "128",
                "--concurrency": "6",
                "--context-scale": "0.1",
            },
        ),
    }
    setting.figures.add("max_num_batched_tokens", value=int(options["--max-num-batched-tokens"]))
    setting.figures.add("duration_s", value=round(duration_s))
    command = [
        sys.executable,
        "-P",
        "-m",
        "abatch.cli",
        "compare",
        *(word for pair in options.items() for word in pair),
    ]
    log = setting.work / "compare.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        found: set[str] = set()
        while (is_running := process.poll() is None) and setting.left_s > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
            found |= _take(setting, folder, found)
        process.kill()
    # Its exit code may say that there are differences; what has failed is a run that is not there.
    if not found:
        said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        why = "its time was over" if is_running else " ".join(said[-3:])
        raise RuntimeError(f"abatch compare left no run that is whole: {why}")


def _take(setting: Setting, folder: Path, known: set[str]) -> set[str]:
    """Take in the runs that have ended since; their modes."""
    new = set()
    for mode in _MODES:
        if mode not in known and (summary := _summary(folder / mode / "round-1")) is not None:
            setting.figures.add("modes", mode, value=summary)
            new.add(mode)
    return new


def sending_s(setting: Setting) -> float:
    """Seconds of sending in each run that fit into the time left. The least there is may cost the second run.

    Raises:
        SkippedError: not even one run fits.
    """
    if setting.is_dry:
        return 2.0
    build_s = setting.known("peers", "D", "build_s")
    around_s = (_START_S if build_s is None else build_s) + _AROUND_S + _DRAIN_S
    if setting.left_s < around_s + _LEAST_S:
        raise SkippedError(f"{setting.left_s:.0f} s are too little for a server and its load")
    return min(max(_LEAST_S, setting.left_s / len(_MODES) - around_s), _MOST_S)


def _summary(folder: Path) -> dict[str, Any] | None:
    """What matters of a run; None if it is not whole."""
    try:
        summary = json.loads((folder / "summary.json").read_bytes())
    except (OSError, ValueError):
        return None
    found: dict[str, Any] = {name: summary.get(name) for name in ("requests", "succeeded", "output_tokens_per_s")}
    for metric in ("ttft", "itl", "e2e"):
        of_class = summary["metrics"].get(metric, {}).get(_CLASS) or summary["metrics"].get(metric, {}).get("all")
        if of_class is not None:
            found[metric] = {name: of_class[name] for name in ("count", "p50_ms", "p99_ms", "tail_ratio", "verdict")}
    if (engine := summary.get("engine")) is not None:
        found["device_idle"] = engine["device_idle"]
        found["device_step_ms"] = engine["device_step_ms"]
    return found
