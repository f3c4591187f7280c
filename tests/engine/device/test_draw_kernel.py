"""Drawing by our kernels: in Triton, through its interpreter where there is no GPU, and in C++."""

from __future__ import annotations

import math
from random import Random
from typing import Protocol

import pytest
import torch
from abatch.engine.device import draw_kernel
from abatch.engine.device.draw_kernel import draw
from abatch.engine.device.drawing import DrawRows, Relay
from abatch.engine.device.native_draw import NativeDraw
from abatch.engine.device.sampler import restrict
from abatch.engine.request import SamplingParams

_DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
COUNTS = pytest.mark.parametrize("count", [200, pytest.param(600, marks=pytest.mark.nightly)])
"""Draws of which shares are counted. Each takes the interpreter up to 50 ms."""


def draw_rows(
    temperatures: list[float], seeds: list[int], top_ks: list[int] | None = None, top_ps: list[float] | None = None
) -> DrawRows:
    count = len(seeds)
    return DrawRows(
        torch.tensor(seeds, device=_DEVICE),
        torch.tensor(temperatures, device=_DEVICE),
        torch.tensor(top_ks or [0] * count, dtype=torch.int32, device=_DEVICE),
        torch.tensor(top_ps or [1.0] * count, device=_DEVICE),
    )


class Drawn(Protocol):
    """Tokens of rows."""

    def __call__(
        self,
        logits: torch.Tensor,
        temperatures: list[float],
        seeds: list[int],
        top_ks: list[int] | None = None,
        top_ps: list[float] | None = None,
    ) -> list[int]: ...


@pytest.fixture(params=["triton", "native"])
def drawn(request: pytest.FixtureRequest) -> Drawn:
    """By each of our kernels."""

    def drawn(
        logits: torch.Tensor,
        temperatures: list[float],
        seeds: list[int],
        top_ks: list[int] | None = None,
        top_ps: list[float] | None = None,
    ) -> list[int]:
        rows = draw_rows(temperatures, seeds, top_ks, top_ps)
        if request.param == "triton":
            return [int(token) for token in draw(logits.to(_DEVICE), rows)]
        if logits.dtype is torch.float16:
            pytest.skip("there is no kernel for float16 on a CPU")
        on_host = DrawRows(rows.seeds.cpu(), rows.temperatures.cpu(), rows.top_ks.cpu(), rows.top_ps.cpu())
        return [int(token) for token in NativeDraw(num_threads=1)(logits, on_host)]

    return drawn


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocab_size", [5, 4096, 10_001])
def test_temperature_0_takes_the_first_of_the_most_likely(dtype: torch.dtype, vocab_size: int, drawn: Drawn) -> None:
    logits = torch.randn(4, vocab_size, generator=torch.Generator().manual_seed(0)).to(dtype)
    logits[3, [1, vocab_size - 1]] = 9.0  # a tie, of which one lies in the last tile
    expected = logits.float().argmax(dim=1).tolist()
    expected[3] = 1
    assert drawn(logits, [0.0] * 4, [0] * 4) == expected


@COUNTS
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_draws_follow_the_softmax(temperature: float, count: int, drawn: Drawn) -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])
    tokens = drawn(logits.expand(count, -1).contiguous(), [temperature] * count, [1_000_003 * i for i in range(count)])
    expected = (logits / temperature).softmax(dim=0).tolist()
    for token, probability in enumerate(expected):
        deviation = math.sqrt(probability * (1 - probability) / count)
        assert abs(tokens.count(token) / count - probability) < 4 * deviation + 1e-3


def test_a_row_depends_on_its_own_seed_alone(drawn: Drawn) -> None:
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(1))
    together = drawn(logits, [1.0, 0.7, 1.0], [11, 12, 13])
    assert [drawn(logits[i : i + 1], [[1.0, 0.7, 1.0][i]], [11 + i])[0] for i in range(3)] == together
    assert len({tuple(drawn(logits, [1.0] * 3, [seed << 32] * 3)) for seed in range(6)}) == 6, "also its upper half"


def test_tokens_that_are_ruled_out_are_never_drawn(drawn: Drawn) -> None:
    logits = torch.full((40, 5000), float("-inf"))
    logits[:, 4999] = 0.0
    logits[:, 17] = 0.0
    assert set(drawn(logits, [1.0] * 40, list(range(40)))) == {17, 4999}


def test_what_is_no_number_is_never_drawn(drawn: Drawn) -> None:
    logits = torch.full((2, 5000), float("nan"))
    logits[0, 4321] = -3.0
    assert drawn(logits, [0.0, 0.0], [0, 0])[0] == 4321
    assert 0 <= drawn(logits, [1.0, 1.0], [0, 1])[1] < 5000


def kept(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> set[int]:
    """What a row may draw."""
    threshold = _threshold(logits, temperature, top_k, top_p)
    return {
        token for token, logit in enumerate(logits.float().tolist()) if logit >= threshold and logit > float("-inf")
    }


def _threshold(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> float:
    rows = draw_rows([temperature], [0], [top_k], [top_p])
    found = torch.full((1,), float("nan"), device=_DEVICE)
    draw_kernel._threshold_kernel[(1,)](
        found,
        logits.to(_DEVICE).unsqueeze(0),
        rows.temperatures,
        rows.top_ks,
        rows.top_ps,
        logits.numel(),
        logits.numel(),
        TILE=1024,
    )
    return found.item()


def definition(logits: list[float], temperature: float, top_k: int, top_p: float) -> tuple[set[int], set[int]]:
    """Tokens that are certainly kept, and those that may be: rounding decides about one whose turn it is just then."""
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    kept_by_k = [
        token for token, logit in enumerate(logits) if top_k == 0 or sum(other > logit for other in logits) < top_k
    ]
    limit = top_p * sum(weights[token] for token in kept_by_k)
    above = {token: sum(weights[other] for other in kept_by_k if logits[other] > logits[token]) for token in kept_by_k}
    surely, perhaps = (
        {token for token in kept_by_k if logits[token] > -math.inf and (top_p >= 1 or above[token] < limit * factor)}
        for factor in (1 - 1e-5, 1 + 1e-5)
    )
    return surely, perhaps


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(10))
def test_top_k_and_top_p_keep_what_their_definition_says(seed: int, dtype: torch.dtype) -> None:
    """By the kernel, and by sorting, which is how it is done without Triton. Bfloat16 has many ties."""
    random = Random(seed)
    vocab_size = random.choice([5, 300, 1500])
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(vocab_size, generator=generator) * random.choice([0.5, 3.0, 20.0])).to(dtype)
    logits[random.randrange(vocab_size)] = float("-inf")
    temperature = random.choice([0.3, 1.0, 1.7])
    for top_k, top_p in [(1, 1.0), (7, 1.0), (0, 0.3), (0, 0.9), (0, 0.999), (50, 0.8), (vocab_size, 0.5), (3, 1e-9)]:
        surely, perhaps = definition(logits.float().tolist(), temperature, top_k, top_p)
        assert surely <= kept(logits, temperature, top_k, top_p) <= perhaps, (top_k, top_p)
        params = SamplingParams(max_tokens=1, temperature=temperature, top_k=top_k, top_p=top_p)
        by_sorting = restrict((logits.float() / temperature).unsqueeze(0), [params])[0]
        assert surely <= set(by_sorting.isfinite().nonzero().flatten().tolist()) <= perhaps, (top_k, top_p)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(5))
def test_in_c_no_token_is_drawn_but_those_that_are_kept(seed: int, dtype: torch.dtype) -> None:
    """And of those that are, all that are likely."""
    random = Random(seed)
    vocab_size, temperature, count = random.choice([5, 300, 1500]), random.choice([0.3, 1.0, 1.7]), 400
    logits = (torch.randn(vocab_size, generator=torch.Generator().manual_seed(seed)) * 3).to(dtype)
    for top_k, top_p in [(1, 1.0), (7, 1.0), (0, 0.3), (0, 0.9), (50, 0.8), (vocab_size, 0.5), (3, 1e-9)]:
        surely, perhaps = definition(logits.float().tolist(), temperature, top_k, top_p)
        rows = draw_rows([temperature] * count, list(range(count)), [top_k] * count, [top_p] * count)
        tokens = NativeDraw(num_threads=1)(logits.expand(count, -1).contiguous(), rows).tolist()
        assert set(tokens) <= perhaps, (top_k, top_p)
        shares = (logits.float() / temperature)[sorted(surely)].softmax(dim=0).tolist()
        assert {token for token, share in zip(sorted(surely), shares, strict=True) if share > 0.05} <= set(tokens)


def test_rows_that_keep_everything_have_no_bound() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0))
    for temperature, top_k, top_p in [(1.0, 0, 1.0), (1.0, 50, 1.0), (1.0, 99, 1.0), (0.0, 3, 0.5)]:
        assert _threshold(logits, temperature, top_k, top_p) == float("-inf")
    for nothing in (float("nan"), float("-inf")):
        assert _threshold(torch.full((50,), nothing), 1.0, 3, 0.5) == float("-inf")


@pytest.mark.slow
@pytest.mark.parametrize("count", [120, pytest.param(600, marks=pytest.mark.nightly)])
def test_restricted_rows_draw_what_is_left_as_often_as_it_is_likely(count: int, drawn: Drawn) -> None:
    """The interpreter takes up to 50 ms for each draw."""
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])
    rows = logits.expand(count, -1).contiguous()
    tokens = drawn(rows, [1.0] * count, [999_983 * i for i in range(count)], [3] * count, [0.8] * count)
    # Of three, the first two have 83%: the third stays out.
    expected = logits[:2].softmax(dim=0).tolist()
    assert set(tokens) == {0, 1}
    assert tokens.count(0) / count == pytest.approx(expected[0], abs=0.08)


def test_tokens_are_left_for_the_host_and_for_the_next_step() -> None:
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(2))
    last_tokens = torch.full((6,), -1, device=_DEVICE)
    drawn_tokens = torch.full((2, 4), -1, device=_DEVICE)
    expected = logits.argmax(dim=1).tolist()
    for turn in (1, 0):
        relay = Relay(
            torch.tensor([4, 0, 5], dtype=torch.int32, device=_DEVICE),
            last_tokens,
            drawn_tokens,
            torch.tensor([turn], dtype=torch.int32, device=_DEVICE),
        )
        assert draw(logits.to(_DEVICE), draw_rows([0.0] * 3, [0] * 3), relay) is drawn_tokens
        assert drawn_tokens[turn].tolist() == [*expected, -1]
        assert drawn_tokens[0].tolist() == ([-1] * 4 if turn else [*expected, -1]), "the other half is left alone"
    assert last_tokens.tolist() == [expected[1], -1, -1, -1, expected[0], expected[2]]
