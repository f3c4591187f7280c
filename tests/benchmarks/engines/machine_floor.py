"""What the machine reads and multiplies when nothing else is asked of it, and what a step of a model must ask of it.

python tests/benchmarks/engines/machine_floor.py FOLDER [--dtypes float32,bfloat16] [--streams 1,8,16,32]

prints the first as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from abatch.engine.simulation.model_shape import ModelShape, load_shape

DTYPE_BYTES = {"float32": 4, "bfloat16": 2}
_LARGE_BYTES = 512 << 20
"""Many times any cache."""
_SQUARE = 2048
_SECONDS = 2.0
"""For each figure."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What the machine does at its best.

    Attributes:
        copy_bytes_per_s: Read and written.
        flops_per_s: Of large square products, by dtype.
        products_s: By dtype and number of rows: the products of a step, each by `torch.nn.functional.linear` and with
            weights of its own, so that no cache has them.
    """

    copy_bytes_per_s: float
    read_bytes_per_s: float
    flops_per_s: dict[str, float]
    products_s: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class StepNeeds:
    """What a step must do at the least in which every stream gets a token, its share of the prompts included.

    Attributes:
        num_bytes: Every weight once, keys and values of all streams read, and new ones written. Left out: activations
            and logits, which stay in a cache.
        num_flops: Two for each weight and token, and for each query's size, position and head four.
    """

    num_bytes: float
    num_flops: float

    def least_s(self, floor: Floor, dtype: str) -> tuple[float, float]:
        """By memory, and by arithmetic: a step takes no less than the larger of the two."""
        return self.num_bytes / floor.read_bytes_per_s, self.num_flops / floor.flops_per_s[dtype]


def step_needs(shape: ModelShape, dtype: str, num_streams: int, prompt: int, output: int) -> StepNeeds:
    """Of a dense model, for answers of `output` tokens to prompts of `prompt`.

    The first token of an answer comes of its prompt, so an answer is `prompt + output - 1` tokens through the layers
    and `output` through the head.
    """
    tokens = num_streams * (prompt + output - 1) / output
    context = prompt + output / 2
    kv_bytes = shape.kv_bytes_per_token(DTYPE_BYTES[dtype])
    attention = 4 * shape.num_layers * shape.num_heads * shape.head_size * context
    return StepNeeds(
        num_bytes=shape.num_active_params * DTYPE_BYTES[dtype] + (num_streams * context + tokens) * kv_bytes,
        num_flops=tokens * (2 * shape.dense_params + attention) + num_streams * 2 * shape.head_params,
    )


def _least_s(work: Callable[[], object]) -> float:
    """The shortest of some runs: what disturbs them only makes them longer."""
    work()
    durations_s: list[float] = []
    until_s = time.perf_counter() + _SECONDS
    while len(durations_s) < 3 or time.perf_counter() < until_s:
        before_s = time.perf_counter()
        work()
        durations_s.append(time.perf_counter() - before_s)
    return min(durations_s)


def measure(shape: ModelShape, dtypes: Sequence[str], rows: Sequence[int]) -> Floor:
    """Takes about two seconds for each figure."""
    import torch

    source = torch.ones(_LARGE_BYTES // 4)
    target = torch.empty_like(source)
    copy_s = _least_s(lambda: target.copy_(source))
    read_s = min(_least_s(source.sum), _least_s(source.amax))
    flops_per_s: dict[str, float] = {}
    products_s: dict[str, dict[str, float]] = {}
    for dtype in dtypes:
        square = torch.randn(_SQUARE, _SQUARE, dtype=getattr(torch, dtype))
        flops_per_s[dtype] = 2 * _SQUARE**3 / _least_s(lambda square=square: square @ square)  # type: ignore[misc]
        weights = _weights(shape, getattr(torch, dtype))
        products_s[dtype] = {str(count): _least_s(_products(weights, count)) for count in rows}
    return Floor(2 * _LARGE_BYTES / copy_s, _LARGE_BYTES / read_s, flops_per_s, products_s)


def _weights(shape: ModelShape, dtype: Any) -> list[Any]:
    """One of each matrix of each layer, and the head: as many bytes as the model's."""
    import torch

    heads, kv = shape.num_heads * shape.head_size, shape.num_kv_heads * shape.head_size
    hidden, inner = shape.hidden_size, shape.mlp_size
    layer = [(heads + 2 * kv, hidden), (hidden, heads), (2 * inner, hidden), (hidden, inner)]
    sizes = [*layer * shape.num_layers, (shape.vocab_size, hidden)]
    return [torch.randn(size, dtype=dtype).mul_(hidden**-0.5) for size in sizes]


def _products(weights: list[Any], num_rows: int) -> Callable[[], None]:
    import torch

    inputs = {weight.shape[1]: torch.randn(num_rows, weight.shape[1], dtype=weight.dtype) for weight in weights}

    def work() -> None:
        with torch.inference_mode():
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    return work


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="FOLDER", help="of a model, for its shape")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--streams", default="1,8,16,32")
    arguments = parser.parse_args()
    rows = [int(count) for count in arguments.streams.split(",")]
    floor = measure(load_shape(arguments.model), arguments.dtypes.split(","), rows)
    print(json.dumps({name: getattr(floor, name) for name in Floor.__slots__}))


if __name__ == "__main__":
    main()
