"""The client against targets that send what no server should.

    python tests/benchmarks/attack/hostile_targets.py [--only WORDS] [--duration 1.5]

`abatch bench` measures each of them as a user would, in a process of its own whose address space is bounded. A run must
end in time with a summary and the right class of failures, or with one line if it cannot begin; no memory may grow
beyond the bound, no rule on what the target made up may pass, nothing may be OK that is not, and no password in a
redirect may be shown. Exits with 1 if something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.hostile_servers import CHAT, METRICS, MODELS, USAGE, HostileServer  # found by the line above
from support.process_memory import peak_mib

_ADDRESS_SPACE_BYTES = 2 << 30
_BOUND_MB = 160
"""Of memory: without any attack a run takes 64 MB."""
_TIMEOUT_S = 2.0
_PATIENCE_S = 60.0
_RULES = ("output_tokens_per_s >= 1000", "output_tokens_per_s <= 1000000", "tpot.p50 <= 10s")
_RULE_INCONCLUSIVE, _FAILED = 4, 1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        summary: What was saved; None if nothing was.
        errors: What the command said on its error output.
    """

    exit_code: int
    summary: dict[str, Any] | None
    output: str
    errors: str
    peak_mb: float
    took_s: float

    @property
    def errors_by_class(self) -> dict[str, int]:
        """Failed requests."""
        return {} if self.summary is None else self.summary["errors"]


async def bench(url: str, folder: Path, duration_s: float, *words: str) -> Ended:
    """One run, to its end."""
    command = [sys.executable, "-m", "abatch.cli", "bench", "--url", url, "--output", str(folder)]
    command += [
        "--workload",
        "chat-short",
        "--osl",
        "8",
        "--isl",
        "20",
        "--concurrency",
        "8",
        "--idle-probe",
        "0",
        "--time-scale",
        "0.02",
    ]
    command += ["--duration", str(duration_s), "--warmup", "0", "--drain", "3", "--timeout", str(_TIMEOUT_S), *words]
    command += ["--api-key", "s3cret", "--server-metrics-interval", "0.2"]
    started_s = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=output,
            stderr=errors,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES,) * 2),
        )
        most_mib = 0.0
        watching = asyncio.create_task(process.wait())
        while not watching.done():
            most_mib = max(most_mib, peak_mib(process.pid))
            if time.monotonic() - started_s > _PATIENCE_S:
                process.kill()
            await asyncio.wait({watching}, timeout=0.05)
        for file in (output, errors):
            file.seek(0)
        said = [file.read().decode(errors="replace") for file in (output, errors)]
    path = folder / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else None
    took_s = time.monotonic() - started_s
    return Ended(await watching, summary, said[0], said[1], most_mib, took_s)


def faults_of_all(ended: Ended) -> list[str]:
    """What must hold of every run."""
    faults = []
    if ended.peak_mb > _BOUND_MB:
        faults.append(f"memory: {ended.peak_mb:.0f} MB")
    if ended.took_s >= _PATIENCE_S:
        faults.append("it did not end")
    if "Traceback" in ended.errors + ended.output:
        faults.append("a traceback")
    if "s3cret" in ended.errors + ended.output + json.dumps(ended.summary):
        faults.append("a secret is shown")
    return faults


def faults_of_chat(ended: Ended, kind: str | None) -> list[str]:
    """What does not hold of a run whose answers are hostile."""
    if ended.summary is None:
        return ["no summary"]
    faults = []
    found = ended.errors_by_class
    if kind is None:
        if found or not ended.summary["succeeded"]:
            faults.append(f"errors {found}")
    else:
        if ended.exit_code != _FAILED:
            faults.append(f"exit {ended.exit_code}")
        if {*found} != {kind}:
            faults.append(f"not {kind}")
        if ended.summary["succeeded"]:
            faults.append("some succeeded")
    return faults


def faults_of_usage(ended: Ended) -> list[str]:
    """What does not hold of a run whose token counts are made up."""
    if ended.summary is None:
        return ["no summary"]
    faults = [] if ended.exit_code == _RULE_INCONCLUSIVE else [f"exit {ended.exit_code}"]
    faults += [f"{word} said" for word in ("PASS", "FAIL ") if word in ended.output]
    if not ended.summary["answers"].get("odd") or ended.summary["output_tokens_per_s"]:
        faults.append("believed")
    if not any("cannot be right" in warning for warning in ended.summary["warnings"]):
        faults.append("not said")
    return faults


def faults_of_metrics(ended: Ended, says: str) -> list[str]:
    """What does not hold of a run whose metrics are hostile."""
    if ended.summary is None or ended.summary["errors"] or not ended.summary["succeeded"]:
        return ["the run was lost"]
    return [] if says in ended.output + json.dumps(ended.summary["warnings"]) else [f"{says!r} is not said"]


def faults_of_models(ended: Ended, says: str) -> list[str]:
    """What does not hold of a command that finds out no model."""
    faults = [] if ended.exit_code == _FAILED else [f"exit {ended.exit_code}"]
    if says not in ended.errors or len(ended.errors.splitlines()) > 3 or len(ended.errors) > 1000:
        faults.append(f"not one line: {ended.errors[:200]!r}")
    return faults


class Attack:
    """Runs against one target after the other, and a line of the table for each."""

    def __init__(self, only: str, duration_s: float) -> None:
        self._only, self._duration_s = only, duration_s
        self.num_faults = 0
        self.peak_mb = 0.0

    async def measure(self, name: str, server: HostileServer, *words: str, url: str | None = None) -> Ended | None:
        """One run against it; None if it is not asked for."""
        if self._only not in name:
            return None
        with tempfile.TemporaryDirectory() as folder:
            async with server.running():
                return await bench(url or server.url, Path(folder) / "run", self._duration_s, *words)

    def show(self, name: str, server: HostileServer, ended: Ended, faults: list[str]) -> None:
        """A line of the table."""
        faults = faults_of_all(ended) + faults
        self.num_faults += bool(faults)
        self.peak_mb = max(self.peak_mb, ended.peak_mb)
        kinds = ", ".join(f"{count} {kind}" for kind, count in ended.errors_by_class.items()) or "-"
        succeeded = 0 if ended.summary is None else ended.summary["succeeded"]
        sent_mb = server.sent_bytes / 1e6
        print(
            f"| {name} | {ended.exit_code} | {succeeded} | {kinds} | {sent_mb:.1f} MB | {ended.peak_mb:.0f} MB"
            f" | {ended.took_s:.1f} s | {'; '.join(faults) or 'held'} |",
            flush=True,
        )

    async def run(self) -> None:
        """All of them."""
        rules = [word for rule in _RULES for word in ("--require", rule)]
        for name, (kind, answer) in CHAT.items():
            server = HostileServer(chat=answer)
            if (ended := await self.measure(name, server)) is not None:
                self.show(name, server, ended, faults_of_chat(ended, kind))
        for name, answer in USAGE.items():
            server = HostileServer(chat=answer)
            if (ended := await self.measure(name, server, *rules)) is not None:
                self.show(name, server, ended, faults_of_usage(ended))
        for name, (says, answer) in METRICS.items():
            server = HostileServer(metrics=answer)
            if (ended := await self.measure(name, server)) is not None:
                self.show(name, server, ended, faults_of_metrics(ended, says))
        for name, (says, answer) in MODELS.items():
            server = HostileServer(models=answer)
            if (ended := await self.measure(name, server)) is not None:
                self.show(name, server, ended, faults_of_models(ended, says))
        name, server = "a name that is nowhere", HostileServer()
        if (ended := await self.measure(name, server, url="http://nowhere.invalid:9")) is not None:
            self.show(name, server, ended, faults_of_models(ended, "cannot reach"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="targets whose name has these words")
    parser.add_argument("--duration", type=float, default=1.5, help="seconds of sending at each")
    arguments = parser.parse_args()
    attack = Attack(arguments.only, arguments.duration)
    print(
        "| target | exit | succeeded | failed | sent | memory | took | |\n|---|---|---|---|---|---|---|---|", flush=True
    )
    asyncio.run(attack.run())
    print(f"\n{attack.num_faults} of them did not hold; the most memory was {attack.peak_mb:.0f} MB")
    return int(bool(attack.num_faults))


if __name__ == "__main__":
    sys.exit(main())
