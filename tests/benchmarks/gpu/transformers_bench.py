"""Continuous batching of transformers, driven to the end of some requests. Written for 5.17 and 5.23."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

import torch
from abatch.engine.models.loader import load_model
from benchmarks.gpu import paged_varlen
from benchmarks.gpu.driving import Served
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.timing import settle
from transformers import GenerationConfig

_PAGE = 256
"""Tokens: what transformers takes by itself."""


class TransformersBench:
    """A manager of continuous batching over the model that our engine would load: the same weights.

    Args:
        setting: Says which model, and where.
        attention: `sdpa`, which transformers chooses itself where there is no flash-attn, or `varlen`: see
            `paged_varlen`.
        is_async: Prepare a step while another runs; None leaves the choice to transformers, as for graphs.
        graphs: Record steps as CUDA graphs.
        num_kv_tokens: Room for keys and values.
        max_num_seqs: Most requests of a step.
        max_num_batched_tokens: Most tokens of a step.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        attention: str,
        is_async: bool | None,
        graphs: bool | None,
        num_kv_tokens: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
    ) -> None:
        from transformers.generation.configuration_utils import ContinuousBatchingConfig

        began_s = time.perf_counter()
        self._module = cast(Any, load_model(setting.engine_config(num_kv_tokens=num_kv_tokens, fusion=False)).module)
        if attention == "varlen":
            paged_varlen.use(self._module)
        else:
            self._module.set_attn_implementation(attention)
        page = setting.choose(_PAGE, 16)
        is_cuda = torch.cuda.is_available()
        known = {field.name for field in fields(ContinuousBatchingConfig)}
        config = ContinuousBatchingConfig(
            num_blocks=num_kv_tokens // page,
            max_batch_tokens=max_num_batched_tokens,
            max_requests_per_batch=max_num_seqs,
            max_memory_percent=0.95,  # of what is free: more than is taken here, by its own cautious account
            allow_block_sharing=False,
            use_async_batching=is_async if is_cuda else False,
            use_cuda_graph=graphs if is_cuda else False,
            # The field was called block_size in 5.17.
            **{"page_size" if "page_size" in known else "block_size": page},
        )
        # Without an end-of-sequence token transformers takes -1, which no token is.
        generation = GenerationConfig(do_sample=False, max_new_tokens=1, eos_token_id=None, pad_token_id=0)
        self._module.config.eos_token_id = None
        self._manager = self._module.init_continuous_batching(generation, continuous_batching_config=config)
        self._manager.warmup()
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        if is_cuda:
            self._time_steps()
        self._manager.start()
        resolved = self._manager.continuous_batching_config
        self.chosen = {
            "attention": self._module.config._attn_implementation,
            "async": bool(resolved.use_async_batching),
            "graphs": list(resolved.cuda_graph_booleans),
            "num_blocks": resolved.num_blocks,
        }
        self.build_s = time.perf_counter() - began_s
        settle()

    def _time_steps(self) -> None:
        """Put an event before and one behind each step, on the stream it runs on."""
        processor = self._manager.batch_processor
        compute = processor.model_runner.compute_batch

        def timed(*arguments: Any, **options: Any) -> None:
            stream = processor.inputs_and_outputs.compute_stream
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(stream)
            compute(*arguments, **options)
            end.record(stream)
            self._events.append((start, end))

        processor.model_runner.compute_batch = timed

    def serve(self, prompts: Sequence[list[int]], limits: Sequence[int], *, within_s: float) -> Served:
        """Submit all and wait for the last.

        Raises:
            TimeoutError: that took longer than `within_s`.
            RuntimeError: a request failed, or the loop died.
        """
        self._events.clear()
        manager = self._manager
        began_s = time.perf_counter()
        names = {}
        for index, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
            names[manager.add_request(list(prompt), max_new_tokens=limit, record_timestamps=True)] = index
        served = Served([[] for _ in prompts], [[] for _ in prompts], 0.0, None)
        while names:
            if time.perf_counter() - began_s > within_s:
                raise TimeoutError(f"{len(names)} of {len(prompts)} requests had not ended after {within_s:.0f} s")
            result = manager.get_result(timeout=1.0)
            if result is None:
                if not manager.is_running():
                    raise RuntimeError(f"the loop ended: {manager.background_thread_status.fatal_error}")
                continue
            if result.error is not None:
                raise RuntimeError(result.error)
            if result.is_finished():
                index = names.pop(result.request_id)
                served.tokens[index] = list(result.generated_tokens)
                served.times_s[index] = [at_s - began_s for at_s in result.timestamps][: len(result.generated_tokens)]
        served.elapsed_s = max(times_s[-1] for times_s in served.times_s)
        if self._events:
            torch.cuda.synchronize()
            served.busy_s = sum(start.elapsed_time(end) for start, end in self._events) / 1e3
        return served

    def close(self) -> None:
        """Stop the loop."""
        self._manager.stop(block=True, timeout=10.0, hard_stop=True)
