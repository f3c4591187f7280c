"""Decode steps recorded once as CUDA graphs, for each of a few batch sizes, and replayed with new inputs.

A step of a thousand small kernels costs the host several milliseconds to launch one by one, and the device the gaps
between them. A graph is launched at once. What is recorded is fixed: addresses, shapes and every Python number that
went into a kernel's launch. So the inputs have one place (`DecodeInputs`), batches are padded to a bucket, and nothing
in the step depends on a length: grids follow from the bucket, kernels read lengths on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .attention.base import ChunkLayout, StepAttention
from .attention.paged_triton import DecodeRows, TritonBackend, TritonStep
from .decode_inputs import DecodeInputs, DecodeRowsOnDevice
from .request import Batch, ScheduledChunk

Decoded = tuple[torch.Tensor, torch.Tensor]
"""Logits `[rows, vocabulary]` and the tokens drawn from them `[rows]`, both overwritten by the next step."""

Step = Callable[[], Decoded]
Record = Callable[[Step], Step]
"""Makes of a step one that can be called again and again, with what is then in the inputs."""

Seeds = Callable[[Sequence[ScheduledChunk]], Sequence[int]]
"""What each row draws by."""

RunModel = Callable[[torch.Tensor, torch.Tensor, StepAttention], torch.Tensor]
"""Token ids and positions `[1, rows]` to logits `[rows, vocabulary]`."""


def bucket_sizes(max_num_seqs: int) -> list[int]:
    """Batch sizes that are recorded: few enough to be recorded soon, and close enough that padding costs little."""
    sizes = [1, 2, 4, *range(8, 64, 8), *range(64, 256, 16), *range(256, max_num_seqs + 1, 32)]
    return [*(size for size in sizes if size < max_num_seqs), max_num_seqs]


@dataclass(frozen=True, slots=True)
class WrittenDecode:
    """A decode step whose inputs are in a host buffer.

    Attributes:
        chunks: One token of a sequence each, all of which sample.
        bucket: Rows of the step, padding among them.
        buffer: The host buffer's number.
    """

    chunks: list[ScheduledChunk]
    bucket: int
    buffer: int


class DecodeGraphs:
    """Recorded decode steps.

    Args:
        run_model: The model's forward pass.
        attention: Its attention. Padding has no keys and nowhere to put its own, so no page is set aside for it.
        last_tokens: `[slots + 1]`: each sequence's last token, the last row being padding's.
        max_num_seqs: Most sequences of a step.
        record: `record_cuda_graph`, or in tests the identity.
        poison: See `DecodeInputs`.
    """

    def __init__(
        self,
        run_model: RunModel,
        attention: TritonBackend,
        last_tokens: torch.Tensor,
        *,
        max_num_seqs: int,
        record: Record,
        poison: bool = False,
    ) -> None:
        from .draw_kernel import draw  # Triton: only where it is used

        self._draw = draw
        self._run_model = run_model
        self._attention = attention
        self._last_tokens = last_tokens
        self._record = record
        self.buckets = bucket_sizes(max_num_seqs)
        self._inputs = DecodeInputs(
            max_num_seqs,
            trash_slot=last_tokens.numel() - 1,
            block_size=attention.cache.block_size,
            device=last_tokens.device,
            poison=poison,
        )
        self._steps: dict[int, Step] = {}
        self._kept: list[TritonStep] = []
        """What recorded steps read by its address alone: nothing else would keep it from being freed."""

    @property
    def is_recorded(self) -> bool:
        """True once every bucket can be replayed."""
        return len(self._steps) == len(self.buckets)

    def record(self, size: int) -> None:
        """Record one bucket. The largest should come first: the others then find room in its memory."""
        rows = self._inputs.on_device.first(size)
        sequence_rows = torch.arange(size, dtype=torch.int32, device=rows.slots.device)
        decode = DecodeRows(sequence_rows, rows.slots, rows.lengths)
        attention = TritonStep(self._attention, rows.places, decode, None)
        self._kept.append(attention)
        self._steps[size] = self._record(lambda: self._decode(rows, attention))

    def write(self, batch: Batch, seeds: Seeds) -> WrittenDecode | None:
        """Put a batch into a host buffer, and its new pages into the page table. None if it is no decode alone."""
        chunks = batch.chunks
        if len(chunks) > self.buckets[-1] or batch.num_tokens != len(chunks) or not all(c.samples for c in chunks):
            return None
        bucket = next(size for size in self.buckets if size >= len(chunks))
        self._attention.page_table.follow(
            [
                ChunkLayout(row, 1, chunk.start, chunk.request.block_ids, chunk.request.slot)
                for row, chunk in enumerate(chunks)
            ]
        )
        return WrittenDecode(chunks, bucket, self._inputs.write(chunks, bucket, seeds(chunks)))

    def replay(self, written: WrittenDecode) -> Decoded:
        """Queue the step. Rows of padding are left out of what it returns."""
        self._inputs.copy(written.buffer)
        logits, tokens = self._steps[written.bucket]()
        count = len(written.chunks)
        return logits[:count], tokens[:count]

    def _decode(self, rows: DecodeRowsOnDevice, attention: StepAttention) -> Decoded:
        """One step: relay, model, draw, relay. Everything it reads and writes stays where it is."""
        slots = rows.slots.long()
        token_ids = torch.where(rows.token_ids < 0, self._last_tokens[slots], rows.token_ids)
        logits = self._run_model(token_ids.unsqueeze(0), rows.positions.long().unsqueeze(0), attention)
        tokens = self._draw(logits, rows.temperatures, rows.seeds)
        self._last_tokens.index_copy_(0, slots, tokens)
        return logits, tokens


class GraphRecorder:
    """Records steps as CUDA graphs that share their memory.

    Replays never overlap (one stream, one after the other), so what one graph scratches another may scratch too.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        """See `Record`."""
        current = torch.cuda.current_stream()
        step()  # compiles kernels and makes workspaces, which cannot be done while recording
        current.synchronize()
        graph = torch.cuda.CUDAGraph()
        # "thread_local": what other threads of this process do with CUDA meanwhile (pinned memory, NVML) is their
        # business; by default it would end the recording.
        with torch.cuda.graph(graph, pool=self._pool, stream=current, capture_error_mode="thread_local"):
            decoded = step()
        graph.replay()  # the first one moves it to the device: not while somebody waits for tokens
        current.synchronize()

        def replay() -> Decoded:
            graph.replay()
            return decoded

        return replay
