"""What clients see of static, continuous and asynchronous batching under mixed traffic: `abatch compare`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import Setting, SkippedError

_START_S = 40.0
"""For a server to load where nobody has measured it."""
_AROUND_S = 22.0
"""For the processes around an engine, and for what a server does besides: it sizes its KV memory by itself."""
_LEAST_S, _MOST_S = 12.0, 40.0
"""Of sending, in each run."""
_DRAIN_S = 4.0
_CLASS = "chat"


def run(setting: Setting) -> None:
    """One round of all modes, as long as time allows; without `continuous` if three do not fit."""
    modes, duration_s = plan(setting)
    folder = setting.work / "http"
    options = {
        "--batching": ",".join(modes),
        "--model": setting.choose(setting.model, "tiny"),
        "--load-format": setting.choose("dummy", "auto"),
        "--device": setting.device,
        "--dtype": setting.choose("bfloat16", "float32"),
        "--max-num-batched-tokens": str(setting.choose(setting.http_batched_tokens, 128)),
        "--workload": "mixed",
        "--rounds": "1",
        "--duration": f"{duration_s:.0f}",
        "--drain": f"{_DRAIN_S:g}",
        "--output": str(folder),
    } | setting.choose({}, {"--concurrency": "6", "--context-scale": "0.1", "--max-num-seqs": "8"})
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
    why = ""
    with log.open("wb") as output:
        try:
            # Its exit code may say that there are differences; what has failed is a run that is not there.
            subprocess.run(
                command,
                timeout=max(5.0, setting.left_s),
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except subprocess.TimeoutExpired:
            why = "its time was over"
    found = {mode: summary for mode in modes if (summary := _summary(folder / mode / "round-1")) is not None}
    for mode, summary in found.items():
        setting.figures.add("modes", mode, value=summary)
    if not found:
        said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise RuntimeError(f"abatch compare left no run that is whole: {why or ' '.join(said[-3:])}")


def plan(setting: Setting) -> tuple[list[str], float]:
    """Modes, and seconds of sending in each run, that fit into the time left.

    Raises:
        SkippedError: not even two modes do.
    """
    if setting.is_dry:
        return ["window", "async"], 2.0
    build_s = setting.known("steps", "default", "build_s")
    around_s = (_START_S if build_s is None else build_s) + _AROUND_S + _DRAIN_S
    for modes in (["window", "async", "continuous"], ["window", "async"]):
        duration_s = setting.left_s / len(modes) - around_s
        if duration_s >= _LEAST_S:
            return modes, min(duration_s, _MOST_S)
    raise SkippedError(f"{setting.left_s:.0f} s are too little for two servers")


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
