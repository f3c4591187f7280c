"""Built-in configurations: the shapes they are of, with random weights and no download."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.models.built_in_configs import built_in_config
from abatch.engine.models.loader import load_model
from abatch.engine.models.source import is_built_in, pretrained_arguments
from abatch.engine.models.tokenizer import load_tokenizer
from abatch.engine.simulation.model_shape import SHAPES, load_shape
from transformers import AutoModelForCausalLM


@pytest.mark.parametrize("name", SHAPES)
def test_each_is_of_its_shape_to_the_last_size(name: str, tmp_path: Path) -> None:
    config = built_in_config(name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(SHAPES[name].num_params, rel=1e-3)
    config.save_pretrained(tmp_path)
    shape, expected = load_shape(str(tmp_path)), SHAPES[name]
    for field in expected.__struct_fields__:
        if field not in ("name", "mlp_size"):
            assert getattr(shape, field) == getattr(expected, field), field


def test_smollm2_has_random_weights_of_the_seed_and_no_end() -> None:
    config = EngineConfig(
        model="smollm2-135m", load_format="dummy", device="cpu", dtype="float32", seed=3, fusion=False
    )
    model = load_model(config)
    assert model.eos_token_ids == frozenset()
    assert (model.kv_shape.num_layers, model.kv_shape.num_kv_heads, model.kv_shape.group_size) == (30, 3, 3)
    again = load_model(config)
    ours, theirs = (next(iter(loaded.module.parameters())) for loaded in (model, again))
    assert torch.equal(ours, theirs)
    assert 0.001 < float(ours.detach().std()) < 1


def test_the_dtype_is_the_model_s_where_the_device_computes_in_it() -> None:
    assert built_in_config("llama-3.1-8b").dtype == torch.bfloat16
    model = load_model(
        EngineConfig(model="smollm2-135m", load_format="dummy", device="cpu", dtype="bfloat16", fusion=False)
    )
    assert {weight.dtype for weight in model.module.parameters()} == {torch.bfloat16}


def test_without_weights_a_shape_is_refused() -> None:
    assert not is_built_in("llama-3.1-8b", "auto")
    with pytest.raises(ConfigurationError, match=r"llama-3\.1-8b is a shape without weights; give --load-format dummy"):
        pretrained_arguments("llama-3.1-8b")


def test_a_folder_of_that_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llama-3.1-8b").mkdir()
    (tmp_path / "llama-3.1-8b/config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert not is_built_in("llama-3.1-8b", "dummy")
    assert pretrained_arguments("llama-3.1-8b") == ("llama-3.1-8b", {})


def test_every_token_has_a_text_so_that_no_stream_is_silent() -> None:
    tokenizer = load_tokenizer("llama-3.1-8b", None, load_format="dummy")
    assert tokenizer.eos_token_ids == frozenset()
    for token in (0, 64, 258, 259, 5000, 128255):
        assert len(tokenizer.decode([64, token], skip_special_tokens=False)) > 1
    text = tokenizer.decode(range(1000, 1100))
    assert len(text) == 100
    assert text.isalpha()
    assert len(set(text)) == 26
    assert tokenizer.decode(tokenizer.encode("Hello, world")) == "Hello, world"
