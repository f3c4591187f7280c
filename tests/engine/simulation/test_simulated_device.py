"""What simulated steps cost, and what shapes and devices there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from abatch.engine.assembly.build import build_simulated_engine
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError, UnsupportedModelError
from abatch.engine.request import Batch, Request, SamplingParams, ScheduledChunk
from abatch.engine.simulation.device_profile import DEVICES, HostOverhead, load_device, parse_host_overhead
from abatch.engine.simulation.model_shape import SHAPES, load_shape, shape_of
from abatch.engine.simulation.roofline import Roofline
from abatch.engine.simulation.step_work import StepWork
from abatch.engine.timing.clock import SteppedClock
from support.models import ARCHITECTURES
from transformers import (
    AutoModelForCausalLM,
    GptOssConfig,
    LlamaConfig,
    MixtralConfig,
    PreTrainedConfig,
    Qwen3MoeConfig,
)

H100 = DEVICES["h100"]


def batch(*chunks: tuple[int, int], samples: bool = True) -> Batch:
    """(start, end) of each chunk."""
    request = Request("r", [0], SamplingParams(max_tokens=1))
    made = [ScheduledChunk(request, start, end, samples, 0) for start, end in chunks]
    return Batch(chunks=made, num_tokens=sum(end - start for start, end in chunks))


def test_decoding_costs_its_bytes() -> None:
    """One sequence at 1,000 tokens: all weights but the embedding, and the KV of 1,000 tokens and one more."""
    shape = SHAPES["llama-3.1-8b"]
    moved = 2 * shape.num_active_params + 131072 * (1000 + 1)
    expected_s = moved / (3.35e12 * 0.85) + H100.launch_s
    assert Roofline(shape, H100).step_s(batch((999, 1000))) == pytest.approx(expected_s)
    assert expected_s == pytest.approx(5.5e-3, rel=0.02)


def test_prefill_costs_its_operations() -> None:
    shape = SHAPES["llama-3.1-8b"]
    pairs = 4096 * 4097 / 2
    flops = 2 * shape.dense_params * 4096 + 2 * shape.head_params + 4 * 32 * 32 * 128 * pairs
    expected_s = flops / (989.4e12 * 0.6) + H100.launch_s
    assert Roofline(shape, H100).step_s(batch((0, 4096))) == pytest.approx(expected_s)


def test_a_step_that_samples_nothing_skips_the_output_head() -> None:
    shape = SHAPES["llama-3.1-8b"]
    roofline = Roofline(shape, H100)
    saved_s = roofline.step_s(batch((0, 16))) - roofline.step_s(batch((0, 16), samples=False))
    assert saved_s == pytest.approx(2 * shape.head_params / (3.35e12 * 0.85))


def test_of_a_mixture_of_experts_only_what_is_touched_is_moved() -> None:
    shape = SHAPES["qwen3-30b-a3b"]
    roofline = Roofline(shape, H100)
    one_s = roofline.step_s(batch((0, 1))) - H100.launch_s
    assert one_s * 3.35e12 * 0.85 == pytest.approx(2 * shape.num_active_params, rel=1e-3)
    many_s = (
        roofline.seconds(StepWork(num_tokens=500, num_samples=500, num_context_tokens=0, num_pairs=0)) - H100.launch_s
    )
    assert many_s * 3.35e12 * 0.85 > 0.98 * 2 * (shape.num_params - shape.head_params)
    assert shape.num_active_params == pytest.approx(3.0e9, rel=0.05)


def test_a_sliding_window_bounds_what_is_read() -> None:
    whole = SHAPES["llama-3.1-8b"]
    half = msgspec.structs.replace(whole, sliding_window=1024, num_sliding_layers=16)

    def kv_tokens(shape: Any, end: int) -> float:
        roofline = Roofline(shape, H100)
        return (roofline.step_s(batch((end - 1, end))) - roofline.step_s(batch((0, 1)))) * 3.35e12 * 0.85 / 131072

    assert kv_tokens(whole, 10_000) == pytest.approx(9_999)
    assert kv_tokens(half, 10_000) == pytest.approx(5_000 + 512, rel=0.001)


_FAMILIES: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(),
    "mixtral": MixtralConfig(),
    "qwen3-moe": Qwen3MoeConfig(),
    "gpt-oss": GptOssConfig(),
    **{name: make() for name, make in ARCHITECTURES.items()},
}


@pytest.mark.parametrize("family", _FAMILIES)
def test_shapes_have_as_many_weights_as_the_models_of_transformers(family: str) -> None:
    config = _FAMILIES[family]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    # Norms and biases are left out, and learnt positions, which only the oldest models have.
    weights = [weight for name, weight in model.named_parameters() if weight.dim() > 1 and "wpe" not in name]
    expected = sum(weight.numel() for weight in weights)
    assert shape_of(config.to_dict(), name=family).num_params == pytest.approx(expected, rel=0.02)


def test_a_shape_is_read_from_a_folder_a_file_or_by_name(tmp_path: Path) -> None:
    LlamaConfig(num_hidden_layers=3).save_pretrained(tmp_path)
    assert load_shape(str(tmp_path)).num_layers == load_shape(str(tmp_path / "config.json")).num_layers == 3
    nested = {"model_type": "some_vlm", "text_config": json.loads((tmp_path / "config.json").read_text())}
    (tmp_path / "vlm.json").write_text(json.dumps(nested))
    assert load_shape(str(tmp_path / "vlm.json")).num_layers == 3
    assert load_shape("smollm2-135m").num_params == pytest.approx(134.5e6, rel=0.001)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", ConfigurationError, "cannot read"),
        ("{}", UnsupportedModelError, "not a decoder's configuration: it lacks num_hidden_layers"),
        ('{"architectures": ["BertForMaskedLM"]}', UnsupportedModelError, "BertForMaskedLM, which generates no text"),
        ('{"num_hidden_layers": 2, "hidden_size": 8, "kv_lora_rank": 4}', UnsupportedModelError, "MLA"),
    ],
)
def test_what_is_no_shape_is_one_line(tmp_path: Path, content: str, error: type[Exception], message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(error, match=message):
        load_shape(str(tmp_path))


def test_devices_by_name_by_step_time_and_by_file(tmp_path: Path) -> None:
    assert load_device("simulated:h100") is load_device("SIMULATED:H100") is H100
    assert EngineConfig(device="Simulated:h100").is_simulated
    assert load_device("simulated:7.5ms").step_s == 0.0075
    assert Roofline(SHAPES["llama-3.1-8b"], load_device("simulated:7.5ms")).step_s(batch((0, 9))) == 0.0075
    mine = tmp_path / "mine.json"
    mine.write_bytes(msgspec.json.encode(msgspec.structs.replace(H100, name="mine", flops_per_s=1e12)))
    assert load_device(f"simulated:{mine}").flops_per_s == 1e12


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"name": "x"}', "missing required field `bandwidth_bytes_per_s`"),
        (
            '{"name": "x", "bandwidth_bytes_per_s": 1, "flops_per_s": 0, "memory_bytes": 1}',
            "flops_per_s must be above 0",
        ),
        ('{"name": "x", "bandwidth_bytes_per_s": 1, "flops_per_s": 1, "memory_bytes": 1, "gpus": 8}', "gpus"),
        (
            '{"name": "x", "bandwidth_bytes_per_s": 1, "flops_per_s": 1, "memory_bytes": 1, "host": {"seq_s": 1}}',
            "seq_s",
        ),
        (
            '{"name": "x", "bandwidth_bytes_per_s": 1, "flops_per_s": 1, "memory_bytes": 1, "launch_s": 1e9}',
            "at most an hour",
        ),
        (
            '{"name": "x\\n", "bandwidth_bytes_per_s": 1, "flops_per_s": 1, "memory_bytes": 1}',
            "name must be printable",
        ),
        ("[", "not a device profile"),
    ],
)
def test_what_is_no_device_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        load_device(f"simulated:{path}")
    with pytest.raises(ConfigurationError, match="choose l4, a100, h100"):
        load_device("simulated:h9000")
    with pytest.raises(ConfigurationError, match="between a microsecond and an hour"):
        load_device("simulated:0ms")
    with pytest.raises(ConfigurationError, match="No such file"):
        load_device("simulated:none.json")


@pytest.mark.parametrize(("name", "step_s"), [("5ms", 0.005), ("500us", 0.0005), ("1.5s", 1.5), ("1m30s", 90)])
def test_a_device_of_a_step_time(name: str, step_s: float) -> None:
    assert load_device(f"simulated:{name}").step_s == step_s


def test_host_overheads() -> None:
    assert parse_host_overhead("2ms") == HostOverhead(0.002, 0.0)
    assert parse_host_overhead(" 0.4ms + 8us ").of(100) == pytest.approx(0.0012)
    assert parse_host_overhead("1s500ms+2us") == HostOverhead(1.5, 2e-6)
    for text in ("2", "ms", "2ms+", "2ms+1", "2ms+1us+1us", "2h"):
        with pytest.raises(ConfigurationError, match="must look like 2ms"):
            parse_host_overhead(text)
    with pytest.raises(ConfigurationError, match="--host-overhead does not apply to a real device"):
        EngineConfig(host_overhead="2ms")


def build(**fields: Any) -> Any:
    config = EngineConfig(**{"model": "llama-3.1-8b", "device": "simulated:h100", **fields})
    return build_simulated_engine(config, SteppedClock(), HostOverhead())[1]


def test_memory_is_what_the_weights_leave() -> None:
    ready = build()
    assert ready.kv_bytes == pytest.approx(0.9 * 80e9 - 2 * 8.03e9, rel=0.001)
    assert (ready.max_num_seqs, ready.max_model_len) == (256, 131072)
    assert ready.simulated
    assert "simulated" in ready.device
    assert build(kv_memory_bytes=2**30).num_blocks == 2**30 // (131072 * 16)
    with pytest.raises(ConfigurationError, match=r"141.1 GB of weights; a simulated h100 has 72 GB"):
        build(model="llama-3.1-70b")
    assert build(model="llama-3.1-70b", device="simulated:b200").num_blocks > 0


def test_what_does_not_fit_is_refused_whatever_size_is_asked_for() -> None:
    for sizes in ({"kv_memory_bytes": 20 * 2**30}, {"num_blocks": 10}):
        with pytest.raises(ConfigurationError, match="choose a larger device"):
            build(model="llama-3.1-70b", **sizes)
    with pytest.raises(ConfigurationError, match="do not fit"):
        build(num_blocks=10**9)
    with pytest.raises(ConfigurationError, match="--kv-memory is smaller than one KV block"):
        build(kv_memory_bytes=1024)
    with pytest.raises(ConfigurationError, match="limit of 131072 positions"):
        build(max_model_len=200_000)
    assert build(dtype="float16").dtype == "float16"


_SIZES: dict[str, Any] = {
    "num_hidden_layers": 12,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "vocab_size": 100,
    "intermediate_size": 128,
}


@pytest.mark.parametrize(
    ("config", "num_sliding"),
    [
        ({"sliding_window": 512}, 12),
        ({"sliding_window": 512, "use_sliding_window": False}, 0),
        ({"sliding_window": 512, "sliding_window_pattern": 6}, 10),
        ({"sliding_window": 512, "model_type": "gemma2"}, 6),
        ({"sliding_window": 512, "layer_types": ["full_attention", "sliding_attention"] * 6}, 6),
    ],
)
def test_how_many_layers_have_a_window(config: dict[str, Any], num_sliding: int) -> None:
    assert shape_of(_SIZES | config, name="x").num_sliding_layers == num_sliding


def test_one_kv_head_for_all_where_a_model_says_so() -> None:
    assert shape_of(_SIZES | {"multi_query": True}, name="x").num_kv_heads == 1
    assert shape_of(_SIZES | {"multi_query": True, "new_decoder_architecture": True}, name="x").num_kv_heads == 8


@pytest.mark.parametrize("key", ["quantization_config", "conv_L_cache", "moe_num_experts", "lru_width"])
def test_what_the_cost_model_does_not_know_is_refused(key: str) -> None:
    with pytest.raises(UnsupportedModelError, match=key):
        shape_of(_SIZES | {key: 1}, name="x")


def test_sizes_of_zero_are_one_line(tmp_path: Path) -> None:
    for content in (_SIZES | {"num_hidden_layers": 0}, {"text_config": None}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(UnsupportedModelError, match="not a decoder's configuration"):
            load_shape(str(tmp_path))
