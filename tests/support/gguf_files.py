"""Small .gguf files, written as llama.cpp's own converter does."""

from __future__ import annotations

from pathlib import Path

import gguf
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedModel


def write_gguf(model: PreTrainedModel, path: Path) -> None:
    """A Qwen2 model with unquantised weights and a token for each byte."""
    config = model.config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert gguf_name is not None, name
        writer.add_tensor(gguf_name, weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, num_tokens: int) -> None:
    tokens = ["<|end|>", *sorted(ByteLevel.alphabet()), "ll"]
    assert num_tokens >= len(tokens)
    tokens += [f"<|unused {number}|>" for number in range(num_tokens - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([int(gguf.TokenType.NORMAL)] * num_tokens)
    writer.add_token_merges(["l l"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
