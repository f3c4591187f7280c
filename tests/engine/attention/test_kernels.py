"""The Triton kernels against attention from its definition, through Triton's interpreter where there is no GPU."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from abatch.engine.attention.paged_triton import TritonBackend
from numpy.typing import NDArray
from support.attention import History, Shape, relative_error

MOST_ERROR = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}

SHAPES = [
    Shape(3, 3, 64, 16),
    Shape(8, 2, 64, 16, torch.bfloat16),
    Shape(8, 1, 128, 32, torch.float16),
    Shape(6, 2, 80, 16),
    Shape(3, 1, 96, 128, torch.bfloat16, sliding_window=20),
    Shape(8, 2, 256, 16, torch.float16, softcap=2.0),
    Shape(2, 1, 128, 256, torch.bfloat16, sliding_window=7, softcap=3.0),
    Shape(7, 1, 64, 64),
    Shape(2, 2, 24, 4, sliding_window=1),
]


def name(shape: Shape) -> str:
    dtype = str(shape.dtype).removeprefix("torch.")
    extras = (f"-window{shape.sliding_window}" * (shape.sliding_window is not None)) + (
        "-softcap" * (shape.softcap is not None)
    )
    return f"{shape.num_heads}of{shape.num_kv_heads}x{shape.head_size}-page{shape.block_size}-{dtype}{extras}"


@pytest.fixture
def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def backend_of(history: History, num_parts: int | None = None) -> TritonBackend:
    backend = TritonBackend(history.cache, num_slots=len(history.slots) + 2, max_num_pages=64)
    if num_parts is not None:
        cut_into(backend, num_parts)
    return backend


def cut_into(backend: TritonBackend, num_parts: int) -> None:
    """Every sequence in so many parts, whether or not there are keys for all of them."""

    def parts(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
        sequences, numbers = np.divmod(np.arange(len(lengths) * num_parts, dtype=np.int32), num_parts)
        return np.stack([sequences, numbers, np.full_like(numbers, num_parts)])

    backend.parts = parts  # type: ignore[method-assign]


@pytest.mark.parametrize("shape", SHAPES, ids=name)
def test_random_steps_of_prompts_and_decodes(shape: Shape, device: str) -> None:
    """Ragged chunks that end and begin anywhere, one token among them, decodes beside them, then decodes alone.

    Decodes are in one part and in four, of which the last have nothing to do.
    """
    random = Random(shape.head_size)
    history = History(shape, [0] * 4, 80, seed=1, device=device)
    backend = backend_of(history)
    page = shape.block_size
    for num_parts, counts in (
        (1, {0: page, 1: 1, 2: random.randint(2, 20)}),
        (4, {2: 1, 0: 1, 3: random.randint(30, 70)}),
        (1, {1: page - 1 or 1, 3: 2, 2: 1}),
        (4, {3: 1, 2: 1, 1: 1, 0: 1}),
        (1, {3: 1, 2: 1, 1: 1, 0: 1}),
    ):
        cut_into(backend, num_parts)
        output, expected = history.step(backend, counts)
        assert relative_error(output, expected) < MOST_ERROR[shape.dtype], (num_parts, counts)
        assert not backend.arrived.any()


@pytest.mark.parametrize("seed", [*(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(3)), *range(3, 10)])
def test_random_shapes(seed: int, device: str) -> None:
    """Any heads, groups, head and page sizes, types, windows and caps together.

    The first three happen to be so large that the interpreter takes up to 15 s for each.
    """
    random = Random(1000 + seed)
    num_kv_heads, group = random.choice([1, 2, 3]), random.choice([1, 2, 3, 4, 7])
    shape = Shape(
        num_kv_heads * group,
        num_kv_heads,
        random.choice([64, 72, 80, 96, 112, 128, 160, 192, 256]),
        random.choice([16, 32, 48, 64, 128, 256]),
        random.choice([torch.float32, torch.float16, torch.bfloat16]),
        random.choice([None, None, 1, 5, 64, 100]),
        random.choice([None, None, 1.0, 30.0]),
    )
    history = History(shape, [0] * 3, 40, seed=seed, device=device)
    backend = backend_of(history, random.choice([1, 2, 8]))
    page = shape.block_size
    edges = [1, page - 1, page, page + 1, 63, 64, 65]
    for _ in range(3):
        counts = {index: random.choice([1, 1, random.choice(edges)]) for index in random.sample(range(3), 3)}
        output, expected = history.step(backend, counts)
        assert relative_error(output, expected) < MOST_ERROR[shape.dtype], shape


def test_a_long_context_in_many_parts_most_of_them_of_one_tile(device: str) -> None:
    history = History(Shape(2, 1, 64, 16, torch.bfloat16), [0, 0], 80, seed=3, device=device)
    backend = backend_of(history, 32)
    history.step(backend, {0: 900, 1: 3})
    output, expected = history.step(backend, {0: 1, 1: 1})
    assert relative_error(output, expected) < MOST_ERROR[torch.bfloat16]


def test_long_sequences_get_the_programs_that_short_ones_have_no_use_for(device: str) -> None:
    history = History(Shape(2, 1, 16, 16, torch.bfloat16), [0, 0, 0], 80, seed=3, device=device)
    backend = backend_of(history)
    backend.num_processors, backend.programs_per_processor = 1, 5
    history.step(backend, {0: 3, 1: 200, 2: 64})
    sequences, numbers, counts = backend.parts(np.array([4, 201, 65], dtype=np.int32))
    assert sequences.tolist() == [0, 1, 1, 2]
    assert numbers.tolist() == [0, 0, 1, 0]
    assert counts.tolist() == [1, 2, 2, 1]
    output, expected = history.step(backend, {0: 1, 1: 1, 2: 1})
    assert not backend.arrived.any(), "as the next step wants it"
    assert relative_error(output, expected) < MOST_ERROR[torch.bfloat16]
