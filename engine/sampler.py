"""From logits to tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from .request import Request, SamplingParams
from .runner import TokenLogprobs


class Sampler:
    """Draws one token a row. Rows with a seed draw from a generator of their own, whatever else is in the batch."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device = device
        self._generator = torch.Generator(device=device).manual_seed(seed)

    def sample(
        self, logits: torch.Tensor, requests: Sequence[Request]
    ) -> tuple[torch.Tensor, list[TokenLogprobs | None]]:
        """Choose a token for each row.

        Args:
            logits: `[rows, vocabulary]`.
            requests: The request of each row.

        Returns:
            Token ids `[rows]`, on the device, and for each row its log-probabilities if it asked for them.
        """
        logits = logits.float()
        raw = logits
        if any(_bends_logits(request) for request in requests):
            logits = logits.clone()
            for row, request in zip(logits, requests, strict=True):
                _bend_logits(row, request)
        token_ids = logits.argmax(dim=-1)
        random_rows = [index for index, request in enumerate(requests) if not request.sampling.is_greedy]
        if random_rows:
            rows = torch.tensor(random_rows, device=self._device)
            token_ids[rows] = self._draw(logits[rows], [requests[index] for index in random_rows])
        return token_ids, _logprobs(raw, token_ids, requests)

    def _draw(self, logits: torch.Tensor, requests: Sequence[Request]) -> torch.Tensor:
        """Random tokens `[rows]` by the exponential race, which equals drawing from the softmax."""
        temperatures = torch.tensor([request.sampling.temperature for request in requests], device=self._device)
        logits = logits / temperatures.unsqueeze(1)
        if any(request.sampling.top_k > 0 or request.sampling.top_p < 1.0 for request in requests):
            logits = _restrict(logits, [request.sampling for request in requests])
        probabilities = logits.softmax(dim=-1)
        race = torch.empty_like(probabilities)
        unseeded = [index for index, request in enumerate(requests) if request.sampling.seed is None]
        if unseeded:
            shape = (len(unseeded), race.shape[1])
            race[unseeded] = torch.empty(shape, device=self._device).exponential_(generator=self._generator)
        for index, request in enumerate(requests):
            if request.sampling.seed is not None:
                race[index].exponential_(generator=self._own_generator(request))
        return (probabilities / race.clamp_min(1e-30)).argmax(dim=-1)

    def _own_generator(self, request: Request) -> torch.Generator:
        """A generator that depends on the seed and the position only, so that recomputing a token redraws it."""
        assert request.sampling.seed is not None
        generator = request.sampler_state
        if not isinstance(generator, torch.Generator):
            generator = torch.Generator(device=self._device)
            request.sampler_state = generator
        position = request.num_output
        return generator.manual_seed((request.sampling.seed * 1_000_003 + position) % (1 << 63))


def _bends_logits(request: Request) -> bool:
    sampling = request.sampling
    return sampling.has_penalties or request.num_output < sampling.min_tokens


def _bend_logits(row: torch.Tensor, request: Request) -> None:
    """Apply penalties and the minimum length to one row, in place.

    Penalties as in OpenAI's API: for tokens of the output so far, `presence + count * frequency` off the logit.
    """
    sampling = request.sampling
    if sampling.has_penalties and request.num_output > 0:
        counts = Counter(request.token_ids[request.num_prompt :])
        ids = torch.tensor(list(counts), device=row.device)
        amounts = torch.tensor(list(counts.values()), device=row.device, dtype=row.dtype)
        row[ids] -= sampling.presence_penalty + sampling.frequency_penalty * amounts
    if request.num_output < sampling.min_tokens and sampling.suppressed_token_ids:
        row[list(sampling.suppressed_token_ids)] = float("-inf")


def _restrict(logits: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor:
    """Minus infinity for all tokens outside each row's top_k and top_p."""
    vocab_size = logits.shape[1]
    ordered, indices = logits.sort(dim=-1, descending=True)
    top_k = [param.top_k if param.top_k > 0 else vocab_size for param in params]
    ranks = torch.arange(vocab_size, device=logits.device)
    outside = ranks >= torch.tensor(top_k, device=logits.device).unsqueeze(1)
    ordered = ordered.masked_fill(outside, float("-inf"))
    probabilities = ordered.softmax(dim=-1)
    # Rounding must not cut the tail of a row that keeps everything, just because its neighbour does not.
    top_p = torch.tensor(
        [param.top_p if param.top_p < 1.0 else 2.0 for param in params], device=logits.device
    ).unsqueeze(1)
    # A token stays if those before it fall short of top_p; the most likely one always stays.
    outside |= (probabilities.cumsum(dim=-1) - probabilities) >= top_p
    outside[:, 0] = False
    return logits.masked_fill(torch.zeros_like(outside).scatter(1, indices, outside), float("-inf"))


def _logprobs(logits: torch.Tensor, token_ids: torch.Tensor, requests: Sequence[Request]) -> list[TokenLogprobs | None]:
    wanted = [index for index, request in enumerate(requests) if request.sampling.logprobs is not None]
    result: list[TokenLogprobs | None] = [None] * len(requests)
    if wanted:
        distribution = logits[wanted].log_softmax(dim=-1)
        most = min(max(requests[index].sampling.logprobs or 0 for index in wanted), distribution.shape[1])
        top = distribution.topk(most, dim=-1)
        chosen = distribution.gather(1, token_ids[wanted].unsqueeze(1)).squeeze(1).tolist()
        values, ids = top.values.tolist(), top.indices.tolist()
        for row, index in enumerate(wanted):
            count = requests[index].sampling.logprobs or 0
            pairs = list(zip(ids[row][:count], values[row][:count], strict=True))
            result[index] = TokenLogprobs(chosen[row], pairs)
    return result
