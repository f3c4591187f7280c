"""From logits to tokens."""

from __future__ import annotations

import math
from collections import Counter
from copy import copy
from typing import Any

import pytest
import torch
from abatch.engine.device.draw_kernel import draw as draw_by_triton
from abatch.engine.device.native_draw import NativeDraw
from abatch.engine.device.sampler import Draw, Sampler, restrict
from abatch.engine.request import Request, SamplingParams, ScheduledChunk
from abatch.engine.runner import TokenLogprobs

_LOGITS = [2.0, 1.0, 0.5, 0.0, -1.0]


def make_request(*, output: tuple[int, ...] = (), **sampling: Any) -> Request:
    request = Request("r", [0], SamplingParams(max_tokens=100, **sampling))
    request.token_ids += output
    return request


def make_sampler(seed: int = 0, num_slots: int = 500) -> Sampler:
    return Sampler(torch.device("cpu"), seed, num_slots=num_slots)


def sample(
    sampler: Sampler, rows: torch.Tensor, requests: list[Request], in_flight: int | None = None
) -> tuple[list[int], list[TokenLogprobs | None]]:
    """A token for each row; with `in_flight`, each request's last token is known to the device only."""
    num_in_flight = 0 if in_flight is None else 1
    chunks = []
    for slot, request in enumerate(map(copy, requests)):
        request.slot = slot
        end = len(request.token_ids) + num_in_flight
        chunks.append(ScheduledChunk(request, end - 1, end, True, 0))
    last_tokens = torch.full((len(requests),), -1 if in_flight is None else in_flight)
    return sampler.sample(rows, chunks, last_tokens).to_host()


def draw(request: Request, count: int = 4000, in_flight: int | None = None) -> dict[int, float]:
    """Share of each token over many draws."""
    sampler = make_sampler(0)
    rows = torch.tensor([_LOGITS] * 500)
    counts: Counter[int] = Counter()
    for _ in range(count // 500):
        counts.update(sample(sampler, rows, [request] * 500, in_flight)[0])
    return {token: number / count for token, number in counts.items()}


def softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(value) for value in logits]
    return [weight / sum(weights) for weight in weights]


def test_greedy_takes_the_most_likely() -> None:
    assert draw(make_request(temperature=0.0)) == {0: 1.0}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    expected = softmax([value / temperature for value in _LOGITS])
    shares = draw(make_request(temperature=temperature))
    for token, probability in enumerate(expected):
        assert shares.get(token, 0.0) == pytest.approx(probability, abs=0.035)


def test_top_k_keeps_the_k_most_likely() -> None:
    assert set(draw(make_request(top_k=2))) == {0, 1}
    assert set(draw(make_request(top_k=1))) == {0}
    assert len(draw(make_request(top_k=100))) == 5


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    probabilities = softmax(_LOGITS)
    assert set(draw(make_request(top_p=probabilities[0] - 0.01))) == {0}
    assert set(draw(make_request(top_p=probabilities[0] + 0.01))) == {0, 1}
    assert set(draw(make_request(top_p=1e-9))) == {0}


def test_a_seed_fixes_the_draw_whatever_else_is_in_the_batch() -> None:
    rows = torch.tensor([_LOGITS] * 3)
    alone = [sample(make_sampler(index), rows[:1], [make_request(seed=42)])[0][0] for index in range(20)]
    together = [
        sample(
            make_sampler(index),
            rows,
            [make_request(), make_request(seed=42), make_request(seed=index)],
        )[0][1]
        for index in range(20)
    ]
    assert alone == together
    assert len(set(alone)) == 1


def test_a_tiny_temperature_is_greedy_not_a_division_by_zero() -> None:
    assert set(draw(make_request(temperature=1e-40))) == {0}


def test_a_neighbour_that_restricts_leaves_the_whole_tail_of_one_that_does_not() -> None:
    """The sum over the most likely token rounds to 1.0, which must not cut off the rest."""
    rows = torch.full((2, 5000), -30.0)
    rows[:, 0] = 0.0
    kept = restrict(rows, [make_request().sampling, make_request(top_p=0.3).sampling])
    assert torch.equal(kept[0], rows[0])
    assert kept[1].isfinite().sum() == 1


def test_a_seed_draws_differently_at_each_position() -> None:
    sampler = make_sampler(0)
    rows = torch.zeros((1, 1000))
    drawn = {sample(sampler, rows, [make_request(seed=1, output=(0,) * n)])[0][0] for n in range(10)}
    assert len(drawn) > 7


def test_penalties_count_what_was_written() -> None:
    assert set(draw(make_request(temperature=0.0, presence_penalty=1.5, output=(0,)))) == {1}
    assert set(draw(make_request(temperature=0.0, frequency_penalty=0.6, output=(0,)))) == {0}
    assert set(draw(make_request(temperature=0.0, frequency_penalty=0.6, output=(0, 0)))) == {1}


def test_a_token_in_flight_counts_as_written() -> None:
    """A step launched ahead samples before the host has seen the token before it."""
    assert set(draw(make_request(temperature=0.0, presence_penalty=1.5), in_flight=0)) == {1}
    assert set(draw(make_request(temperature=0.0, frequency_penalty=0.6, output=(0,)), in_flight=0)) == {1}
    assert set(draw(make_request(temperature=0.0, frequency_penalty=0.6, output=(0,)), in_flight=3)) == {0}
    waits = make_request(temperature=0.0, min_tokens=2, suppressed_token_ids=frozenset([0]), output=(3,))
    assert set(draw(waits, in_flight=3)) == {0}, "two tokens are written, one of them in flight"
    seeded = {name: draw(make_request(seed=7, output=name), 500, token) for name, token in (((1, 2), None), ((1,), 2))}
    assert seeded[1, 2] == seeded[1,], "the draw goes by the position, known or in flight"


@pytest.mark.parametrize("kernel", [None, draw_by_triton, NativeDraw(num_threads=1)])
@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are interpreted only where there is no GPU")
def test_penalties_follow_several_sequences_token_by_token(kernel: Draw | None) -> None:
    """Each step counts what it has drawn, on the device; what is known of a sequence is counted again only if it must
    be: one that was preempted, one that came to another's slot.
    """
    sampler = Sampler(torch.device("cpu"), 0, num_slots=3, draw=kernel)
    rows = torch.tensor([_LOGITS, _LOGITS, _LOGITS])
    kinds: tuple[dict[str, Any], ...] = ({"presence_penalty": 1.6}, {"frequency_penalty": 0.7}, {})
    requests = [
        Request(str(i), [0], SamplingParams(max_tokens=99, temperature=0.0, **kind)) for i, kind in enumerate(kinds)
    ]
    anew: list[int] = []
    count_anew = sampler._counts._count_anew

    def noted(chunks: list[ScheduledChunk], last_tokens: torch.Tensor) -> None:
        anew.append(len(chunks))
        count_anew(chunks, last_tokens)

    sampler._counts._count_anew = noted  # type: ignore[assignment,method-assign]
    wanted: dict[str, list[int]] = {"0": [0, 1, 2, 0], "1": [0, 0, 1, 0], "2": [0, 0, 0, 0]}
    for step in range(4):
        if step == 2:  # the second was preempted, and is back where the first was
            requests[0].slot, requests[1].slot, requests[1].epoch = 1, 0, 1
        else:
            for index, request in enumerate(requests):
                request.slot = index if step < 2 else request.slot
        chunks = [ScheduledChunk(one, len(one.token_ids) - 1, len(one.token_ids), True, one.epoch) for one in requests]
        tokens, _ = sampler.sample(rows, chunks, torch.full((3,), -1)).to_host()
        for request, token in zip(requests, tokens, strict=True):
            assert token == wanted[request.request_id][step], (request.request_id, step)
            request.token_ids.append(token)
    assert anew == [2, 2], "at the beginning, and when they changed places"


def test_before_min_tokens_nothing_that_ends_the_text_is_sampled() -> None:
    early = make_request(temperature=0.0, min_tokens=2, suppressed_token_ids=frozenset([0]), output=(3,))
    late = make_request(temperature=0.0, min_tokens=2, suppressed_token_ids=frozenset([0]), output=(3, 3))
    assert set(draw(early)) == {1}
    assert set(draw(late)) == {0}
    other = make_request(temperature=0.0, min_tokens=2, suppressed_token_ids=frozenset([0, 1, 4]))
    tokens, _ = sample(make_sampler(), torch.tensor([_LOGITS] * 4), [early, late, other, make_request(temperature=0.0)])
    assert tokens == [1, 0, 2, 0]


def test_logprobs_are_of_the_unmodified_distribution() -> None:
    sampler = make_sampler(0)
    requests = [make_request(temperature=0.0, presence_penalty=2.0, output=(0,), logprobs=2), make_request()]
    _, (first, second) = sample(sampler, torch.tensor([_LOGITS] * 2), requests)
    assert second is None
    assert first is not None
    probabilities = softmax(_LOGITS)
    assert first.chosen == pytest.approx(math.log(probabilities[1]), abs=1e-5)
    assert [token for token, _ in first.top] == [0, 1]
    assert first.top[0][1] == pytest.approx(math.log(probabilities[0]), abs=1e-5)
