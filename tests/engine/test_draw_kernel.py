"""Drawing by the Triton kernel, through its interpreter where there is no GPU."""

from __future__ import annotations

import math

import pytest
import torch
from abatch.engine.draw_kernel import draw

_DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def drawn(logits: torch.Tensor, temperatures: list[float], seeds: list[int]) -> list[int]:
    tokens: list[int] = draw(
        logits.to(_DEVICE), torch.tensor(temperatures, device=_DEVICE), torch.tensor(seeds, device=_DEVICE)
    ).tolist()
    return tokens


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocab_size", [5, 4096, 10_001])
def test_temperature_0_takes_the_first_of_the_most_likely(dtype: torch.dtype, vocab_size: int) -> None:
    logits = torch.randn(4, vocab_size, generator=torch.Generator().manual_seed(0)).to(dtype)
    logits[3, [1, vocab_size - 1]] = 9.0  # a tie, of which one lies in the last tile
    expected = logits.float().argmax(dim=1).tolist()
    expected[3] = 1
    assert drawn(logits, [0.0] * 4, [0] * 4) == expected


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])
    count = 600
    tokens = drawn(logits.expand(count, -1).contiguous(), [temperature] * count, [1_000_003 * i for i in range(count)])
    expected = (logits / temperature).softmax(dim=0).tolist()
    for token, probability in enumerate(expected):
        deviation = math.sqrt(probability * (1 - probability) / count)
        assert abs(tokens.count(token) / count - probability) < 4 * deviation + 1e-3


def test_a_row_depends_on_its_own_seed_alone() -> None:
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(1))
    together = drawn(logits, [1.0, 0.7, 1.0], [11, 12, 13])
    assert [drawn(logits[i : i + 1], [[1.0, 0.7, 1.0][i]], [11 + i])[0] for i in range(3)] == together
    assert len({tuple(drawn(logits, [1.0] * 3, [seed << 32] * 3)) for seed in range(6)}) == 6, "also its upper half"


def test_tokens_that_are_ruled_out_are_never_drawn() -> None:
    logits = torch.full((40, 5000), float("-inf"))
    logits[:, 4999] = 0.0
    logits[:, 17] = 0.0
    assert set(drawn(logits, [1.0] * 40, list(range(40)))) == {17, 4999}


def test_what_is_no_number_is_never_drawn() -> None:
    logits = torch.full((2, 5000), float("nan"))
    logits[0, 4321] = -3.0
    assert drawn(logits, [0.0, 0.0], [0, 0])[0] == 4321
    assert 0 <= drawn(logits, [1.0, 1.0], [0, 1])[1] < 5000
