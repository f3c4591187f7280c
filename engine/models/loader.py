"""From a model's name to a torch module that attends through our pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging as transformers_logging

from ..attention.base import ATTENTION_NAME, AttentionSettings, NoStepAttentionError, register
from ..attention.kv_cache import KVShape
from ..attention.unpacking import UnpackingStep
from ..attention.verify import paged_logits, verify
from ..config import EngineConfig
from ..errors import ConfigurationError, UnsupportedModelError
from .built_in_configs import built_in_config
from .fusion.fuse import rewrite_model
from .host_looks import HostLooks
from .processor import multiplies_bfloat16
from .source import is_built_in, pretrained_arguments
from .tiny import tiny_model

_SPOILT = "left as they are: each part agreed when rewritten, the whole model did not"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run, and what the engine must know about it.

    `max_position` is the most tokens its position encoding knows; None if unlimited. `softcap` is the bound on the
    attention scores; None without soft-capping. `host_looks` names the modules that look at values on the host.
    `layers` says which layers were rewritten; empty where none were to be.
    """

    module: PreTrainedModel
    kv_shape: KVShape
    softcap: float | None
    dtype: torch.dtype
    device: torch.device
    max_position: int | None
    eos_token_ids: frozenset[int]
    vocab_size: int
    host_looks: tuple[str, ...] = ()
    layers: str = ""


def load_model(config: EngineConfig) -> LoadedModel:
    """Load `config.model` onto its device and check that the engine runs it exactly.

    Raises:
        ConfigurationError: there is no such model, device or dtype.
        UnsupportedModelError: the model needs something that the engine lacks.
    """
    register()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    device = device_named(config.device)
    module = _on_device(config, device)
    with HostLooks() as looks:
        kv_shape, softcap = _probe(module, device)
    logits = (paged_logits if config.model == "tiny" else verify)(module, kv_shape, device)
    dtype = module.dtype
    layers = ""
    if config.fusion and not config.compile:
        report = rewrite_model(module, kv_shape, logits)
        layers = _SPOILT if report is None else str(report)
        if report is None:
            del module  # it need not be there twice
            module = _on_device(config, device)
    return LoadedModel(
        module=module,
        kv_shape=kv_shape,
        softcap=softcap,
        dtype=dtype,
        device=device,
        max_position=getattr(module.config, "max_position_embeddings", None),
        eos_token_ids=_eos_token_ids(module),
        vocab_size=int(module.config.vocab_size),
        host_looks=tuple(looks.found),
        layers=layers,
    )


def compile_layers(module: PreTrainedModel) -> int:
    """Have every decoder layer go through torch.compile when it first runs. Returns how many there are.

    Compiling fuses the pointwise work between the matrix products. Layers are compiled, not the model: they are alike,
    so one compilation serves them all, in seconds. The number of tokens is left open, so a step of any size runs what
    has been compiled once. Attention stays as it is: compiled code ends before it and begins again after it.
    """
    register(is_opaque=True)
    layers = [layer for layer in module.modules() if isinstance(layer, GradientCheckpointingLayer)]
    for layer in layers:
        layer.compile(dynamic=True)
    return len(layers)


def _on_device(config: EngineConfig, device: torch.device) -> PreTrainedModel:
    if config.model == "tiny":
        module: PreTrainedModel = tiny_model(config.seed, _dtype(config.dtype, device, torch.float32))
        module.set_attn_implementation(ATTENTION_NAME)
    else:
        module = _from_transformers(config, device)
    moved: PreTrainedModel = module.to(device).eval()  # type: ignore[arg-type]  # transformers types .to() badly
    return moved


def _from_transformers(config: EngineConfig, device: torch.device) -> PreTrainedModel:
    if is_built_in(config.model, config.load_format):
        return _with_random_weights(config, built_in_config(config.model), device)
    name, arguments = pretrained_arguments(config.model)
    model_config = _reading(config.model, lambda: AutoConfig.from_pretrained(name, **arguments))
    _refuse_unsupported(model_config, is_gguf=bool(arguments))
    if config.load_format == "dummy":
        return _with_random_weights(config, model_config, device)
    dtype = _dtype(config.dtype, device, model_config.dtype)
    loaded: PreTrainedModel = _reading(
        config.model,
        lambda: AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, attn_implementation=ATTENTION_NAME, **arguments
        ),
    )
    return loaded


def _with_random_weights(config: EngineConfig, model_config: PreTrainedConfig, device: torch.device) -> PreTrainedModel:
    """Made on their device and in their dtype: there is never a second copy, nor one on the host."""
    dtype = _dtype(config.dtype, device, model_config.dtype)
    torch.manual_seed(config.seed)
    with torch.device(device):
        dummy: PreTrainedModel = _reading(
            config.model,
            lambda: AutoModelForCausalLM.from_config(model_config, dtype=dtype, attn_implementation=ATTENTION_NAME),
        )
    return dummy


def _reading(model: str, read: Callable[[], Any]) -> Any:
    """Call `read`; what transformers raises about a model it cannot find or parse becomes one line."""
    try:
        return read()
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, KeyError) and error.args == (ATTENTION_NAME,):
            raise UnsupportedModelError(
                f"{model}: its attention does not go through the attention interface of transformers"
            ) from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        detail = lines[0] if lines else type(error).__name__
        raise ConfigurationError(f"cannot load the model {model!r}: {detail}") from error


def device_named(name: str) -> torch.device:
    """The torch device of `--device`.

    Raises:
        ConfigurationError: there is none of that name here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # With its index: "cuda" alone is refused where a device is to be made the current one.
        device = torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"--device {name} is not available here: {str(error).splitlines()[0]}") from error
    return device


def _dtype(name: str, device: torch.device, of_model: torch.dtype | str | None) -> torch.dtype:
    """`of_model` is what the model was stored in; None if it does not say."""
    wanted = (of_model or torch.float32) if name == "auto" else name
    # EngineConfig knows the names, and so does transformers.
    dtype: torch.dtype = getattr(torch, wanted) if isinstance(wanted, str) else wanted
    if name == "auto" and device.type == "cpu" and not (dtype is torch.bfloat16 and multiplies_bfloat16()):
        return torch.float32
    return dtype


def _refuse_unsupported(config: PreTrainedConfig, *, is_gguf: bool) -> None:
    """Refuse, before gigabytes are read, what the config already shows the engine would get wrong."""
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(f"{kind} is an encoder-decoder model; only decoders are supported")
    if hasattr(config, "text_config"):
        raise UnsupportedModelError(f"{kind} is a multimodal model; only text decoders are supported")
    if getattr(config, "quantization_config", None) is not None and not is_gguf:
        raise UnsupportedModelError("quantised weights are not supported, except in a .gguf file, which is dequantised")
    if any("mamba" in name or "ssm" in name for name in config.to_dict()):
        # Caught here because with untrained weights the state is too faint for the comparison in `verify`.
        raise UnsupportedModelError(f"{kind} keeps recurrent state besides its attention")
    if getattr(config, "attention_chunk_size", None) is not None:
        raise UnsupportedModelError(f"{kind} uses chunked attention, which no backend here supports yet")
    rope = getattr(config, "rope_parameters", None) or {}
    types = {rope.get("rope_type"), *(part.get("rope_type") for part in rope.values() if isinstance(part, dict))}
    for rope_type in types & {"dynamic", "longrope"}:
        # Their frequencies follow the longest position in the call, so a neighbour in the batch would change them.
        raise UnsupportedModelError(f"{kind} uses {rope_type!r} rotary embeddings, which do not batch exactly")


@dataclass(slots=True)
class _Probe(UnpackingStep):
    """Stands in for attention once, to see what the model asks for."""

    shapes: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """By layer: KV heads, size of a key, size of a value."""

    group_size: int = 1
    saw_window: bool = False
    softcap: float | None = None

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        self.saw_window = self.saw_window or settings.sliding_window is not None
        self.softcap = settings.softcap if self.softcap is None else self.softcap
        self.group_size = max(self.group_size, query.shape[1] // key.shape[1])
        if layer in self.shapes:
            raise UnsupportedModelError("the model attends more than once in a layer")
        self.shapes[layer] = (key.shape[1], key.shape[2], value.shape[2])
        return torch.zeros(*query.shape[:2], value.shape[2], dtype=query.dtype, device=query.device)


def _probe(module: PreTrainedModel, device: torch.device) -> tuple[KVShape, float | None]:
    """Run two tokens through the model and read off how many keys of which size each layer keeps, and the bound on its
    attention scores, if any.

    Whatever the configuration calls these things, and whether or not a model goes through the attention interface
    at all, shows here.
    """
    kind = module.config.model_type
    probe = _Probe()
    ids = torch.zeros((1, 2), dtype=torch.long, device=device)
    positions = torch.arange(2, device=device).unsqueeze(0)
    try:
        with torch.inference_mode():
            module(input_ids=ids, position_ids=positions, use_cache=False, step_attention=probe)
    except (KeyError, AttributeError, TypeError, NoStepAttentionError) as error:
        raise UnsupportedModelError(
            f"{kind} does not go through the attention interface of transformers ({type(error).__name__}: {error})"
        ) from error
    num_layers = int(module.config.num_hidden_layers)
    if sorted(probe.shapes) != list(range(num_layers)):
        raise UnsupportedModelError(
            f"{kind}: only {len(probe.shapes)} of {num_layers} layers use the attention interface of transformers "
            "(recurrent, linear-attention and older hand-written models do not)"
        )
    shapes = set(probe.shapes.values())
    if len(shapes) > 1 or any(key_size != value_size for _, key_size, value_size in shapes):
        raise UnsupportedModelError(f"{kind}: its layers keep keys and values of different shapes")
    if _has_window(module.config) and not probe.saw_window:
        raise UnsupportedModelError(f"{kind} has a sliding window that it does not pass to the attention interface")
    if getattr(module.config, "attn_logit_softcapping", None) is not None and probe.softcap is None:
        raise UnsupportedModelError(f"{kind} has logit soft-capping that it does not pass to the attention interface")
    num_kv_heads, head_size, _ = shapes.pop()
    return KVShape(num_layers, num_kv_heads, head_size, probe.group_size), probe.softcap


def _has_window(config: PreTrainedConfig) -> bool:
    """Whether any layer is limited to a window, as far as the configuration says."""
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return any("sliding" in kind for kind in layer_types)
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)


def _eos_token_ids(module: PreTrainedModel) -> frozenset[int]:
    ids: set[int] = set()
    for source in (module.generation_config, module.config):
        eos = getattr(source, "eos_token_id", None)
        ids.update(eos if isinstance(eos, list) else [] if eos is None else [eos])
    return frozenset(ids)
