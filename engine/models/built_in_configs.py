"""Configurations of transformers for the built-in shapes: with `--load-format dummy`, models without a download."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, PreTrainedConfig, Qwen3MoeConfig

from ..simulation.model_shape import SHAPES, ModelShape

_LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _llama(shape: ModelShape, **others: Any) -> PreTrainedConfig:
    return LlamaConfig(intermediate_size=shape.mlp_size, **_sizes(shape), **others)


def _qwen3_moe(shape: ModelShape) -> PreTrainedConfig:
    return Qwen3MoeConfig(
        # No layer has a dense MLP; the configuration wants a size for it all the same.
        intermediate_size=3 * shape.hidden_size,
        num_experts=shape.num_experts,
        num_experts_per_tok=shape.num_active_experts,
        moe_intermediate_size=shape.expert_size,
        norm_topk_prob=True,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        **_sizes(shape),
    )


def _sizes(shape: ModelShape) -> dict[str, Any]:
    """What all have in common. No token ends an answer: random weights would sample one at any time."""
    return {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_size,
        "max_position_embeddings": shape.max_position,
        "tie_word_embeddings": shape.is_tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "bfloat16",
    }


_MAKERS = {
    "smollm2-135m": lambda shape: _llama(
        shape, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 100_000.0}
    ),
    "llama-3.1-8b": lambda shape: _llama(shape, rms_norm_eps=1e-5, rope_parameters=_LLAMA_3_ROPE),
    "llama-3.1-70b": lambda shape: _llama(shape, rms_norm_eps=1e-5, rope_parameters=_LLAMA_3_ROPE),
    "qwen3-30b-a3b": _qwen3_moe,
}


def built_in_config(name: str) -> PreTrainedConfig:
    """The configuration of a built-in shape; its sizes are the shape's."""
    return _MAKERS[name](SHAPES[name])
