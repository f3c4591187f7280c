"""From logits to tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import torch

from ..attention.transfer import HostCopy, to_device
from ..request import SamplingParams, ScheduledChunk
from ..runner import TokenLogprobs
from .drawing import DrawRows, drawing_columns
from .token_counts import TokenCounts

Draw = Callable[[torch.Tensor, DrawRows], torch.Tensor]
"""One token `[rows]` int64 for each row of logits `[rows, vocabulary]`."""


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
    """Draws one token per row. Rows with a seed draw by that seed alone, whatever else is in the batch.

    Args:
        device: Where the logits are.
        seed: Of the rows that have none.
        num_slots: Sequences that may have state here at once.
        draw: What draws all rows at once: a kernel. By the Triton kernel, as recorded steps do, a row draws the same
            token in both. None: torch does.
        to_host: Stream for what was sampled; None for the current one.
    """

    def __init__(
        self,
        device: torch.device,
        seed: int,
        *,
        num_slots: int,
        draw: Draw | None = None,
        to_host: torch.cuda.Stream | None = None,
    ) -> None:
        self._device = device
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._random = Random(seed)
        self._counts = TokenCounts(num_slots, device)
        self._draw = draw
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

    def sampled(self, token_ids: torch.Tensor, host: torch.Tensor) -> SampledRows:
        """Tokens `[rows]` that have been chosen, on their way to pinned memory `host` `[rows]`."""
        return SampledRows(token_ids, HostCopy(token_ids, self._to_host, host=host), None)

    def _copy(self, tensor: torch.Tensor) -> HostCopy:
        return HostCopy(tensor, self._to_host)

    def sample(self, logits: torch.Tensor, chunks: Sequence[ScheduledChunk], last_tokens: torch.Tensor) -> SampledRows:
        """Choose a token for each row.

        Args:
            logits: `[rows, vocabulary]`.
            chunks: The chunk that each row ends.
            last_tokens: `[rows]`, on the device: the token before, for requests that have it in flight.
        """
        raw = logits
        penalised = _indices(chunks, _has_penalties)
        logits = self._bend(logits, chunks, last_tokens, penalised)
        if self._draw is not None and chunks:
            token_ids = self._draw(logits, self._draw_rows(chunks))
        else:
            token_ids = self._draw_by_torch(logits.float(), chunks)
        if penalised:
            tokens = token_ids if len(penalised) == len(chunks) else token_ids[self._tensor(penalised, torch.long)]
            self._counts.add([chunks[index] for index in penalised], tokens)
        host_ids = self._copy(token_ids)  # before the log-probabilities, which may follow
        return SampledRows(token_ids, host_ids, self._logprobs(raw, token_ids, chunks))

    def _tensor(self, values: Sequence[int] | Sequence[float], dtype: torch.dtype) -> torch.Tensor:
        return to_device(values, self._device, dtype)

    def _bend(
        self,
        logits: torch.Tensor,
        chunks: Sequence[ScheduledChunk],
        last_tokens: torch.Tensor,
        penalised: Sequence[int],
    ) -> torch.Tensor:
        """Apply penalties, minimum lengths and grammars, to all rows that have any at once. The given logits stay.

        Penalties as in OpenAI's API: for tokens of the output so far, `presence + count * frequency` off the logit.
        """
        early = _indices(chunks, _is_early)
        constrained = [index for index, chunk in enumerate(chunks) if chunk.request.constraint is not None]
        if not penalised and not early and not constrained:
            return logits
        logits = logits.float() if logits.dtype != torch.float32 else logits.clone()
        if penalised:
            rows = self._tensor(penalised, torch.long)
            params = [chunks[index].request.sampling for index in penalised]
            presence = self._tensor([one.presence_penalty for one in params], torch.float32).unsqueeze(1)
            frequency = self._tensor([one.frequency_penalty for one in params], torch.float32).unsqueeze(1)
            counts = self._counts.of([chunks[index] for index in penalised], last_tokens[rows], logits.shape[1])
            logits.index_add_(0, rows, presence * (counts > 0) + frequency * counts, alpha=-1)
        if early:
            vocab_size = logits.shape[1]
            suppressed = [
                index * vocab_size + token
                for index in early
                for token in chunks[index].request.sampling.suppressed_token_ids
            ]
            # Filled in: assigning a number would copy it to the device, and wait.
            logits.view(-1).index_fill_(0, self._tensor(suppressed, torch.long), float("-inf"))
        if constrained:
            masks = [one.mask() for index in constrained if (one := chunks[index].request.constraint) is not None]
            rows = self._tensor(constrained, torch.long)
            logits[rows] = logits[rows].masked_fill(~allowed_tokens(masks, logits), float("-inf"))
        return logits

    def _draw_rows(self, chunks: Sequence[ScheduledChunk]) -> DrawRows:
        columns = drawing_columns(chunks)
        return DrawRows(
            seeds=self._tensor(self.seeds(chunks), torch.long),
            temperatures=self._tensor(columns["temperatures"], torch.float32),
            top_ks=self._tensor(columns["top_ks"], torch.int32),
            top_ps=self._tensor(columns["top_ps"], torch.float32),
        )

    def _draw_by_torch(self, logits: torch.Tensor, chunks: Sequence[ScheduledChunk]) -> torch.Tensor:
        """Tokens `[rows]`; random ones by the exponential race, which equals drawing from the softmax."""
        token_ids = logits.argmax(dim=-1)
        drawing = _indices(chunks, lambda chunk: not chunk.request.sampling.is_greedy)
        if drawing:
            rows = self._tensor(drawing, torch.long)
            token_ids[rows] = self._race(logits[rows], [chunks[index] for index in drawing])
        return token_ids

    def _race(self, logits: torch.Tensor, chunks: Sequence[ScheduledChunk]) -> torch.Tensor:
        params = [chunk.request.sampling for chunk in chunks]
        temperatures = self._tensor([param.temperature for param in params], torch.float32)
        scaled = logits / temperatures.unsqueeze(1)
        if any(param.top_k > 0 or param.top_p < 1.0 for param in params):
            scaled = restrict(scaled, params)
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
        distribution = logits[rows].float().log_softmax(dim=-1)
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


def allowed_tokens(masks: Sequence[bytes], logits: torch.Tensor) -> torch.Tensor:
    """Masks of one bit a token as booleans `[masks, vocabulary]`, where the logits `[rows, vocabulary]` are."""
    packed = torch.frombuffer(bytearray(b"".join(masks)), dtype=torch.uint8).view(len(masks), -1)
    if logits.device.type == "cuda":
        packed = packed.pin_memory()
    places = torch.arange(8, dtype=torch.uint8, device=logits.device)
    bits = (packed.to(logits.device, non_blocking=True).unsqueeze(2) >> places) & 1
    return bits.view(len(masks), -1)[:, : logits.shape[1]].bool()


def needs_sampler(chunk: ScheduledChunk) -> bool:
    """Whether a row wants more than recorded steps can do: temperature, seed, top_k and top_p."""
    sampling, constraint = chunk.request.sampling, chunk.request.constraint
    return sampling.logprobs is not None or constraint is not None or _has_penalties(chunk) or _is_early(chunk)


def _own_seed(chunk: ScheduledChunk) -> int:
    """Depends on the seed and the position only, so that recomputing a token redraws it."""
    seed = chunk.request.sampling.seed
    assert seed is not None
    return (seed * 1_000_003 + chunk.num_output) % (1 << 63)


def _has_penalties(chunk: ScheduledChunk) -> bool:
    return chunk.request.sampling.has_penalties


def _is_early(chunk: ScheduledChunk) -> bool:
    """Whether its text may not end yet."""
    sampling = chunk.request.sampling
    return chunk.num_output < sampling.min_tokens and bool(sampling.suppressed_token_ids)


def _indices(chunks: Sequence[ScheduledChunk], holds: Callable[[ScheduledChunk], bool]) -> list[int]:
    return [index for index, chunk in enumerate(chunks) if holds(chunk)]


def restrict(logits: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor:
    """Minus infinity for all tokens outside each row's top_k and top_p. As `draw_kernel`, by sorting."""
    vocab_size = logits.shape[1]
    ordered = logits.sort(dim=-1, descending=True).values
    last = [min(param.top_k, vocab_size) - 1 if param.top_k > 0 else vocab_size - 1 for param in params]
    least = ordered.gather(1, to_device(last, logits.device, torch.long).unsqueeze(1))
    ordered = ordered.masked_fill(ordered < least, float("-inf"))
    probabilities = ordered.softmax(dim=-1)
    # Rounding must not cut the tail of a row that keeps everything, just because its neighbour does not.
    kept = [param.top_p if param.top_p < 1.0 else 2.0 for param in params]
    top_p = to_device(kept, logits.device, torch.float32).unsqueeze(1)
    # A token stays if those before it fall short of top_p; the most likely one always stays.
    outside = (probabilities.cumsum(dim=-1) - probabilities) >= top_p
    outside[:, 0] = False
    least = torch.maximum(least, ordered.masked_fill(outside, float("inf")).amin(dim=-1, keepdim=True))
    return logits.masked_fill(logits < least, float("-inf"))
