"""The options of our own engine: those of `abatch serve`, and of every command that starts one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

from typer import Option

from ...engine.config import EngineConfig, parse_bytes
from ...engine.timing.durations import format_duration
from .groups import words
from .times import time_option

_DEFAULTS = EngineConfig()
_SAVED_AS = {"kv_memory": "kv_memory_bytes", "host_kv_memory": "host_kv_memory_bytes"}
"""Fields that the configuration, and config.json, know by another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How our own engine serves. See `EngineConfig` for what the values mean; sizes are texts such as `4GiB`."""

    panel: ClassVar[str] = "Engine"

    batching: Annotated[
        str,
        Option(
            help="async: each step is planned and launched while the one before it runs; continuous: the device waits "
            "for the scheduler; window: static batches."
        ),
    ] = _DEFAULTS.batching
    device: Annotated[
        str,
        Option(
            help="auto, cpu, cuda, cuda:1; simulated:h100 (a100, h200, b200, l4, a JSON file, or a step time such as "
            "5ms) computes nothing and takes the time of that device."
        ),
    ] = _DEFAULTS.device
    attention: Annotated[
        str,
        Option(
            help="auto, triton (our kernels on CUDA), native (our kernels on CPU, compiled by g++ at the first start), "
            "varlen (torch's own, 2.12 and later, with --block-size 256) or sdpa (any device; gathers pages). auto: "
            "triton on CUDA, native on CPU, and sdpa where these cannot be."
        ),
    ] = _DEFAULTS.attention
    cuda_graphs: Annotated[bool, Option(" /--no-cuda-graphs", help="Disable CUDA graphs.", show_default=False)] = (
        _DEFAULTS.cuda_graphs
    )
    fusion: Annotated[
        bool,
        Option(" /--no-fusion", help="Leave the model's layers as transformers has them.", show_default=False),
    ] = _DEFAULTS.fusion
    compile: Annotated[
        bool, Option("--compile", help="Fuse small operations of the layers by torch.compile; starts slower.")
    ] = _DEFAULTS.compile
    dtype: Annotated[
        str,
        Option(
            help="auto, float32, bfloat16 or float16. auto: the model's own; on CPU bfloat16 if it was stored in that "
            "and the processor has instructions for it, else float32."
        ),
    ] = _DEFAULTS.dtype
    tokenizer: Annotated[
        str | None,
        Option(help="Hub id or folder, if not with the model. With --url: the server's, for prompts of exact lengths."),
    ] = _DEFAULTS.tokenizer
    load_format: Annotated[
        str, Option(help="dummy: random weights in the shape of a config.json or of a built-in name.")
    ] = _DEFAULTS.load_format
    max_num_seqs: Annotated[int | None, Option(help="Sequences that run at once. Default: 64 on CPU, else 256.")] = (
        _DEFAULTS.max_num_seqs
    )
    max_num_batched_tokens: Annotated[
        int | None,
        Option(
            help="Most tokens computed per step; longer prompts are prefilled in chunks. Default: 256 on CPU, else "
            "2048."
        ),
    ] = _DEFAULTS.max_num_batched_tokens
    max_step_ms: Annotated[
        float | None,
        time_option(
            "--max-step-ms",
            unit="ms",
            help="What a step may take (milliseconds): beside decodes, prompts are prefilled in chunks that fit. "
            "Default: twice what the decodes take; 0: by tokens alone.",
        ),
    ] = _DEFAULTS.max_step_ms
    max_model_len: Annotated[int | None, Option(help="Context limit. Default: the model's.")] = _DEFAULTS.max_model_len
    block_size: Annotated[int, Option(help="Tokens per KV block.")] = _DEFAULTS.block_size
    kv_memory: Annotated[
        str | None,
        Option(help="Memory for KV blocks, such as 4GiB. Default: 1GiB on CPU; on CUDA what steps and graphs leave."),
    ] = None
    num_blocks: Annotated[int | None, Option(help="KV blocks, instead of --kv-memory.")] = _DEFAULTS.num_blocks
    prefix_cache: Annotated[bool, Option(" /--no-prefix-cache", help="Disable prefix caching.", show_default=False)] = (
        _DEFAULTS.prefix_cache
    )
    max_queue: Annotated[int, Option(help="Requests that may wait; more are answered 429.")] = _DEFAULTS.max_queue
    window_size: Annotated[
        int | None,
        Option(help="window: a batch starts with this many requests (default: a quarter of --max-num-seqs) ..."),
    ] = _DEFAULTS.window_size
    window_timeout_s: Annotated[
        float,
        time_option(
            "--window-timeout",
            help="... or when the oldest has waited this long. "
            f"Default: {format_duration(_DEFAULTS.window_timeout_s)}.",
        ),
    ] = _DEFAULTS.window_timeout_s
    policy: Annotated[str, Option(help="Which waiting request joins next: fcfs, resume-first or least-attained.")] = (
        _DEFAULTS.policy
    )
    park: Annotated[
        str,
        Option(
            help="KV of a session that waits for a tool: keep, offload (to the host), drop, or auto: whichever is "
            "cheapest."
        ),
    ] = _DEFAULTS.park
    host_kv_memory: Annotated[
        str | None, Option(help="Host memory for parked KV, such as 16GiB. Default: 4GiB, on CPU none.")
    ] = None
    session_timeout_s: Annotated[
        float,
        time_option(
            "--session-timeout",
            help=f"Forget sessions idle for this long. Default: {format_duration(_DEFAULTS.session_timeout_s)}.",
        ),
    ] = _DEFAULTS.session_timeout_s
    poison: Annotated[
        bool, Option("--poison", help="Debugging: fill memory that no step may read with NaN and -1.")
    ] = _DEFAULTS.poison
    num_threads: Annotated[int | None, Option(help="CPU threads of the model. Default: all.")] = _DEFAULTS.num_threads
    host_overhead: Annotated[
        str | None,
        Option(help="Simulated host time per step, such as 2ms, or 0.4ms+8us to add a time per sequence."),
    ] = _DEFAULTS.host_overhead

    def config(self, model: str, seed: int, *, step_log: str | None = None) -> EngineConfig:
        """The configuration of an engine.

        Args:
            model: What to serve.
            seed: Of random weights and of sampling without a seed.
            step_log: File to which every step is logged.

        Raises:
            ConfigurationError: a value is out of range.
        """
        values = asdict(self)
        for name, in_bytes in _SAVED_AS.items():
            text = values.pop(name)
            values[in_bytes] = None if text is None else parse_bytes(text)
        return EngineConfig(model=model, seed=seed, step_log=step_log, **values)

    def arguments(self) -> list[str]:
        """The same options as words of a command line, those that differ from the default."""
        return words(self)

    def saved(self) -> dict[str, object]:
        """What config.json keeps of them."""
        return {_SAVED_AS.get(name, name): value for name, value in asdict(self).items()}
