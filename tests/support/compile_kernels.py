"""Compile every kernel, as the engine calls it, for GPUs that are not there: `compile_kernels.py 90 80:llama-3.1-8b`.

Each argument is a compute capability, all variants of which are compiled, or `capability:variant`; `90:versions` counts
how often each kernel is compiled for batches of every size. One process does it all: what variants have in common is
compiled once. It is a process of its own, because Triton decides when a kernel is defined whether to interpret it.

The engine's own calls are made, with tensors on the CPU; instead of launching a kernel, Triton compiles what would have
been launched, down to machine code. Prints one JSON object a kernel, or of counts.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import triton
from abatch.engine.attention.base import AttentionSettings, ChunkLayout, PackedHeads, Rotation
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.attention.paged_triton import TritonBackend
from abatch.engine.device.draw_kernel import draw
from abatch.engine.device.drawing import DrawRows, Relay
from abatch.engine.device.step_inputs import StepInputs
from abatch.engine.device.step_kernels import begin
from abatch.engine.device.step_shapes import StepShape
from abatch.engine.models.fusion.triton_kernels import TritonKernels
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}
"""What a program may have, by compute capability. 8.6 and 8.9 have what 12.0 has, and run what is compiled for 8.0."""

Variant = tuple[str, int, int, int, int, torch.dtype, int | None, float | None]
"""Name, query heads, KV heads, head size, block size, dtype, sliding window, soft cap."""

LLAMA: Variant = ("llama-3.1-8b", 32, 8, 128, 16, torch.bfloat16, None, None)
VARIANTS: tuple[Variant, ...] = (
    LLAMA,
    ("float16 page 256", 32, 8, 64, 256, torch.float16, None, None),
    ("float32", 9, 3, 64, 16, torch.float32, None, None),
    ("gemma2", 8, 4, 256, 16, torch.bfloat16, 4096, 50.0),
)


class _Driver:
    """Answers what Triton asks of a device before it compiles."""

    def __init__(self, architecture: int) -> None:
        self._target = GPUTarget("cuda", architecture, 32)

    def get_current_device(self) -> int:
        """Triton keeps what it has compiled by the number of the device, not by its kind."""
        return int(self._target.arch)

    def get_current_stream(self, _: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return self._target


@contextmanager
def compiled_instead_of_launched(architecture: int) -> Iterator[list[Any]]:
    """Kernels that are called in here are compiled, and the results are in the list."""
    compiled: list[Any] = []
    launch = JITFunction.__getitem__

    def compile_only(kernel: Any, grid: Any) -> Callable[..., None]:
        return lambda *arguments, **options: compiled.append(kernel.warmup(*arguments, grid=grid, **options))

    triton.runtime.driver.set_active(_Driver(architecture))
    JITFunction.__getitem__ = compile_only
    try:
        yield compiled
    finally:
        JITFunction.__getitem__ = launch


def call_all(variant: Variant, shared_bytes: int) -> None:
    """A mixed step, its attention packed and not, what else a rewritten layer launches, what comes before and behind it
    in a recorded step, and a draw.
    """
    _, num_heads, num_kv_heads, head_size, block_size, dtype, window, softcap = variant
    shape = KVShape(1, num_kv_heads, head_size, num_heads // num_kv_heads)
    cache = KVCache(shape, 4, block_size, dtype=dtype, device=torch.device("cpu"))
    backend = TritonBackend(cache, num_slots=2, max_num_pages=8)
    backend.shared_bytes = shared_bytes
    step = backend.plan([ChunkLayout(0, 1, 4, [0], 0), ChunkLayout(1, 9, 0, [1], 1)])

    def rows(heads: int) -> torch.Tensor:
        return torch.zeros(heads, 10, head_size, dtype=dtype).transpose(0, 1)

    settings = AttentionSettings(scaling=head_size**-0.5, sliding_window=window, softcap=softcap)
    step.attend(0, rows(num_heads), rows(num_kv_heads), rows(num_kv_heads), settings)
    packed = torch.zeros(10, (num_heads + 2 * num_kv_heads) * head_size, dtype=dtype)
    turns = torch.zeros(10, head_size, dtype=dtype)
    norm = torch.zeros(head_size, dtype=dtype)
    heads = PackedHeads(num_heads=num_heads, num_kv_heads=num_kv_heads, head_size=head_size)
    step.attend_packed(0, packed, heads, Rotation(turns, turns), settings)
    normed = replace(heads, query_norm=norm, key_norm=norm, epsilon=1e-6)
    step.attend_packed(0, packed, normed, Rotation(turns, turns), settings)
    layer = TritonKernels()
    hidden = num_heads * head_size
    layer.rms_norm(torch.zeros(10, hidden, dtype=dtype), torch.zeros(hidden, dtype=dtype), 1e-6)
    layer.gate(torch.zeros(10, 7 * hidden, dtype=dtype))
    recorded = StepShape(10, 1, 1, 2, 2, 2)
    inputs = StepInputs([recorded], trash_slot=2, device=torch.device("cpu"))
    on_device, last_tokens = inputs.on_device(recorded), torch.zeros(3, dtype=torch.long)
    begin(on_device, last_tokens, backend.page_table.table)
    logits = torch.zeros(2, 128256, dtype=dtype)
    relay = Relay(on_device.sample_slots, last_tokens, torch.zeros((2, 2), dtype=torch.long), on_device.turn)
    draw(logits, on_device.drawing, relay)
    ints, floats = torch.zeros(2, dtype=torch.int32), torch.zeros(2)
    draw(logits, DrawRows(torch.zeros(2, dtype=torch.long), floats, ints, floats))


def facts(architecture: int, name: str, kernel: Any) -> dict[str, Any]:
    """What the machine code needs of a multiprocessor. `spilled_bytes` a thread, of local memory."""
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [str(tools / "cuobjdump"), "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    numbers = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", usage.splitlines()[-1])}
    return {
        "architecture": architecture,
        "variant": name,
        "kernel": kernel.metadata.name,
        "registers": numbers["REG"],
        "spilled_bytes": numbers["STACK"] + numbers["LOCAL"],
        "shared_bytes": kernel.metadata.shared,
        "num_warps": kernel.metadata.num_warps,
        "uses_tensor_cores": "mma" in kernel.asm["ptx"],
        "waits_for_the_kernel_before": "griddepcontrol.wait" in kernel.asm["ptx"],
    }


def count_versions(architecture: int) -> dict[str, int]:
    """How often each kernel is compiled for batches of every size, prompts among them."""
    shape = KVShape(1, 2, 64, 4)
    cache = KVCache(shape, 64, 16, dtype=torch.bfloat16, device=torch.device("cpu"))
    backend = TritonBackend(cache, num_slots=64, max_num_pages=4)
    backend.num_processors = 8
    layer = TritonKernels()
    with compiled_instead_of_launched(architecture) as compiled:
        for count in range(1, 40):
            chunks = [ChunkLayout(row, 1, 3, [row], row) for row in range(count)]
            for step, num_tokens in (
                (backend.plan(chunks), count),
                (backend.plan([*chunks, ChunkLayout(count, count + 1, 0, [0] * 3, count)]), 2 * count + 1),
            ):
                query, key = (torch.zeros(heads, num_tokens, 64, dtype=torch.bfloat16) for heads in (8, 2))
                rows = query.transpose(0, 1), key.transpose(0, 1), key.transpose(0, 1)
                step.attend(0, *rows, AttentionSettings(scaling=0.125))
                packed, turns = (torch.zeros(num_tokens, size, dtype=torch.bfloat16) for size in (12 * 64, 64))
                heads = PackedHeads(num_heads=8, num_kv_heads=2, head_size=64)
                step.attend_packed(0, packed, heads, Rotation(turns, turns), AttentionSettings(scaling=0.125))
                layer.rms_norm(packed, packed[0], 1e-5)
                layer.gate(packed)
    versions = {id(kernel): kernel.metadata.name for kernel in compiled}
    return dict(Counter(versions.values()))


def compile_variant(architecture: int, variant: Variant) -> None:
    """Compile what this variant calls, and print what became of it."""
    with compiled_instead_of_launched(architecture) as compiled:
        call_all(variant, SHARED_BYTES[architecture])
    for kernel in {id(kernel): kernel for kernel in compiled}.values():
        print(json.dumps(facts(architecture, variant[0], kernel)), flush=True)


def main() -> None:
    for argument in sys.argv[1:]:
        architecture, _, name = argument.partition(":")
        if name == "versions":
            print(json.dumps({"versions": count_versions(int(architecture))}), flush=True)
            continue
        for variant in VARIANTS:
            if name in ("", variant[0]):
                compile_variant(int(architecture), variant)


if __name__ == "__main__":
    main()
