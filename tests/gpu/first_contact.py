"""The first call on a machine with a GPU: whether the CUDA path computes what it should, and what its steps cost.

    python3 tests/gpu/first_contact.py FOLDER [--dry-run]

At most 270 seconds. It is `tests/benchmarks/gpu/run.py --output FOLDER --call 1`, which see.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_RUN = Path(__file__).resolve().parents[1] / "benchmarks/gpu/run.py"

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(f"usage: {Path(sys.argv[0]).name} FOLDER [--dry-run]")
    # In its place, so that whoever ends this process ends that one.
    os.execv(sys.executable, [sys.executable, str(_RUN), "--call", "1", "--output", *sys.argv[1:]])
