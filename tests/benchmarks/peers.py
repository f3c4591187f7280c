"""abatch beside other load generators, all on the same null server: what a request costs them, and how right they are.

    python tests/benchmarks/peers.py [--guidellm VENV] [--aiperf VENV --tokenizer FOLDER] [--rates 20,50,100,200]
        [--seconds N] [--rounds N]

VENV: a virtual environment with that tool in it (guidellm 0.8.1, aiperf 0.13.0); without it the tool is left out. Both
want a tokenizer's FOLDER. Each run is a process of its own on a new null server, 50 tokens in, 20 out, at a constant
rate; the clients take turns, in reverse order every other round.

CPU is of the client's whole process tree. The same command at 1 request a second for the same time is taken off (its
median over the rounds), and the rest divided by the requests more that were sent: imports, start, end and idling are
not in it, nor is what is not done again for every request. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import aiohttp
from abatch.engine.null_server.truth import Truth, read_truths
from abatch.reports.statistics.percentile import rank_at

INPUT_TOKENS, OUTPUT_TOKENS = 50, 20
SERVER = ["-m", "abatch.cli", "null-server", "--port", "0", "--ttft", "50", "--itl", "10"]
BASE_RATE = 1.0
_PATIENCE_S = 180.0
"""For all that a tool does beside sending."""
_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Account:
    """Of a run: the client's, or the server's own. Whole answers, and milliseconds; NaN: nothing is said."""

    num_whole: float = math.nan
    ttft_p50: float = math.nan
    ttft_p99: float = math.nan
    e2e_p99: float = math.nan


@dataclass(frozen=True, slots=True)
class Client:
    """`command` is made of URL, rate and seconds; `report` reads what it left in the folder it ran in."""

    name: str
    command: Callable[[str, float, float], list[str]]
    report: Callable[[Path], Account]
    environment: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Run:
    """`late_p99_ms`: against a clockwork of that rate that is never ahead of a request's arrival at the server."""

    said: Account
    true: Account
    cpu_s: float
    num_sent: int
    late_p99_ms: float


async def bare_client(url: str, rate: float, seconds: float) -> None:
    """Send when it is time, read to the end, look at nothing."""
    prompt = "word " * INPUT_TOKENS
    options = '"stream":true,"stream_options":{"include_usage":true}'
    body = f'{{"model":"m",{options},"max_tokens":{OUTPUT_TOKENS},"messages":[{{"role":"user","content":"{prompt}"}}]}}'
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as tasks:

        async def ask() -> None:
            headers = {"Content-Type": "application/json"}
            async with http.post(f"{url}/v1/chat/completions", data=body.encode(), headers=headers) as response:
                async for _data in response.content.iter_any():
                    pass

        clock = asyncio.get_running_loop().time
        start_s = clock()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(start_s + number / rate - clock())
            tasks.create_task(ask())


def bare() -> Client:
    def command(url: str, rate: float, seconds: float) -> list[str]:
        return [sys.executable, str(Path(__file__).resolve()), "--bare", url, f"--rates={rate}", f"--seconds={seconds}"]

    return Client("bare aiohttp", command, lambda _: Account(), {})


def abatch() -> Client:
    def command(url: str, rate: float, seconds: float) -> list[str]:
        traffic = f"--workload chat-short --turns 1 --isl {INPUT_TOKENS} --osl {OUTPUT_TOKENS} --arrival constant"
        pace = f"--request-rate {rate:g} --duration {seconds:g} --warmup 0"
        return [sys.executable, "-m", "abatch.cli", "bench", f"--url={url}", "-o", "run", *f"{traffic} {pace}".split()]

    def report(folder: Path) -> Account:
        summary = json.loads((folder / "run" / "summary.json").read_bytes())
        ttft, e2e = (summary["metrics"][metric]["all"] for metric in ("ttft", "e2e"))
        return Account(summary["succeeded"], ttft["p50_ms"], ttft["p99_ms"], e2e["p99_ms"])

    return Client("abatch", command, report, {})


def guidellm(venv: Path, tokenizer: Path) -> Client:
    def command(url: str, rate: float, seconds: float) -> list[str]:
        parts = {
            "backend": f"kind=openai_http,target={url},model=m",  # `null`, the server's own name, is YAML for nothing
            "tokenizer": f"kind=hf_auto,model={tokenizer}",
            "data": f"kind=synthetic_text,prompt_tokens={INPUT_TOKENS},output_tokens={OUTPUT_TOKENS}",
            "profile": f"kind=constant,rate={rate:g}",
            "constraint": f"kind=max_duration,seconds={seconds:g}",
            "output": "kind=json,path=report.json",
        }
        return [str(venv / "bin" / "guidellm"), "run", "--disable-console", *(f"--{k}={v}" for k, v in parts.items())]

    def report(folder: Path) -> Account:
        metrics = json.loads((folder / "report.json").read_bytes())["benchmarks"][0]["metrics"]
        ttft, e2e_s = (metrics[metric]["successful"] for metric in ("time_to_first_token_ms", "request_latency"))
        ttft_p99, e2e_p99_s = ttft["percentiles"]["p99"], e2e_s["percentiles"]["p99"]
        return Account(ttft["count"], ttft["percentiles"]["p50"], ttft_p99, e2e_p99_s * 1e3)

    return Client("guidellm", command, report, {"HF_HUB_OFFLINE": "1"})


def aiperf(venv: Path, tokenizer: Path) -> Client:
    def command(url: str, rate: float, seconds: float) -> list[str]:
        traffic = f"--isl {INPUT_TOKENS} --osl {OUTPUT_TOKENS} --arrival-pattern constant --request-rate {rate:g}"
        quiet = "--ui none --no-gpu-telemetry --no-server-metrics --artifact-dir out"
        options = f"-m m --endpoint-type chat --streaming {traffic} --benchmark-duration {seconds:g} {quiet}".split()
        return [str(venv / "bin" / "aiperf"), "profile", "-u", url, "--tokenizer", str(tokenizer), *options]

    def report(folder: Path) -> Account:
        summary = json.loads((folder / "out" / "profile_export_aiperf.json").read_bytes())
        ttft, e2e = summary["time_to_first_token"], summary["request_latency"]
        return Account(int(summary["request_count"]["avg"]), ttft["p50"], ttft["p99"], e2e["p99"])

    return Client("aiperf", command, report, {"HF_HUB_OFFLINE": None})


@contextlib.contextmanager
def null_server(log: Path) -> Iterator[str]:
    """The URL of a server that has whole logged what it did when the context is left."""
    server = subprocess.Popen([sys.executable, *SERVER, "--log", str(log)], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        line = server.stderr.readline()
        url = re.search(r"http://\S+", line)
        if url is None:
            raise SystemExit(f"no null server: {line}{server.stderr.read()}")
        yield url[0]
    finally:
        server.terminate()
        server.communicate()


def tree_cpu_s(command: list[str], environment: dict[str, str], folder: Path, timeout_s: float) -> float:
    """Run a command in a folder. Processor seconds of it and of all that it starts, orphans too."""
    with (folder / "output.txt").open("wb") as output:
        parent = os.fork()
        if parent == 0:
            # All descendants of this process are its children in the end, and the time of those that it has waited for
            # is what our own wait gets to know. It spends next to nothing itself.
            try:
                os.setsid()
                ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
                subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
                with contextlib.suppress(ChildProcessError):
                    while True:
                        os.wait()
            finally:
                os._exit(0)
    deadline_s = time.monotonic() + timeout_s
    try:
        while (waited := os.wait4(parent, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"not done after {timeout_s:g} s")
            time.sleep(0.05)
    except BaseException:
        os.killpg(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        raise
    return waited[2].ru_utime + waited[2].ru_stime


def measure(client: Client, rate: float, seconds: float) -> Run | None:
    """One run; None, and why on stderr, if there is nothing to show for it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inherited = {name: value for name, value in os.environ.items() if name not in client.environment}
        environment = inherited | {name: value for name, value in client.environment.items() if value is not None}
        try:
            with null_server(folder / "truth.jsonl") as url:
                cpu_s = tree_cpu_s(client.command(url, rate, seconds), environment, folder, seconds + _PATIENCE_S)
            # A probe asks for fewer tokens and gets them all.
            truths = [t for t in read_truths(folder / "truth.jsonl") if t.fault or t.output_tokens == OUTPUT_TOKENS]
            return _run(client.report(folder), cpu_s, truths, rate)
        except (OSError, LookupError, ValueError, TypeError) as error:
            output = (folder / "output.txt").read_text(errors="replace")[-2000:]
            print(f"{client.name} at {rate:g}/s: {error!r}\n{output}", file=sys.stderr)
            return None


def _run(said: Account, cpu_s: float, truths: list[Truth], rate: float) -> Run:
    whole = [truth for truth in truths if truth.fault is None]
    ttfts_s = [truth.first_s - truth.arrived_s for truth in whole if truth.first_s is not None]
    e2e_p99 = _percentile_ms([truth.end_s - truth.arrived_s for truth in whole], 0.99)
    true = Account(len(whole), _percentile_ms(ttfts_s, 0.5), _percentile_ms(ttfts_s, 0.99), e2e_p99)
    begun_s = [arrived_s - n / rate for n, arrived_s in enumerate(sorted(t.arrived_s for t in truths))]
    late_p99_ms = _percentile_ms([at_s - min(begun_s) for at_s in begun_s], 0.99)
    return Run(said, true, cpu_s, len(truths), late_p99_ms)


def _percentile_ms(values_s: list[float], share: float) -> float:
    return sorted(values_s)[rank_at(100 * share, len(values_s)) - 1] * 1e3


def table(runs: dict[tuple[str, float], list[Run]], rates: list[float], seconds: float) -> Iterator[str]:
    """Markdown: medians over the rounds."""
    names = list(dict.fromkeys(name for name, _ in runs))
    yield "| per s | client | sent | sent late p99 | answered | ttft p50 | ttft p99 | e2e p99 | CPU ms a request |"
    yield "|--:|---|--:|--:|--:|--:|--:|--:|--:|"
    for rate in rates:
        for name in names:
            if not (done := runs[name, rate]):
                continue
            cells = [f"{rate:g}", name, f"{statistics.median(r.num_sent for r in done):g} of {rate * seconds:g}"]
            cells.append(f"{statistics.median(r.late_p99_ms for r in done):.1f}")
            for field in fields(Account):
                said, true = (
                    statistics.median(getattr(account, field.name) for account in accounts)
                    for accounts in ([run.said for run in done], [run.true for run in done])
                )
                decimals = 0 if field.name == "num_whole" else 1
                cells.append(f"{'-' if math.isnan(said) else f'{said:.{decimals}f}'} ({true:.{decimals}f})")
            costs = _costs_ms(base, done) if (base := runs[name, BASE_RATE]) else []
            spread = f" ({min(costs):.2f}-{max(costs):.2f})" if len(costs) > 1 else ""
            cells.append(f"{statistics.median(costs):.2f}{spread}" if costs else "-")
            yield f"| {' | '.join(cells)} |"
    yield "\nMilliseconds. As the client says; in brackets, by the server's own log of that run."
    for name in names:
        if base := runs[name, BASE_RATE]:
            cpu_s = statistics.median(run.cpu_s for run in base)
            yield f"{name}: {cpu_s:.2f} s CPU a run of {base[0].num_sent} requests (taken off)"


def _costs_ms(base: list[Run], done: list[Run]) -> list[float]:
    base_s, base_sent = (statistics.median(getattr(run, key) for run in base) for key in ("cpu_s", "num_sent"))
    return [(run.cpu_s - base_s) / (run.num_sent - base_sent) * 1e3 for run in done if run.num_sent > base_sent]


def main() -> None:
    """Measure the clients in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guidellm", type=Path, metavar="VENV")
    parser.add_argument("--aiperf", type=Path, metavar="VENV")
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER")
    parser.add_argument("--rates", type=lambda text: [float(rate) for rate in text.split(",")], default="20,50,100,200")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", metavar="URL", help=argparse.SUPPRESS)  # this script as the bare client
    arguments = parser.parse_args()
    if arguments.bare:
        asyncio.run(bare_client(arguments.bare, arguments.rates[0], arguments.seconds))
        return
    clients = [bare(), abatch()]
    for make, venv in ((guidellm, arguments.guidellm), (aiperf, arguments.aiperf)):
        if venv is None:
            print(f"{make.__name__} is left out: no --{make.__name__} VENV", file=sys.stderr)
        elif arguments.tokenizer is None or not (venv / "bin" / make.__name__).is_file():
            parser.error(f"--{make.__name__} wants --tokenizer FOLDER, and bin/{make.__name__} in its VENV")
        else:
            clients.append(make(venv.absolute(), arguments.tokenizer.absolute()))
    runs: dict[tuple[str, float], list[Run]] = defaultdict(list)
    for turn in range(arguments.rounds):
        for rate in dict.fromkeys([BASE_RATE, *arguments.rates]):
            for client in clients[:: -1 if turn % 2 else 1]:
                print(f"round {turn + 1}: {client.name} at {rate:g}/s", file=sys.stderr)
                if run := measure(client, rate, arguments.seconds):
                    runs[client.name, rate].append(run)
    print("\n".join(table(runs, arguments.rates, arguments.seconds)))


if __name__ == "__main__":
    main()
