"""One job, in this process, as `run.py` starts it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    # Whatever else is called `benchmarks` on this machine, here it is the folder above this one.
    sys.modules["benchmarks"] = ModuleType("benchmarks")
    sys.modules["benchmarks"].__path__ = [str(Path(__file__).resolve().parents[1])]
    # Nothing may reach for a hub. Before transformers is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.gpu.setting import Figures, Setting, SkippedError  # found by the lines above

SKIPPED = 75
"""Exit code of a job that has nothing to measure; why is the last line it says."""
_LONGEST_OVERTIME_S = 15.0
"""Its starter kills a job earlier, unless it is gone itself."""


def run(key: str, setting: Setting) -> None:
    """Each part imports what it needs itself: one that cannot be imported is its own failure only."""
    part, _, name = key.partition("/")
    match part:
        case "smoke":
            from benchmarks.gpu import smoke

            smoke.run(setting)
        case "tests":
            from benchmarks.gpu import device_tests

            device_tests.run(setting.within(part, name or "device"), name)
        case "machine":
            from benchmarks.gpu import machine

            machine.run(setting.within(part))
        case "steps":
            from benchmarks.gpu import steps

            steps.run(setting, name or "default")
        case "kernels":
            from benchmarks.gpu import kernel_times

            kernel_times.run(setting.within(part))
        case "ours":
            from benchmarks.gpu import ours

            ours.run(setting)
        case "peers":
            from benchmarks.gpu import peers

            peers.run(setting.within(part, name), name)
        case "http":
            from benchmarks.gpu import over_http

            over_http.run(setting.within(part))
        case "stuck":
            setting.figures.add(part, "before", value=1)
            time.sleep(3600)
        case _:
            setting.figures.add(part, "before", value=1)
            raise RuntimeError("this job always fails")


def main() -> None:
    """Parse, run, and leave with what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--budget", type=float, required=True)
    parser.add_argument("--http-batched-tokens", type=int, required=True)
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    setting = Setting(
        work=arguments.work,
        report=arguments.report,
        is_dry=arguments.dry_run,
        budget_s=arguments.budget,
        figures=Figures(arguments.figures),
        http_batched_tokens=arguments.http_batched_tokens,
    )
    threading.Thread(target=_end_with_starter, args=(os.getppid(), setting), daemon=True).start()
    code = 0
    try:
        if not setting.is_dry and not _has_cuda():
            raise SkippedError("there is no CUDA device; --dry-run goes through everything on a CPU")
        run(arguments.key, setting)
    except SkippedError as error:
        print(error, file=sys.stderr)
        code = SKIPPED
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Other packages' threads, and graphs that are taken down one by one, are not waited for.
    os._exit(code)


def _end_with_starter(starter: int, setting: Setting) -> None:
    """Take this process group down once whoever started it is gone: a job must not hold the device for nobody."""
    while os.getppid() == starter and setting.left_s > -_LONGEST_OVERTIME_S:
        time.sleep(1.0)
    os.killpg(0, signal.SIGKILL)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
