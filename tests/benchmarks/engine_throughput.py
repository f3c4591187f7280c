"""Tokens per second and step time of the engine against `model.generate` one by one, in one process.

    python tests/benchmarks/engine_throughput.py [--model FOLDER] [--output FILE.json]

Each round runs every contender once, interleaved; the table shows medians over the rounds and their spread. Nothing
else should run meanwhile. Without --model: SmolLM2-135M-Instruct, fetched once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import torch
from abatch.engine.assembly.build import build_engine
from abatch.engine.config import EngineConfig
from abatch.engine.request import Request, SamplingParams
from abatch.engine.scheduling.limits import Batching
from transformers import AutoModelForCausalLM

CONCURRENCY = (1, 8, 16, 32)
PROMPT_TOKENS, OUTPUT_TOKENS, ROUNDS = 55, 64, 3


def prompts(count: int, round_number: int) -> list[list[int]]:
    """Different in every round, so that no prefix is cached."""
    random = Random(f"{count}/{round_number}")
    return [[random.randrange(100, 40_000) for _ in range(PROMPT_TOKENS)] for _ in range(count)]


class EngineContender:
    """The engine in this process: no HTTP, no tokenizer."""

    def __init__(self, model: str, batching: Batching) -> None:
        config = EngineConfig(
            model=model,
            device="cpu",
            dtype="float32",
            batching=batching,
            window_size=max(CONCURRENCY),
            window_timeout_s=0,
        )
        self._engine, _ = build_engine(config)

    def run(self, batch: list[list[int]]) -> dict[str, float]:
        """Tokens per second over all; of a decode step, its duration and what the host does for it."""
        engine, totals = self._engine, self._engine.totals
        for index, prompt in enumerate(batch):
            engine.submit(Request(str(index), list(prompt), SamplingParams(max_tokens=OUTPUT_TOKENS, temperature=0.0)))
        started_s = time.perf_counter()
        steps: list[tuple[float, float]] = []
        while engine.has_work:
            if idle_s := engine.idle_s():
                time.sleep(idle_s)
            before_s, host_s, num_prefill = (
                time.perf_counter() - (idle_s or 0),
                totals.host_s,
                totals.num_prefill_tokens,
            )
            engine.step()
            if totals.num_prefill_tokens == num_prefill:
                steps.append((time.perf_counter() - before_s, totals.host_s - host_s))
        elapsed_s = time.perf_counter() - started_s
        return {
            "tokens_per_s": len(batch) * OUTPUT_TOKENS / elapsed_s,
            "decode_step_ms": statistics.median(step for step, _ in steps) * 1e3,
            "host_ms": statistics.median(host for _, host in steps) * 1e3,
        }


class GenerateContender:
    """`model.generate`, one prompt after the other."""

    def __init__(self, model: str) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def run(self, batch: list[list[int]]) -> dict[str, float]:
        """Tokens per second over all."""
        started_s = time.perf_counter()
        for prompt in batch:
            ids = torch.tensor([prompt])
            self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=OUTPUT_TOKENS,
                min_new_tokens=OUTPUT_TOKENS,
                do_sample=False,
                pad_token_id=0,
            )
        return {"tokens_per_s": len(batch) * OUTPUT_TOKENS / (time.perf_counter() - started_s)}


def main() -> None:
    """Run all rounds, print a table, save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder; SmolLM2-135M-Instruct if not given")
    parser.add_argument("--output", type=Path, help="save all figures as JSON")
    arguments = parser.parse_args()
    if arguments.model is None:
        sys.path.insert(0, str(Path(__file__).parent.parent))
        from support.smollm2 import smollm2_folder

        arguments.model = str(smollm2_folder())
    generate = GenerateContender(arguments.model)
    engines: dict[str, EngineContender] = {
        "async": EngineContender(arguments.model, "async"),
        "continuous": EngineContender(arguments.model, "continuous"),
        "window": EngineContender(arguments.model, "window"),
    }
    generate.run(prompts(1, -1))
    for engine in engines.values():
        engine.run(prompts(2, -1))
    figures: dict[str, dict[str, list[float]]] = {}
    for round_number in range(ROUNDS):
        for concurrency in CONCURRENCY:
            batch = prompts(concurrency, round_number)
            # One by one does not depend on how many wait: four prompts are enough to know.
            results = {"generate": generate.run(batch[:4])}
            for name, engine in engines.items():
                results[name] = engine.run(batch)
            for contender, values in results.items():
                for name, value in values.items():
                    figures.setdefault(f"{contender} x{concurrency}", {}).setdefault(name, []).append(value)
    _print_table(figures)
    if arguments.output:
        versions = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        arguments.output.write_text(json.dumps({"versions": versions, "figures": figures}, indent=2))


def _print_table(figures: dict[str, dict[str, list[float]]]) -> None:
    print("| concurrent | generate tok/s | window | continuous | async (min-max) | ratio | step ms | host ms a step |")
    print("|---|---|---|---|---|---|---|---|")
    for concurrency in CONCURRENCY:

        def rates(contender: str, concurrency: int = concurrency) -> list[float]:
            return figures[f"{contender} x{concurrency}"]["tokens_per_s"]

        engine = figures[f"async x{concurrency}"]
        ours, alone = rates("async"), rates("generate")
        ratio = statistics.median(rate / theirs for rate, theirs in zip(ours, alone, strict=True))
        middle = [f"{statistics.median(rates(name)):.1f}" for name in ("generate", "window", "continuous", "async")]
        print(
            f"| {concurrency} | {' | '.join(middle)} ({min(ours):.1f}-{max(ours):.1f}) | {ratio:.2f} "
            f"| {statistics.median(engine['decode_step_ms']):.1f} | {statistics.median(engine['host_ms']):.2f} |"
        )


if __name__ == "__main__":
    main()
