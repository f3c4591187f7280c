"""Steps recorded once as CUDA graphs, for each of a few sizes, and replayed with new inputs.

A step of a thousand small kernels costs the host several milliseconds to launch one by one, and the device the gaps
between them. A graph is launched at once. What is recorded is fixed: addresses, shapes and every Python number that
went into a kernel's launch. So the inputs have one place (`StepInputs`), batches are padded to a bucket, and nothing
in the step depends on a length: grids follow from the bucket, kernels read lengths on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..attention.base import StepAttention
from ..attention.paged_triton import TritonBackend, TritonStep
from ..request import Batch, ScheduledChunk
from .drawing import Relay, drawing_columns
from .step_columns import step_columns
from .step_inputs import StepInputs, StepOnDevice
from .step_shapes import StepShape, decode_shapes, mixed_shapes

Decoded = tuple[torch.Tensor, torch.Tensor]
"""Logits `[samples, vocabulary]`, overwritten by the next step, and the tokens drawn from them `[samples]`, overwritten
by the one after that."""

Step = Callable[[], None]
"""Computes a step. What comes of it lies where it always does."""

Record = Callable[[Step], Step]
"""Turns a step into one that can be called again and again, on what is then in the inputs."""

Seeds = Callable[[Sequence[ScheduledChunk]], Sequence[int]]
"""What each row draws by."""

RunModel = Callable[[torch.Tensor, torch.Tensor, StepAttention, "torch.Tensor | int"], torch.Tensor]
"""Token ids and positions `[1, rows]`, attention, the rows that are wanted (0: all) to logits `[rows, vocabulary]`."""


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """A step whose inputs are in a host buffer.

    Attributes:
        sampling: The chunks that sample, in order.
        shape: Which recorded step it is.
        buffer: The host buffer's number, and which half of the drawn tokens the step writes.
    """

    sampling: list[ScheduledChunk]
    shape: StepShape
    buffer: int


class RecordedSteps:
    """Steps that decode, and steps with short prompts beside that.

    Args:
        run_model: The model's forward pass.
        attention: Its attention. Padding has no keys and nowhere to put its own, so no page is set aside for it.
        last_tokens: `[slots + 1]`: each sequence's last token, the last row being padding's.
        max_num_seqs: Most sequences of a step.
        max_num_batched_tokens: Most tokens of a step.
        record: `GraphRecorder`, or in tests the identity.
        poison: See `StepInputs`.
    """

    def __init__(
        self,
        run_model: RunModel,
        attention: TritonBackend,
        last_tokens: torch.Tensor,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        record: Record,
        poison: bool = False,
    ) -> None:
        self._run_model = run_model
        self._attention = attention
        self._last_tokens = last_tokens
        self._record = record
        block_size = attention.cache.block_size
        extra_parts = attention.extra_parts
        self._decode_shapes = decode_shapes(max_num_seqs, extra_parts=extra_parts)
        self._mixed_shapes = mixed_shapes(
            max_num_seqs,
            max_num_batched_tokens,
            tokens_per_tile=attention.tokens_per_tile(),
            block_size=block_size,
            extra_parts=extra_parts,
        )
        device = last_tokens.device
        self.shapes = sorted([*self._decode_shapes, *self._mixed_shapes], reverse=True)
        """Of all steps that are to be recorded, largest first: the others then find room in its memory."""
        self._inputs = StepInputs(
            self.shapes,
            trash_slot=last_tokens.numel() - 1,
            device=device,
            poison=poison,
        )
        most_samples = max(shape.samples for shape in self.shapes)
        self._drawn = torch.zeros((2, most_samples), dtype=torch.int64, device=device)
        # One for two steps: a step is collected before the next but one is launched.
        self._on_host = torch.zeros((2, most_samples), dtype=torch.int64, pin_memory=device.type == "cuda")
        self._logits: torch.Tensor | None = None
        """`[most samples, vocabulary]`. Without a place of their own, each recorded step would keep memory for them."""
        self._steps: dict[StepShape, Step] = {}
        self._kept: list[object] = []
        """What recorded steps read by its address alone: nothing else would keep it from being freed."""

    @property
    def is_recorded(self) -> bool:
        """True once every step can be replayed."""
        return len(self._steps) == len(self.shapes)

    def record(self, shape: StepShape) -> None:
        """Record one step."""
        step = self._inputs.on_device(shape)
        attention = TritonStep(self._attention, step.places, step.decode, step.prefill)
        self._kept += [step, attention]
        self._steps[shape] = self._record(lambda: self._compute(shape, step, attention))

    def write(self, batch: Batch, seeds: Seeds) -> WrittenStep | None:
        """Put a batch into a host buffer. None if no recorded step is large enough, and nothing is written then."""
        if batch.num_tokens > self.shapes[0].rows:
            return None
        step = step_columns(batch, self._attention)
        shape = self._shape_for(step.num_rows, step.num_decodes, step.num_tiles, len(step.sampling))
        if shape is None:
            return None
        page_table, values = self._attention.page_table, step.values
        entries, pages = page_table.changes((chunk[0].slot, chunk[0].block_ids) for chunk in batch.chunks)
        if len(entries) <= shape.pages:
            values["page_entries"], values["pages"] = entries, pages
        else:  # a long prefix that was found in the cache
            page_table.write(entries, pages)
        values |= drawing_columns(step.sampling)
        return WrittenStep(step.sampling, shape, self._inputs.write(values, shape, seeds=seeds(step.sampling)))

    def _shape_for(self, rows: int, decodes: int, tiles: int, samples: int) -> StepShape | None:
        """The smallest that holds so much. One that only decodes samples from each of its rows."""
        if rows == decodes == samples and decodes <= self._decode_shapes[-1].rows:
            return next(shape for shape in self._decode_shapes if shape.rows >= rows)
        for shape in self._mixed_shapes:
            if shape.rows >= rows and shape.decodes >= decodes and shape.tiles >= tiles and shape.samples >= samples:
                return shape
        return None

    def replay(self, written: WrittenStep, begins: Callable[[], None] = lambda: None) -> Decoded:
        """Queue the step. Rows of padding are left out of what it returns. `begins` is called right before it."""
        self._inputs.copy(written.buffer)
        begins()
        self._steps[written.shape]()
        assert self._logits is not None  # made when the first step was recorded
        count = len(written.sampling)
        return self._logits[:count], self._drawn[written.buffer, :count]

    def on_host(self, written: WrittenStep) -> torch.Tensor:
        """Where the host wants the step's tokens `[samples]`."""
        return self._on_host[written.buffer, : len(written.sampling)]

    def _compute(self, shape: StepShape, step: StepOnDevice, attention: StepAttention) -> None:
        """One step: relay, model, draw, relay. Everything it reads and writes stays where it is."""
        from .draw_kernel import draw  # Triton: only where it is used
        from .step_kernels import begin

        table = self._attention.page_table.table
        input_ids, position_ids, kept_rows = begin(step, self._last_tokens, table)
        logits = self._run_model(input_ids, position_ids, attention, 0 if shape.is_decode else kept_rows)
        draw(logits, step.drawing, Relay(step.sample_slots, self._last_tokens, self._drawn, step.turn))
        if self._logits is None:
            self._logits = logits.new_zeros((self._drawn.shape[1], logits.shape[1]))
        self._logits[: shape.samples].copy_(logits)


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
            step()
        graph.replay()  # the first one moves it to the device: not while a client waits for tokens
        current.synchronize()
        return graph.replay
