"""Small models of random weights in several architectures, and an engine to run them with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from abatch.engine.attention.choose import choose_attention
from abatch.engine.attention.kv_cache import KVCache
from abatch.engine.config import AttentionName, EngineConfig
from abatch.engine.device.recorded_steps import Record
from abatch.engine.device.torch_runner import TorchRunner
from abatch.engine.integers import ceil_div
from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.loop.engine import Engine
from abatch.engine.models.loader import LoadedModel, load_model
from abatch.engine.parking.config import ParkingConfig
from abatch.engine.request import Batch, Request, SamplingParams
from abatch.engine.runner import StepResult
from abatch.engine.scheduling.limits import SchedulerConfig
from abatch.engine.scheduling.scheduler import Scheduler
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2MoeConfig,
    Qwen3Config,
)

VOCAB_SIZE = 96
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

ARCHITECTURES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_SHAPE),
    "qwen3": lambda: Qwen3Config(**_SHAPE, head_dim=16),
    "mistral-sliding": lambda: MistralConfig(**_SHAPE, sliding_window=11),
    "gemma": lambda: GemmaConfig(**_SHAPE, head_dim=8),
    # Scores are several times the cap here: without it, other tokens come out.
    "gemma2": lambda: Gemma2Config(
        **_SHAPE,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        attn_logit_softcapping=2.0,
    ),
    "gemma3-sliding": lambda: Gemma3TextConfig(
        **_SHAPE,
        head_dim=8,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "phi3": lambda: Phi3Config(**_SHAPE),
    "olmo2": lambda: Olmo2Config(**_SHAPE),
    "qwen2-moe": lambda: Qwen2MoeConfig(
        **_SHAPE, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=16
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCAB_SIZE, n_embd=32, n_layer=3, n_head=4, n_positions=256, bos_token_id=1, eos_token_id=2
    ),
}


def make_model(name: str, folder: Path, **changes: Any) -> PreTrainedModel:
    """A random model of an architecture, saved to `folder`, as transformers itself runs it, its config changed so."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = ARCHITECTURES[name]()
    config.update(changes)
    # Of the implementations of transformers that run on CPU, the eager one is sure to cap the scores.
    implementation = "eager" if getattr(config, "attn_logit_softcapping", None) is not None else None
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=implementation
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                # Larger than models are initialised with, so that logits differ by more than rounding.
                parameter.normal_(std=0.35)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    model.eval()
    return model


def load(folder: Path | str, *, device: str = "cpu", dtype: str = "float32", **options: Any) -> LoadedModel:
    """The same model as the engine runs it."""
    return load_model(EngineConfig(model=str(folder), device=device, dtype=dtype, **options))


@dataclass(slots=True)
class TestEngine:
    """An engine in this process, with its parts at hand."""

    __test__ = False

    engine: Engine
    scheduler: Scheduler

    def generate(self, prompts: Sequence[list[int]], max_tokens: Sequence[int]) -> list[list[int]]:
        """Greedy output of each prompt. Half are submitted at once, the others one by one between steps."""
        outputs: dict[str, list[int]] = {str(index): [] for index in range(len(prompts))}
        requests = [
            Request(str(index), list(prompt), SamplingParams(max_tokens=limit, temperature=0.0))
            for index, (prompt, limit) in enumerate(zip(prompts, max_tokens, strict=True))
        ]
        late = iter(requests[len(requests) // 2 :])
        for request in requests[: len(requests) // 2]:
            self.engine.submit(request)
        for _ in itertools.count():
            if (latecomer := next(late, None)) is not None:
                self.engine.submit(latecomer)
            elif not self.engine.has_work:
                break
            for output in self.engine.step():
                assert output.token_id is not None
                outputs[output.request_id].append(output.token_id)
        return list(outputs.values())


class AheadRunner(TorchRunner):
    """Runs a step when it is launched, as a CPU does, but lets the engine launch the next before it looks at it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.is_synchronous = False


class LateRunner(AheadRunner):
    """Runs a step when it is collected: what an asynchronous device might see of the host's later doings, this does."""

    def launch(self, batch: Batch) -> LateStep:
        return LateStep(self, self._inputs(batch))


class LateStep:
    """A step that has not begun."""

    is_recorded = False

    def __init__(self, runner: LateRunner, inputs: Any) -> None:
        self._runner = runner
        self._inputs = inputs

    def is_done(self) -> bool:
        return False

    def collect(self) -> StepResult:
        return self._runner._run(self._inputs).collect()


def make_engine(
    model: LoadedModel,
    config: SchedulerConfig,
    *,
    num_blocks: int,
    block_size: int,
    parking: ParkingConfig | None = None,
    attention: AttentionName = "auto",
    record: Record | None = None,
    ahead: type[AheadRunner] = LateRunner,
) -> TestEngine:
    """An engine over a loaded model. Time advances by a millisecond a look at the clock."""
    blocks = BlockManager(num_blocks, block_size)
    scheduler = Scheduler(config, blocks, parking)
    num_host_blocks = scheduler.parking.num_host_blocks
    cache = KVCache(model.kv_shape, num_blocks, block_size, dtype=model.dtype, device=model.device)
    # Positions behind a sequence's end must never matter, whatever is in them.
    cache.data.fill_(float("nan") if attention == "triton" else 1e4)
    ticks = itertools.count()

    def clock() -> float:
        return next(ticks) / 1000

    kind = ahead if config.steps_ahead and model.device.type == "cpu" else TorchRunner
    num_pages = ceil_div(config.max_model_len, block_size)
    backend = choose_attention(attention, cache, num_slots=config.num_slots + 1, max_num_pages=num_pages)
    runner = kind(
        model,
        backend,
        num_slots=config.num_slots,
        num_host_blocks=num_host_blocks,
        clock=clock,
        record=record,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_num_batched_tokens,
        poison=True,
    )
    for shape in runner.shapes:
        runner.record(shape)
    runner._host_kv._data.fill_(1e4)
    return TestEngine(Engine(scheduler, runner, clock), scheduler)


def generate_one_by_one(
    model: PreTrainedModel, prompts: Sequence[list[int]], max_tokens: Sequence[int]
) -> list[list[int]]:
    """The reference: `model.generate` on each prompt alone."""
    generate: Any = model.generate  # transformers types it as a tensor
    outputs = []
    for prompt, limit in zip(prompts, max_tokens, strict=True):
        ids = torch.tensor([prompt], device=model.device)
        output = generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=limit,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        outputs.append(output[0, len(prompt) :].tolist())
    return outputs
