"""What a job of the benchmark is told, and where its figures go."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from abatch.engine.config import EngineConfig
from abatch.engine.simulation.model_shape import ModelShape, load_shape

_DRY_MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
}


class SkippedError(Exception):
    """There is nothing to measure, for a reason that is no fault."""


class Figures:
    """A tree of numbers that is on disk after each of them: a job that is killed leaves what it had."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tree: dict[str, Any] = {}
        self._keys: tuple[str, ...] = ()

    def within(self, *keys: str) -> Figures:
        """A branch of the same tree."""
        branch = Figures(self._path)
        branch._tree, branch._keys = self._tree, (*self._keys, *keys)
        return branch

    def add(self, *keys: str, value: Any) -> None:
        """Put a value where the keys lead to."""
        *folders, last = (*self._keys, *keys)
        tree = self._tree
        for key in folders:
            tree = tree.setdefault(key, {})
        tree[last] = value
        write_json(self._path, self._tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A job's circumstances.

    Attributes:
        work: Folder for logs, models and runs.
        report: What all jobs so far have found: see `Report`.
        is_dry: Tiny shapes on a CPU: the same code, numbers that mean nothing.
        budget_s: Time there is, the job's imports among it.
        figures: Where this one's go.
        http_batched_tokens: Token budget of a step where latency over HTTP is measured.
    """

    work: Path
    report: Path
    is_dry: bool
    budget_s: float
    figures: Figures
    http_batched_tokens: int = 512
    began_s: float = field(default_factory=time.monotonic)

    def within(self, *keys: str, share: float = 1.0) -> Setting:
        """The same for a part of the job, with a share of the time that is left."""
        used_s = time.monotonic() - self.began_s
        return replace(self, figures=self.figures.within(*keys), budget_s=used_s + share * max(0.0, self.left_s))

    @property
    def left_s(self) -> float:
        """Time left. Whoever starts something should know that it fits."""
        return self.began_s + self.budget_s - time.monotonic()

    @property
    def device(self) -> str:
        """A torch device."""
        return "cpu" if self.is_dry else "cuda"

    @property
    def model(self) -> str:
        """A built-in shape, or in a dry run the folder of a tiny one's configuration."""
        if not self.is_dry:
            return "llama-3.1-8b"
        config = self.work / "model" / "config.json"
        if not config.is_file():
            write_json(config, _DRY_MODEL)
        return str(config.parent)

    @property
    def shape(self) -> ModelShape:
        """The model's sizes."""
        return load_shape(self.model)

    @property
    def bytes_per_number(self) -> int:
        """Of weights and KV: bfloat16, or in a dry run float32, in which all must sample the same tokens."""
        return 4 if self.is_dry else 2

    def choose(self, real: Any, dry: Any) -> Any:
        """The one or the other."""
        return dry if self.is_dry else real

    def engine_config(self, *, num_kv_tokens: int, **options: Any) -> EngineConfig:
        """Random weights of the same seed for everybody, and no host tier: pinning its memory takes seconds.

        Args:
            num_kv_tokens: Room for keys and values. Sized by the engine itself, it would take longer.
            options: The rest.
        """
        return EngineConfig(
            model=self.model,
            load_format="dummy",
            device=self.device,
            dtype="float32" if self.is_dry else "bfloat16",
            kv_memory_bytes=num_kv_tokens * self.shape.kv_bytes_per_token(self.bytes_per_number),
            host_kv_memory_bytes=0,
            **({"attention": "sdpa"} if self.is_dry else {}) | options,
        )

    def known(self, *keys: str) -> Any:
        """A figure that a job before this one has left; None if there is none."""
        try:
            tree = json.loads(self.report.read_bytes())["parts"]
            for key in keys:
                tree = tree[key]
        except (OSError, ValueError, KeyError):
            return None
        return tree


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, extremes and number of some measurements."""
    ordered = sorted(values)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return {"median": median, "min": ordered[0], "max": ordered[-1], "n": len(ordered)}


def error_line(error: Exception) -> str:
    """An error as one line of a table."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]


def write_json(path: Path, tree: Any) -> None:
    """Write a file anew, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(tree, indent=1))
    os.replace(new, path)
