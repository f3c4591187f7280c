"""What an engine is told when it starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .errors import ConfigurationError
from .parking.config import PARK_POLICIES, ParkingConfig, ParkPolicy
from .scheduling.limits import Batching, SchedulerConfig
from .scheduling.queue_policy import PolicyName
from .simulation.device_profile import is_simulated, parse_host_overhead

AttentionName = Literal["auto", "triton", "native", "varlen", "sdpa"]
ATTENTION_NAMES: tuple[AttentionName, ...] = ("auto", "triton", "native", "varlen", "sdpa")
LoadFormat = Literal["auto", "dummy"]
DTYPES = ("auto", "float32", "bfloat16", "float16")

_DEFAULT_SEQS = {True: 64, False: 256}
_DEFAULT_BATCHED_TOKENS = {True: 256, False: 2048}
"""By whether the device is a CPU."""

DEFAULT_KV_BYTES_ON_CPU = 1 << 30
_DEFAULT_HOST_KV_BYTES = 4 << 30
_BYTE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Everything `abatch serve` tells its engine process. None means: decide from the model and the device.

    Attributes:
        model: `tiny`, a Hugging Face id, a folder, or a .gguf file.
        tokenizer: Where to find the tokenizer, if not with the model.
        load_format: `dummy` takes the shape from config.json, or a built-in one, and random weights.
        device: A torch device (`cpu`, `cuda`, `cuda:1`), `auto`, or a simulated one (see `device_profile`).
        host_overhead: With a simulated device: host time per step (see `parse_host_overhead`).
        dtype: `float32`, `bfloat16`, `float16`, or `auto`: what the model was stored in. On a CPU that is bfloat16 only
            where the processor multiplies it in hardware, else float32; float16 becomes float32 there.
        attention: The attention backend (see `choose_attention`). `auto`: our kernels, in Triton on CUDA and in C++ on
            CPU, else torch's scaled dot product attention.
        cuda_graphs: Steps that only decode are recorded once and replayed, where the device and the attention can.
        fusion: The model's layers are rewritten as fewer and larger operations when it is loaded. Not with `compile`.
        compile: The model's layers go through torch.compile first: a slower start, faster steps.
        block_size: Tokens per KV block.
        kv_memory_bytes: Memory for KV blocks; `num_blocks` overrides it with a count.
        max_num_seqs: As in SchedulerConfig. By default 64 on CPU, else 256.
        max_num_batched_tokens: As in SchedulerConfig. By default 256 on CPU, else 2048.
        max_step_ms: Milliseconds that a step should take at most: prompts are computed in chunks as long as that allows
            beside the decodes. By default as `StepBudget` says; 0: whatever `max_num_batched_tokens` allows.
        window_size: As in SchedulerConfig. By default a quarter of `max_num_seqs`.
        policy: As in SchedulerConfig.
        park: What becomes of a session's KV between its turns (see `ParkingLot`).
        host_kv_memory_bytes: Host memory for parked KV. By default 4 GiB, on CPU none: there a larger
            `kv_memory_bytes` is the same memory, and needs no copies.
        session_timeout_s: A session without a request for this long is forgotten.
        max_queue: Requests that may wait beyond those running, before new ones are refused.
        num_threads: CPU threads of the device's work.
        step_log: File that every step is logged to.
        poison: Debugging: fill memory that no step may read with values that would show in the output.
    """

    model: str = "tiny"
    tokenizer: str | None = None
    load_format: LoadFormat = "auto"
    device: str = "auto"
    dtype: str = "auto"
    batching: Batching = "async"
    attention: AttentionName = "auto"
    cuda_graphs: bool = True
    fusion: bool = True
    compile: bool = False
    block_size: int = 16
    kv_memory_bytes: int | None = None
    num_blocks: int | None = None
    prefix_cache: bool = True
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_step_ms: float | None = None
    max_model_len: int | None = None
    max_queue: int = 1024
    window_size: int | None = None
    window_timeout_s: float = 0.05
    policy: PolicyName = "fcfs"
    park: ParkPolicy = "auto"
    host_kv_memory_bytes: int | None = None
    session_timeout_s: float = 3600.0
    seed: int = 0
    num_threads: int | None = None
    host_overhead: str | None = None
    step_log: str | None = None
    poison: bool = False

    def __post_init__(self) -> None:
        if self.load_format not in ("auto", "dummy"):
            raise ConfigurationError(f"--load-format must be auto or dummy, not {self.load_format!r}")
        for name in ("block_size", "kv_memory_bytes", "num_blocks", "num_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"--{name.removesuffix('_bytes').replace('_', '-')} must be at least 1")
        if self.dtype not in DTYPES:
            raise ConfigurationError(f"--dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.attention not in ATTENTION_NAMES:
            names = ", ".join(ATTENTION_NAMES)
            raise ConfigurationError(f"--attention must be one of {names}, not {self.attention!r}")
        if self.park not in PARK_POLICIES:
            raise ConfigurationError(f"--park must be one of {', '.join(PARK_POLICIES)}, not {self.park!r}")
        if not self.prefix_cache and self.park in ("keep", "offload"):
            raise ConfigurationError(f"--park {self.park} needs the prefix cache; drop --no-prefix-cache")
        if self.host_kv_memory_bytes is not None and self.host_kv_memory_bytes < 0:
            raise ConfigurationError("--host-kv-memory must not be negative")
        if self.park == "offload" and self.host_kv_memory_bytes == 0:
            raise ConfigurationError("--park offload needs a host tier; raise --host-kv-memory")
        if not 0 < self.session_timeout_s < float("inf"):
            raise ConfigurationError(f"--session-timeout must be above 0 seconds, not {self.session_timeout_s:g}")
        if self.max_queue < 0:
            raise ConfigurationError(f"--max-queue must not be negative, not {self.max_queue}")
        if self.host_overhead is not None:
            parse_host_overhead(self.host_overhead)
            if not self.is_simulated:
                raise ConfigurationError(
                    "--host-overhead does not apply to a real device; leave it out or give --device simulated:h100"
                )
        self.scheduler_config(max_model_len=self.max_model_len or 1, on_cpu=True)

    @property
    def is_simulated(self) -> bool:
        """True when no real device is to run."""
        return is_simulated(self.device)

    def scheduler_config(self, *, max_model_len: int, on_cpu: bool) -> SchedulerConfig:
        """The scheduler's part, with what only the loaded model and its device could decide filled in."""
        max_num_seqs = _DEFAULT_SEQS[on_cpu] if self.max_num_seqs is None else self.max_num_seqs
        max_num_batched_tokens = self.max_num_batched_tokens
        if max_num_batched_tokens is None:
            max_num_batched_tokens = max(_DEFAULT_BATCHED_TOKENS[on_cpu], max_num_seqs)
        return SchedulerConfig(
            batching=self.batching,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            max_step_s=None if self.max_step_ms is None else self.max_step_ms / 1e3,
            max_model_len=max_model_len,
            window_size=max(1, max_num_seqs // 4) if self.window_size is None else self.window_size,
            window_timeout_s=self.window_timeout_s,
            policy=self.policy,
        )

    def parking_config(self, *, block_bytes: int, on_cpu: bool) -> ParkingConfig:
        """The parking lot's part. Without the prefix cache nothing is found again, so nothing is held either."""
        host_bytes = self.host_kv_memory_bytes
        if host_bytes is None:
            host_bytes = 0 if on_cpu and self.park != "offload" else _DEFAULT_HOST_KV_BYTES
        return ParkingConfig(
            policy=self.park if self.prefix_cache else "drop",
            host_num_blocks=host_bytes // block_bytes if self.prefix_cache else 0,
            session_timeout_s=self.session_timeout_s,
            block_bytes=block_bytes,
        )


def parse_bytes(text: str) -> int:
    """`"2GiB"`, `"500M"`, `"1048576"` as a number of bytes.

    Raises:
        ConfigurationError: the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", text.lower())
    if match is None:
        raise ConfigurationError(f"{text!r} is not a size; write it as 2GiB, 500MB or 1048576")
    return int(float(match[1]) * _BYTE_UNITS[match[2] or ""])
