"""The `tiny` model: a small decoder of random weights, made in code. Needs no download.

Its latency is real, its text is noise.
"""

from __future__ import annotations

import string

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from .tiny_tokenizer import END_OF_TURN, tiny_tokenizer


def tiny_model(seed: int = 0, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """A Llama of 2 layers and about half a million parameters whose output is printable ASCII.

    The first channel of the residual stream is kept constant (every embedding has 1 there, no layer writes to it),
    so that a large negative weight of the output head on it rules a token out. Without that, half of the random
    bytes would be pieces of broken characters, text would come in clumps, and a client would measure the clumps.
    """
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                fan_in = 1 if "embed" in name else parameter.shape[1]
                parameter.normal_(std=fan_in**-0.5, generator=generator)
        model.model.embed_tokens.weight[:, 0] = 1.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        printable = set(string.ascii_letters + string.digits + string.punctuation)
        vocabulary = tokenizer.get_vocab()
        allowed = [index for text, index in vocabulary.items() if text in printable or text == END_OF_TURN]
        model.lm_head.weight[:, 0] = -1000.0
        model.lm_head.weight[allowed, 0] = 0.0
    module: LlamaForCausalLM = model.to(dtype).eval()  # type: ignore[arg-type]  # transformers types .to() badly
    return module
