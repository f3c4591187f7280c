"""Options that several commands share: said once, meaning the same everywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import typer

from ...engine.config import EngineConfig, parse_bytes
from ...engine.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Option:
    """A command-line option. `name` is the key its value goes by, `limits` are Typer's own (min, max)."""

    name: str
    flags: tuple[str, ...]
    kind: Any
    help: str
    default: Any = None
    parse: Callable[[str], object] | None = None
    limits: dict[str, Any] = field(default_factory=dict)

    def parameter(self, panel: str) -> inspect.Parameter:
        """As Typer wants it."""
        info = typer.Option(*self.flags, help=self.help, rich_help_panel=panel, **self.limits)
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=Annotated[self.kind, info]
        )


def with_options(**groups: Sequence[Option]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command groups of options. Each parameter named like a group receives their values by name."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(**arguments: Any) -> Any:
            values = {
                group: {option.name: arguments.pop(option.name) for option in options}
                for group, options in groups.items()
            }
            return command(**arguments, **values)

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own if parameter.name not in groups
        ]
        for group, options in groups.items():
            parameters += [option.parameter(group.capitalize()) for option in options]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        wrapper.__doc__ = command.__doc__
        wrapper.__name__ = command.__name__
        return wrapper

    return decorate


_ENGINE_DEFAULTS = {config_field.name: config_field.default for config_field in fields(EngineConfig)}


def _engine(name: str, flag: str, kind: Any, text: str, parse: Callable[[str], object] | None = None) -> Option:
    return Option(name, (flag,), kind, text, _ENGINE_DEFAULTS[name], parse)


ENGINE_OPTIONS = (
    _engine(
        "batching",
        "--batching",
        str,
        "async: each step is planned and launched while the one before it runs; continuous: the device waits for the "
        "scheduler; window: static batches.",
    ),
    _engine(
        "device",
        "--device",
        str,
        "auto, cpu, cuda, cuda:1; simulated:h100 (a100, h200, b200, l4, a JSON file, or a step time as 5ms) computes "
        "nothing and costs the time of that device.",
    ),
    _engine(
        "attention",
        "--attention",
        str,
        "auto, triton (our kernels), varlen (torch's own, 2.12 and later, with --block-size 256) or sdpa (any device; "
        "gathers pages). auto: triton on CUDA, else sdpa.",
    ),
    _engine("cuda_graphs", " /--no-cuda-graphs", bool, "Launch every step kernel by kernel, not as CUDA graphs."),
    _engine("compile", "--compile", bool, "Fuse the small operations of the layers by torch.compile; starts slower."),
    _engine("dtype", "--dtype", str, "auto, float32, bfloat16 or float16. auto: float32 on CPU."),
    _engine(
        "tokenizer",
        "--tokenizer",
        str | None,
        "Hub id or folder, if not with the model. With --url: the server's, for prompts of exact lengths.",
    ),
    _engine(
        "load_format",
        "--load-format",
        str,
        "dummy: random weights in the shape of a config.json or of a built-in name.",
    ),
    _engine("max_num_seqs", "--max-num-seqs", int | None, "Sequences that run at once. Default: 64 on CPU, else 256."),
    _engine(
        "max_num_batched_tokens",
        "--max-num-batched-tokens",
        int | None,
        "Tokens a step computes at most; longer prompts are prefilled in chunks. Default: 256 on CPU, else 2048.",
    ),
    _engine("max_model_len", "--max-model-len", int | None, "Context limit. Default: the model's."),
    _engine("block_size", "--block-size", int, "Tokens in a KV block."),
    _engine(
        "kv_memory_bytes",
        "--kv-memory",
        str | None,
        "Memory for KV blocks, as 4GiB. Default: 1GiB on CPU; on CUDA what steps and graphs leave.",
        parse_bytes,
    ),
    _engine("num_blocks", "--num-blocks", int | None, "KV blocks, instead of --kv-memory."),
    _engine("prefix_cache", " /--no-prefix-cache", bool, "Do not find KV blocks by content."),
    _engine("max_queue", "--max-queue", int, "Requests that may wait; more are answered 429."),
    _engine(
        "window_size",
        "--window-size",
        int | None,
        "window: a batch starts with this many requests (default: a quarter of --max-num-seqs) ...",
    ),
    _engine("window_timeout_s", "--window-timeout", float, "... or when the oldest has waited this long (s)."),
    _engine("policy", "--policy", str, "Who joins next of those that wait: fcfs, resume-first or least-attained."),
    _engine(
        "park",
        "--park",
        str,
        "KV of a session that waits for a tool: keep, offload (to the host), drop, or auto: whatever is cheapest.",
    ),
    _engine(
        "host_kv_memory_bytes",
        "--host-kv-memory",
        str | None,
        "Host memory for parked KV, as 16GiB. Default: 4GiB, on CPU none.",
        parse_bytes,
    ),
    _engine("session_timeout_s", "--session-timeout", float, "Forget sessions that are idle for so long (s)."),
    _engine("poison", "--poison", bool, "Debugging: fill what no step may read with NaN and -1."),
    _engine("num_threads", "--num-threads", int | None, "CPU threads of the model. Default: all."),
    _engine(
        "host_overhead", "--host-overhead", str | None, "Simulated host time of a step, as 2ms or 0.4ms+8us a sequence."
    ),
)


def engine_config(model: str, seed: int, values: dict[str, Any], *, step_log: str | None = None) -> EngineConfig:
    """The engine options of a command as a configuration.

    Raises:
        ConfigurationError: a value is out of range.
    """
    parsed: dict[str, Any] = {
        option.name: option.parse(values[option.name])
        if option.parse is not None and values[option.name] is not None
        else values[option.name]
        for option in ENGINE_OPTIONS
    }
    return EngineConfig(model=model, seed=seed, step_log=step_log, **parsed)


def engine_arguments(values: dict[str, Any]) -> list[str]:
    """The same options as words of a command line, those that differ from the default."""
    words: list[str] = []
    for option in ENGINE_OPTIONS:
        value, (flag,) = values[option.name], option.flags
        if value == option.default:
            continue
        if isinstance(value, bool):
            on, _, off = flag.partition("/")
            words.append(on if value else off)
        else:
            words += [flag, str(value)]
    return words


def clean_api_key(key: str | None) -> str | None:
    """The key that a server at --url wants; None if there is none.

    Raises:
        ConfigurationError: it cannot be sent.
    """
    key = (key or "").strip()  # a key read from a file often ends in a line break
    if not key.isprintable():
        raise ConfigurationError("--api-key must be printable characters on one line")
    return key or None
