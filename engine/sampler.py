"""From logits to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from .request import SamplingParams, ScheduledChunk
from .runner import TokenLogprobs
from .transfer import HostCopy, to_device


@dataclass(frozen=True, slots=True)
class _RowLogprobs:
    """Log-probabilities of the rows that asked for them: `[wanted]` chosen, `[wanted, most]` values and ids."""

    wanted: list[int]
    counts: list[int]
    chosen: HostCopy
    values: HostCopy
    ids: HostCopy

    def to_host(self, num_rows: int) -> list[TokenLogprobs | None]:
        result: list[TokenLogprobs | None] = [None] * num_rows
        chosen, values, ids = (copy.wait().tolist() for copy in (self.chosen, self.values, self.ids))
        for row, (index, count) in enumerate(zip(self.wanted, self.counts, strict=True)):
            pairs = list(zip(ids[row][:count], values[row][:count], strict=True))
            result[index] = TokenLogprobs(chosen[row], pairs)
        return result


@dataclass(frozen=True, slots=True)
class SampledRows:
    """What was sampled: on the device as `device_ids` `[rows]`, and on its way to the host."""

    device_ids: torch.Tensor
    host_ids: HostCopy
    logprobs: _RowLogprobs | None

    def is_done(self) -> bool:
        """Whether it is on the host."""
        return self.host_ids.is_done()

    def to_host(self) -> tuple[list[int], list[TokenLogprobs | None]]:
        """Token ids, and the log-probabilities by row (empty if no row asked for any). Waits for the device."""
        token_ids: list[int] = self.host_ids.wait().tolist()
        return token_ids, self.logprobs.to_host(len(token_ids)) if self.logprobs is not None else []


class Sampler:
    """Draws one token a row. Rows with a seed draw by that seed alone, whatever else is in the batch.

    Args:
        device: Where the logits are.
        seed: Of the rows that have none.
        has_kernel: Draw by the Triton kernel, as recorded decode steps do: a row then draws the same token in both.
        to_host: Stream for what was sampled; None for the current one.
    """

    def __init__(
        self,
        device: torch.device,
        seed: int,
        *,
        has_kernel: bool = False,
        to_host: torch.cuda.Stream | None = None,
    ) -> None:
        self._device = device
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._random = Random(seed)
        self._has_kernel = has_kernel
        self._to_host = to_host

    def seeds(self, chunks: Sequence[ScheduledChunk]) -> list[int]:
        """What the kernel draws each row by: 63 bits. 0 for greedy rows, which draw nothing."""
        return [
            0
            if chunk.request.sampling.is_greedy
            else self._random.getrandbits(63)
            if chunk.request.sampling.seed is None
            else _own_seed(chunk)
            for chunk in chunks
        ]

    def sampled(self, token_ids: torch.Tensor, logprobs: _RowLogprobs | None = None) -> SampledRows:
        """Tokens `[rows]` that have been chosen, on their way to the host."""
        return SampledRows(token_ids, self._copy(token_ids), logprobs)

    def _copy(self, tensor: torch.Tensor) -> HostCopy:
        return HostCopy(tensor, self._to_host)

    def sample(self, logits: torch.Tensor, chunks: Sequence[ScheduledChunk], last_tokens: torch.Tensor) -> SampledRows:
        """Choose a token for each row.

        Args:
            logits: `[rows, vocabulary]`.
            chunks: The chunk that each row ends.
            last_tokens: `[rows]`, on the device: the token before, for requests that have it in flight.
        """
        logits = logits.float()
        raw = logits
        bent = [index for index, chunk in enumerate(chunks) if _bends_logits(chunk)]
        if bent:
            logits = logits.clone()
            for index in bent:
                _bend_logits(logits[index], chunks[index], last_tokens[index : index + 1])
        token_ids = logits.argmax(dim=-1)
        random_rows = [index for index, chunk in enumerate(chunks) if not chunk.request.sampling.is_greedy]
        if random_rows:
            rows = self._tensor(random_rows, torch.long)
            token_ids[rows] = self._draw(logits[rows], [chunks[index] for index in random_rows])
        return self.sampled(token_ids, self._logprobs(raw, token_ids, chunks))

    def _tensor(self, values: Sequence[int] | Sequence[float], dtype: torch.dtype) -> torch.Tensor:
        return to_device(values, self._device, dtype)

    def _draw(self, logits: torch.Tensor, chunks: Sequence[ScheduledChunk]) -> torch.Tensor:
        """Random tokens `[rows]` by the exponential race, which equals drawing from the softmax."""
        params = [chunk.request.sampling for chunk in chunks]
        temperatures = self._tensor([param.temperature for param in params], torch.float32)
        scaled = logits / temperatures.unsqueeze(1)
        if any(param.top_k > 0 or param.top_p < 1.0 for param in params):
            scaled = _restrict(scaled, params)
        if self._has_kernel:
            from .draw_kernel import draw  # Triton: only where it is used

            # The kernel scales for itself. Scaled here, by another division, a row might draw another token.
            kept = logits.masked_fill(scaled == float("-inf"), float("-inf"))
            return draw(kept, temperatures, self._tensor(self.seeds(chunks), torch.long))
        probabilities = scaled.softmax(dim=-1)
        race = torch.empty_like(probabilities)
        unseeded = [index for index, param in enumerate(params) if param.seed is None]
        if unseeded:
            shape = (len(unseeded), race.shape[1])
            rows = self._tensor(unseeded, torch.long)
            race[rows] = torch.empty(shape, device=self._device).exponential_(generator=self._generator)
        for index, chunk in enumerate(chunks):
            if chunk.request.sampling.seed is not None:
                race[index].exponential_(generator=self._own_generator(chunk))
        return (probabilities / race.clamp_min(1e-30)).argmax(dim=-1)

    def _logprobs(
        self, logits: torch.Tensor, token_ids: torch.Tensor, chunks: Sequence[ScheduledChunk]
    ) -> _RowLogprobs | None:
        wanted = [index for index, chunk in enumerate(chunks) if chunk.request.sampling.logprobs is not None]
        if not wanted:
            return None
        rows = self._tensor(wanted, torch.long)
        counts = [chunks[index].request.sampling.logprobs or 0 for index in wanted]
        distribution = logits[rows].log_softmax(dim=-1)
        top = distribution.topk(min(max(counts), distribution.shape[1]), dim=-1)
        chosen = distribution.gather(1, token_ids[rows].unsqueeze(1)).squeeze(1)
        return _RowLogprobs(wanted, counts, self._copy(chosen), self._copy(top.values), self._copy(top.indices))

    def _own_generator(self, chunk: ScheduledChunk) -> torch.Generator:
        request = chunk.request
        generator = request.sampler_state
        if not isinstance(generator, torch.Generator):
            generator = torch.Generator(device=self._device)
            request.sampler_state = generator
        return generator.manual_seed(_own_seed(chunk))


def needs_sampler(chunk: ScheduledChunk) -> bool:
    """Whether a row wants more than a temperature and a seed, which is all that recorded steps know."""
    sampling = chunk.request.sampling
    is_restricted = not sampling.is_greedy and (sampling.top_k > 0 or sampling.top_p < 1.0)
    return is_restricted or sampling.logprobs is not None or _bends_logits(chunk)


def _own_seed(chunk: ScheduledChunk) -> int:
    """Of the seed and the position only, so that recomputing a token redraws it."""
    seed = chunk.request.sampling.seed
    assert seed is not None
    return (seed * 1_000_003 + chunk.num_output) % (1 << 63)


def _bends_logits(chunk: ScheduledChunk) -> bool:
    sampling = chunk.request.sampling
    return sampling.has_penalties or chunk.num_output < sampling.min_tokens


def _bend_logits(row: torch.Tensor, chunk: ScheduledChunk, last_token: torch.Tensor) -> None:
    """Apply penalties and the minimum length to one row, in place.

    Penalties as in OpenAI's API: for tokens of the output so far, `presence + count * frequency` off the logit.
    """
    sampling = chunk.request.sampling
    if sampling.has_penalties and chunk.num_output > 0:
        request = chunk.request
        written = to_device(request.token_ids[request.num_prompt : chunk.end], row.device, torch.long)
        if written.numel() < chunk.num_output:  # the token before this one is in flight: only the device knows it
            written = torch.cat([written, last_token])
        counts = torch.zeros_like(row).index_add_(0, written, torch.ones_like(written, dtype=row.dtype))
        row -= sampling.presence_penalty * (counts > 0) + sampling.frequency_penalty * counts
    if chunk.num_output < sampling.min_tokens and sampling.suppressed_token_ids:
        suppressed = to_device(list(sampling.suppressed_token_ids), row.device, torch.long)
        row.index_fill_(0, suppressed, float("-inf"))  # assigning a number would copy it to the device, and wait


def _restrict(logits: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor:
    """Minus infinity for all tokens outside each row's top_k and top_p."""
    vocab_size = logits.shape[1]
    ordered, indices = logits.sort(dim=-1, descending=True)
    top_k = [param.top_k if param.top_k > 0 else vocab_size for param in params]
    ranks = torch.arange(vocab_size, device=logits.device)
    outside = ranks >= to_device(top_k, logits.device, torch.long).unsqueeze(1)
    ordered = ordered.masked_fill(outside, float("-inf"))
    probabilities = ordered.softmax(dim=-1)
    # Rounding must not cut the tail of a row that keeps everything, just because its neighbour does not.
    kept = [param.top_p if param.top_p < 1.0 else 2.0 for param in params]
    top_p = to_device(kept, logits.device, torch.float32).unsqueeze(1)
    # A token stays if those before it fall short of top_p; the most likely one always stays.
    outside |= (probabilities.cumsum(dim=-1) - probabilities) >= top_p
    outside[:, 0] = False
    return logits.masked_fill(torch.zeros_like(outside).scatter(1, indices, outside), float("-inf"))
