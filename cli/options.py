"""Options that several commands share: said once, meaning the same everywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any

import typer

from ..engine.config import EngineConfig, parse_bytes

_ENGINE_PANEL = "Engine"


@dataclass(frozen=True, slots=True)
class EngineOption:
    """A command-line option of the engine: the field of `EngineConfig` it sets, and how it is spelled."""

    field: str
    flag: str
    kind: Any
    help: str
    parse: Callable[[str], object] | None = None

    @property
    def default(self) -> object:
        """As in `EngineConfig`."""
        value = next(field.default for field in fields(EngineConfig) if field.name == self.field)
        return None if value is MISSING else value


ENGINE_OPTIONS = (
    EngineOption(
        "batching",
        "--batching",
        str,
        "async: each step is planned and launched while the one before it runs; continuous: the device waits for the "
        "scheduler; window: static batches.",
    ),
    EngineOption(
        "device",
        "--device",
        str,
        "auto, cpu, cuda, cuda:1; simulated:h100 (a100, h200, b200, l4, a JSON file, or a step time as 5ms) computes "
        "nothing and costs the time of that device.",
    ),
    EngineOption(
        "host_overhead", "--host-overhead", str | None, "Simulated host time of a step, as 2ms or 0.4ms+8us a sequence."
    ),
    EngineOption("dtype", "--dtype", str, "auto, float32, bfloat16 or float16. auto: float32 on CPU."),
    EngineOption("tokenizer", "--tokenizer", str | None, "Hub id or folder, if not with the model."),
    EngineOption("load_format", "--load-format", str, "dummy: the shape of config.json with random weights."),
    EngineOption(
        "max_num_seqs", "--max-num-seqs", int | None, "Sequences that run at once. Default: 64 on CPU, else 256."
    ),
    EngineOption(
        "max_num_batched_tokens",
        "--max-num-batched-tokens",
        int | None,
        "Tokens a step computes at most; longer prompts are prefilled in chunks. Default: 256 on CPU, else 2048.",
    ),
    EngineOption("max_model_len", "--max-model-len", int | None, "Context limit. Default: the model's."),
    EngineOption("block_size", "--block-size", int, "Tokens in a KV block."),
    EngineOption(
        "kv_memory_bytes",
        "--kv-memory",
        str | None,
        "Memory for KV blocks, as 4GiB. Default: 1GiB on CPU, 85% of what is free on CUDA.",
        parse_bytes,
    ),
    EngineOption("num_blocks", "--num-blocks", int | None, "KV blocks, instead of --kv-memory."),
    EngineOption("prefix_cache", " /--no-prefix-cache", bool, "Do not find KV blocks by content."),
    EngineOption("max_queue", "--max-queue", int, "Requests that may wait; more are answered 429."),
    EngineOption(
        "window_size",
        "--window-size",
        int | None,
        "window: a batch starts with this many requests (default: a quarter of --max-num-seqs) ...",
    ),
    EngineOption("window_timeout_s", "--window-timeout", float, "... or when the oldest has waited this long (s)."),
    EngineOption("num_threads", "--num-threads", int | None, "CPU threads of the model. Default: all."),
)


def with_engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all engine options. Its parameter `engine` receives their values by field."""

    def wrapper(**arguments: Any) -> Any:
        values = {option.field: arguments.pop(option.field) for option in ENGINE_OPTIONS}
        return command(**arguments, engine=values)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "engine"]
    engine = [
        inspect.Parameter(
            option.field,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=Annotated[
                option.kind, typer.Option(option.flag, help=option.help, rich_help_panel=_ENGINE_PANEL)
            ],
        )
        for option in ENGINE_OPTIONS
    ]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapper.__signature__ = inspect.Signature([*keyword_only, *engine])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keyword_only, *engine]}
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def engine_config(model: str, seed: int, values: dict[str, Any]) -> EngineConfig:
    """The engine options of a command as a configuration.

    Raises:
        ConfigurationError: a value is out of range.
    """
    parsed: dict[str, Any] = {
        option.field: option.parse(values[option.field])
        if option.parse is not None and values[option.field] is not None
        else values[option.field]
        for option in ENGINE_OPTIONS
    }
    return EngineConfig(model=model, seed=seed, **parsed)


def engine_arguments(values: dict[str, Any]) -> list[str]:
    """The same options as words of a command line, those that differ from the default."""
    words: list[str] = []
    for option in ENGINE_OPTIONS:
        value = values[option.field]
        if value == option.default:
            continue
        if isinstance(value, bool):
            on, _, off = option.flag.partition("/")
            words.append(on if value else off)
        else:
            words += [option.flag, str(value)]
    return words
