"""The shape of a model, without its weights: what a step has to move and to multiply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigurationError, UnsupportedModelError

_WITHOUT_GATE = frozenset(
    "apertus arcee bloom codegen falcon gpt2 gpt_bigcode gpt_neo gpt_neox gptj mpt nemotron opt phi starcoder2".split()
)
"""Model types whose MLP is two matrices. The others have a third, the gate."""

_DECODER_CLASSES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")

_SLIDING_PATTERNS = {"gemma2": 2, "gemma3_text": 6, "cohere2": 4}

_OTHER_KINDS = {
    "kv_lora_rank": "latent attention (MLA)",
    "ssm_cfg": "state space layers",
    "mamba_d_state": "state space layers",
    "state_size": "state space layers",
    "linear_num_key_heads": "linear attention layers",
    "attn_type_list": "linear attention layers",
    "lru_width": "recurrent layers",
    "conv_L_cache": "convolution layers",
    "moe_num_experts": "experts under names of its own",
    "quantization_config": "quantised weights",
}


class ModelShape(msgspec.Struct, frozen=True, kw_only=True):
    """A decoder with grouped-query attention, dense or a mixture of experts.

    Attributes:
        mlp_size: Inner size of the dense MLP; 0 if all layers have experts.
        num_mlp_layers: Layers with a dense MLP (a shared expert counts as one, of its own size).
        mlp_matrices: 3 with a gate, else 2.
        expert_size: Inner size of one expert.
        num_expert_layers: Layers with experts.
        sliding_window: Positions that `num_sliding_layers` of the layers look back.
    """

    name: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int
    is_tied: bool
    max_position: int
    mlp_size: int
    num_mlp_layers: int
    mlp_matrices: int = 3
    num_experts: int = 0
    num_active_experts: int = 0
    expert_size: int = 0
    num_expert_layers: int = 0
    sliding_window: int = 0
    num_sliding_layers: int = 0

    def __post_init__(self) -> None:
        sizes = (self.num_layers, self.hidden_size, self.num_heads, self.num_kv_heads, self.head_size, self.vocab_size)
        if min(*sizes, self.max_position) < 1 or self.num_active_experts > self.num_experts:
            raise ValueError("a size is below 1, or more experts are active than there are")

    @property
    def attention_params(self) -> int:
        """Weights of all attention projections."""
        rows = (2 * self.num_heads + 2 * self.num_kv_heads) * self.head_size
        return self.num_layers * self.hidden_size * rows

    @property
    def dense_params(self) -> int:
        """Weights that every token goes through, the output head not among them."""
        mlp = self.num_mlp_layers * self.mlp_matrices * self.hidden_size * self.mlp_size
        router = self.num_expert_layers * self.hidden_size * self.num_experts
        return self.attention_params + mlp + router

    @property
    def expert_params(self) -> int:
        """Weights of one expert in all layers that have experts."""
        return self.num_expert_layers * self.mlp_matrices * self.hidden_size * self.expert_size

    @property
    def head_params(self) -> int:
        """Weights of the output head."""
        return self.vocab_size * self.hidden_size

    @property
    def num_params(self) -> int:
        """All weights. Norms and biases, a thousandth of it, are left out."""
        embeddings = self.head_params * (1 if self.is_tied else 2)
        return embeddings + self.dense_params + self.num_experts * self.expert_params

    @property
    def num_active_params(self) -> int:
        """Weights that one token goes through, the embedding's row not counted."""
        return self.head_params + self.dense_params + self.num_active_experts * self.expert_params

    def kv_bytes_per_token(self, dtype_bytes: int) -> int:
        """Bytes that one token's keys and values take over all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_size * dtype_bytes


def _dense(name: str, **sizes: Any) -> ModelShape:
    return ModelShape(name=name, num_mlp_layers=sizes["num_layers"], **sizes)


SHAPES = {
    shape.name: shape
    for shape in (
        _dense(
            "smollm2-135m",
            num_layers=30,
            hidden_size=576,
            num_heads=9,
            num_kv_heads=3,
            head_size=64,
            vocab_size=49152,
            is_tied=True,
            max_position=8192,
            mlp_size=1536,
        ),
        _dense(
            "llama-3.1-8b",
            num_layers=32,
            hidden_size=4096,
            num_heads=32,
            num_kv_heads=8,
            head_size=128,
            vocab_size=128256,
            is_tied=False,
            max_position=131072,
            mlp_size=14336,
        ),
        _dense(
            "llama-3.1-70b",
            num_layers=80,
            hidden_size=8192,
            num_heads=64,
            num_kv_heads=8,
            head_size=128,
            vocab_size=128256,
            is_tied=False,
            max_position=131072,
            mlp_size=28672,
        ),
        ModelShape(
            name="qwen3-30b-a3b",
            num_layers=48,
            hidden_size=2048,
            num_heads=32,
            num_kv_heads=4,
            head_size=128,
            vocab_size=151936,
            is_tied=False,
            max_position=40960,
            mlp_size=0,
            num_mlp_layers=0,
            num_experts=128,
            num_active_experts=8,
            expert_size=768,
            num_expert_layers=48,
        ),
    )
}
DEFAULT_SHAPE = "llama-3.1-8b"


def load_shape(model: str) -> ModelShape:
    """A built-in shape by name, or that of a Hugging Face config.json (the file, or a folder with one).

    Raises:
        ConfigurationError: there is none.
        UnsupportedModelError: its layers are of another kind than attention over KV of every token.
    """
    if model in SHAPES:
        return SHAPES[model]
    path = Path(model).expanduser()
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        raise ConfigurationError(
            f"a simulated device needs a shape: {', '.join(SHAPES)}, or a config.json (the file, or its folder), "
            f"not {model!r}"
        )
    try:
        config = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    try:
        return shape_of(config.get("text_config", config), name=_name(path))
    except KeyError as error:
        raise UnsupportedModelError(f"{path} is not a decoder's configuration: it lacks {error.args[0]}") from error
    except (AttributeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UnsupportedModelError(f"{path} is not a decoder's configuration: {error}") from error


def _name(path: Path) -> str:
    return path.parent.resolve().name if path.name == "config.json" else path.stem


def shape_of(config: dict[str, Any], *, name: str) -> ModelShape:
    """The shape that a Hugging Face configuration describes.

    Raises:
        KeyError: a size is missing.
        UnsupportedModelError: see `load_shape`.
    """
    _refuse_unknown(config, name)
    num_layers = int(_first(config, "num_hidden_layers", "n_layer"))
    hidden_size = int(_first(config, "hidden_size", "n_embd"))
    num_heads = int(_first(config, "num_attention_heads", "n_head"))
    mlp_size = int(_first(config, "intermediate_size", "n_inner", default=4 * hidden_size))
    num_experts = int(_first(config, "num_experts", "num_local_experts", "n_routed_experts", default=0))
    if num_experts:
        mlp = _mixture(config, num_layers, mlp_size, num_experts)
    else:
        mlp = {"mlp_size": mlp_size, "num_mlp_layers": num_layers}
    return ModelShape(
        name=name,
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_kv_heads=_num_kv_heads(config, num_heads),
        head_size=int(_first(config, "head_dim", default=hidden_size // num_heads)),
        vocab_size=int(_first(config, "vocab_size")),
        # transformers' default is to tie; configurations that do not say so say it.
        is_tied=bool(_first(config, "tie_word_embeddings", default=True)),
        max_position=int(_first(config, "max_position_embeddings", "n_positions", default=131072)),
        mlp_matrices=2 if config.get("model_type") in _WITHOUT_GATE else 3,
        **mlp,
        **_sliding(config, num_layers),
    )


def _first(config: dict[str, Any], *keys: str, default: Any = None) -> Any:
    """The value of the first key that has one, else the default; `KeyError` if there is none of either."""
    value = next((config[key] for key in keys if config.get(key) is not None), default)
    if value is None:
        raise KeyError(keys[0])
    return value


def _refuse_unknown(config: dict[str, Any], name: str) -> None:
    classes = [str(architecture) for architecture in config.get("architectures") or ()]
    if classes and not any(architecture.endswith(_DECODER_CLASSES) for architecture in classes):
        raise UnsupportedModelError(f"{name} is a {', '.join(classes)}, which generates no text")
    for key, kind in _OTHER_KINDS.items():
        if config.get(key) is not None:
            raise UnsupportedModelError(f"{name} has {kind} ({key}), which the cost model does not know")
    if config.get("interleave_moe_layer_step", 1) > 1:
        raise UnsupportedModelError(f"{name} has experts in some layers only, which the cost model does not know")


def _mixture(config: dict[str, Any], num_layers: int, mlp_size: int, num_experts: int) -> dict[str, int]:
    """The MLPs of a mixture of experts: some layers may be dense, the others may have a shared expert."""
    num_dense = int(_first(config, "first_k_dense_replace", default=0)) + len(config.get("mlp_only_layers") or ())
    expert_size = int(_first(config, "moe_intermediate_size", default=mlp_size))
    shared_size = int(_first(config, "shared_expert_intermediate_size", default=0))
    shared_size += expert_size * int(_first(config, "n_shared_experts", default=0))
    sizes = {
        "num_experts": num_experts,
        "num_active_experts": int(_first(config, "num_experts_per_tok", "num_experts_per_token")),
        "expert_size": expert_size,
        "num_expert_layers": num_layers - num_dense,
    }
    if not shared_size:
        return sizes | {"mlp_size": mlp_size if num_dense else 0, "num_mlp_layers": num_dense}
    # Both kinds in one model: an average keeps the number of weights right.
    average_size = (num_dense * mlp_size + (num_layers - num_dense) * shared_size) // num_layers
    return sizes | {"mlp_size": average_size, "num_mlp_layers": num_layers}


def _num_kv_heads(config: dict[str, Any], num_heads: int) -> int:
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    return int(config.get("num_key_value_heads") or config.get("num_kv_heads") or num_heads)


def _sliding(config: dict[str, Any], num_layers: int) -> dict[str, int]:
    window = config.get("sliding_window")
    if not window or config.get("use_sliding_window") is False:
        return {}
    kinds = config.get("layer_types")
    # Every n-th layer sees everything; files older than `layer_types` say n, or leave it to the model's code.
    pattern = config.get("sliding_window_pattern") or _SLIDING_PATTERNS.get(str(config.get("model_type")))
    if kinds:
        num_sliding = sum(kind == "sliding_attention" for kind in kinds)
    else:
        num_sliding = num_layers - num_layers // int(pattern) if pattern else num_layers
    return {"sliding_window": int(window), "num_sliding_layers": num_sliding}
