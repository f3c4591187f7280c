"""A steady server measured beside foreign load: the client's own lateness must never be called the server's tail.

    python tests/benchmarks/attack/foreign_load.py [--duration 20] [--loads 0,2,4,9]

Runs `abatch bench` against a null server of 50 ms to the first token and 10 ms between tokens, beside so many processes
that do nothing but use a processor. Then with the client, and with the server, at the lowest priority; and a server
that really stalls beside a calm client, which must be FLAGGED. Prints the first finding, the rules, and how long the
client was kept waiting. Exits with 1 where a steady server was FLAGGED first or failed a rule, or a real tail was not
seen. On a machine that others use, expect NOT TRUSTED for the real tail too: that is said, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ABATCH = (sys.executable, "-m", "abatch.cli")
_LOWEST = ("nice", "-n", "19")
_RULES = ("ttft.p99/p50 <= 3", "ttft.p99 < 100ms", "max_gap.p99 < 60ms")
_MOST_SHOWN = 110


@contextmanager
def _running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def _busy(number: int) -> Iterator[None]:
    """So many processes that each would use a whole core."""
    if not number:
        yield
        return
    with _running([sys.executable, "-c", "while True: pass"]), _busy(number - 1):
        yield


@contextmanager
def _null_server(options: Sequence[str], priority: Sequence[str]) -> Iterator[str]:
    command = [*priority, *_ABATCH, "null-server", "--port", "0", *options]
    with _running(command, stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        yield server.stderr.readline().partition(" at ")[2].split()[0]


def measure(
    name: str,
    num_busy: int,
    duration_s: float,
    *,
    server: Sequence[str] = (),
    server_priority: Sequence[str] = (),
    client_priority: Sequence[str] = (),
) -> tuple[str, list[str]]:
    """One run. The label of its first finding, and the outcomes of the rules."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _null_server(server, server_priority) as url,
        _busy(num_busy),
    ):
        report = Path(folder) / "report.json"
        command = [*client_priority, *_ABATCH, "bench", "--url", url, "--workload", "chat-short", "--turns", "1"]
        command += ["--output-len", "24", "--request-rate", "40", "--duration", f"{duration_s:g}", "--idle-probe", "0"]
        command += [word for rule in _RULES for word in ("--require", rule)]
        command += ["-o", str(Path(folder) / "run"), "--json", str(report)]
        subprocess.run(command, capture_output=True, timeout=duration_s + 120, check=False)
        found = json.loads(report.read_text())
    first, client = found["findings"][0], found["summary"]["client"]
    outcomes = [rule["outcome"] for rule in found["rules"]]
    waited = client.get("wait_share")
    print(f"{name}, load average {os.getloadavg()[0]:.1f}")
    print(f"  {first['label']}: {first['words']}"[:_MOST_SHOWN])
    print(
        f"  client: lag p99 {client['lag_p99_ms']:.1f} ms, p99.9 {client['lag_p999_ms']:.1f} ms, "
        f"waited {'?' if waited is None else f'{waited:.1%}'} of the time, used {client['cpu_share']:.0%} of a core; "
        f"rules: {', '.join(outcomes)}",
        flush=True,
    )
    return first["label"], outcomes


def main() -> int:
    """Run all of it; the exit code."""
    parser = argparse.ArgumentParser(description="A steady server beside foreign load.")
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--loads", default="0,2,4,9")
    arguments = parser.parse_args()
    seconds, failed = arguments.duration, []
    steady = [
        *((f"{number} busy processes", int(number), {}) for number in arguments.loads.split(",")),
        ("4 busy processes, the client at the lowest priority", 4, {"client_priority": _LOWEST}),
        ("2 busy processes, 8 s", 2, {}),
    ]
    for name, num_busy, options in steady:
        label, outcomes = measure(name, num_busy, 8.0 if name.endswith(" s") else seconds, **options)
        if label == "FLAGGED" or "fail" in outcomes:
            failed.append(f"{name}: {label}, rules {', '.join(outcomes)}")
    label, _ = measure("4 busy processes, the server at the lowest priority", 4, seconds, server_priority=_LOWEST)
    stalls = ("--stall-every", "20", "--stall-for", "0.3")
    label, outcomes = measure("a server that stalls, no busy process", 0, seconds, server=stalls)
    if label not in ("FLAGGED", "NOT TRUSTED") or "pass" in outcomes[2:]:
        failed.append(f"a real tail: {label}, rules {', '.join(outcomes)}")
    for line in failed:
        print(f"FAILED: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
