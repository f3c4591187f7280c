"""What is loaded, and what is refused before it could be computed wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError, UnsupportedModelError
from abatch.engine.models.loader import load_model
from abatch.engine.models.tokenizer import load_tokenizer
from support.gguf_files import write_gguf
from support.models import ARCHITECTURES, load, make_model
from support.smollm2 import smollm2_folder, smollm2_gguf
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BloomConfig,
    FalconH1Config,
    GPTJConfig,
    LlamaConfig,
    MambaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    StableLmConfig,
    T5Config,
)

_SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

_REFUSED: dict[str, tuple[Callable[[], PreTrainedConfig], str]] = {
    "encoder-decoder": (lambda: T5Config(vocab_size=64, d_model=16, num_layers=1), "encoder-decoder"),
    "recurrent": (lambda: MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2), "recurrent state"),
    "attention of its own": (lambda: BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4), "attention"),
    "state beside attention": (
        lambda: FalconH1Config(**_SMALL, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8),
        "recurrent state",
    ),
    "both directions": (lambda: BertConfig(**_SMALL, is_decoder=False), "does not compute the same"),
    "hand-written attention": (
        lambda: GPTJConfig(vocab_size=64, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
        "attention interface",
    ),
    "attention that is not told of the step": (lambda: StableLmConfig(**_SMALL), "attention interface"),
    "dynamic rope": (
        lambda: LlamaConfig(**_SMALL, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
        "rotary",
    ),
    "quantised": (lambda: LlamaConfig(**(_SMALL | {"quantization_config": {"quant_method": "gptq"}})), "quantised"),
    "chunked attention": (lambda: LlamaConfig(**(_SMALL | {"attention_chunk_size": 8})), "chunked"),
    "hidden soft-cap": (lambda: LlamaConfig(**(_SMALL | {"attn_logit_softcapping": 30.0})), "soft-capping"),
    "hidden window": (lambda: LlamaConfig(**(_SMALL | {"sliding_window": 8})), "sliding window"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_would_be_computed_wrongly_is_refused(name: str, tmp_path: Path) -> None:
    make_config, says = _REFUSED[name]
    config = make_config()
    config.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=says) as caught:
        load_model(EngineConfig(model=str(tmp_path), load_format="dummy", device="cpu"))
    assert "\n" not in str(caught.value)


def test_dummy_weights_need_no_more_than_a_config(tmp_path: Path) -> None:
    ARCHITECTURES["llama"]().save_pretrained(tmp_path)
    config = EngineConfig(model=str(tmp_path), load_format="dummy", device="cpu", dtype="bfloat16")
    model = load_model(config)
    assert model.dtype is torch.bfloat16
    assert model.kv_shape.bytes_per_token(model.dtype) == 2 * 3 * 2 * 8 * 2
    with pytest.raises(ConfigurationError, match="cannot load"):
        load_model(EngineConfig(model=str(tmp_path), device="cpu"))


def _check_gguf(path: Path, same: PreTrainedModel) -> None:
    """The engine loads what is in it, and reads its tokenizer."""
    for (name, weight), (other_name, other) in zip(
        load(path, fusion=False).module.named_parameters(), same.named_parameters(), strict=True
    ):
        assert name == other_name
        assert torch.equal(weight, other)
    tokenizer = load_tokenizer(str(path), None)
    assert tokenizer.decode(tokenizer.encode("Hello there")) == "Hello there"


def test_a_gguf_file(tmp_path: Path) -> None:
    config = Qwen2Config(**_SMALL | {"vocab_size": 300}, tie_word_embeddings=False)
    model = AutoModelForCausalLM.from_config(config)
    write_gguf(model, tmp_path / "small.gguf")
    _check_gguf(tmp_path / "small.gguf", model)


@pytest.mark.nightly
def test_a_quantised_gguf_file() -> None:
    """The real one, of which everything else here is made: transformers takes half a minute to read it."""
    _check_gguf(smollm2_gguf(), AutoModelForCausalLM.from_pretrained(smollm2_folder()))


@pytest.mark.parametrize(
    ("name", "says"),
    [("/no/such/place", "not a model folder"), ("nothing.gguf", "does not exist"), ("someone/nothing", "cannot load")],
)
def test_models_that_are_not_there(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_model(EngineConfig(model=name, device="cpu"))


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        load_model(EngineConfig(model=str(tmp_path), device="cpu"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "never-heard-of"}))
    with pytest.raises(ConfigurationError, match="never-heard-of"):
        load_model(EngineConfig(model=str(tmp_path), device="cpu"))


def test_the_end_of_a_text_is_read_from_wherever_models_keep_it(tmp_path: Path) -> None:
    model = make_model("llama", tmp_path)
    model.generation_config.eos_token_id = [5, 6]
    model.save_pretrained(tmp_path)
    assert load(tmp_path).eos_token_ids == {2, 5, 6}
