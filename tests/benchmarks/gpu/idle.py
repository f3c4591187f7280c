"""How much of the time the device stands still although there is work: static, continuous, asynchronous."""

from __future__ import annotations

from random import Random

from abatch.engine.scheduling.limits import BATCHING_MODES
from benchmarks.gpu.driving import EngineBench, Served, decode_steps, idle_of, random_prompts
from benchmarks.gpu.setting import Setting

_RUNNING, _DRY_RUNNING = 128, 3
_WARM_UP_PROMPTS, _WARM_UP_TOKENS = 8, 4


def run(setting: Setting, bench: EngineBench) -> None:
    """Each mode gets a scheduler of its own over the same engine, and the same two loads.

    All requests are there from the beginning, so that whatever the device stands still is the engine's fault. `decode`:
    as many as run at once, 512 tokens in and 512 out, cut off when its time is over. `mixed`: twice as many, 100 to
    1,024 in and 20 to 200 out, so that prompts are computed beside decodes as others leave.
    """
    running = setting.choose(_RUNNING, _DRY_RUNNING)
    length = setting.choose(512, 24)
    vocab_size = setting.shape.vocab_size
    random = Random("idle")
    lengths = [random.randint(*setting.choose((100, 1024), (10, 48))) for _ in range(2 * running)]
    limits = [random.randint(*setting.choose((20, 200), (4, 12))) for _ in range(2 * running)]
    loads = {
        "decode": (random_prompts("idle/decode", [length] * running, vocab_size), [length] * running),
        "mixed": (random_prompts("idle/mixed", lengths, vocab_size), limits),
    }
    num_left = len(loads) * len(BATCHING_MODES)
    for mode in reversed(BATCHING_MODES):
        bench.reschedule(batching=mode, max_num_seqs=running, window_size=running, window_timeout_s=0.0)
        prompts = loads["mixed"][0][:_WARM_UP_PROMPTS]
        bench.serve(prompts, [_WARM_UP_TOKENS] * len(prompts))
        for name, (prompts, limits) in loads.items():
            within_s = min(setting.choose(5.0, 2.0), setting.left_s / num_left)
            num_left -= 1
            if within_s < setting.choose(2.5, 0.1):
                setting.figures.add(mode, name, value={"skipped": "no time was left for it"})
                continue
            setting.figures.add(mode, name, value=_figures(bench.serve(prompts, limits, within_s=within_s), running))


def _figures(served: Served, running: int) -> dict[str, float | None]:
    busy_s = served.busy_s or 0.0
    decode = decode_steps(served.steps, running)
    return {
        "idle_by_totals": served.idle_s / max(1e-9, served.idle_s + busy_s),
        "idle_by_gaps": idle_of(served.steps),
        "idle_in_decode": None if decode is None else decode.idle,
        "decode_period_ms": None if decode is None else decode.period_s * 1e3,
        "host_step_ms": served.host_s / max(1, len(served.steps)) * 1e3,
        "tokens_per_s": served.num_tokens / served.elapsed_s,
        "elapsed_s": served.elapsed_s,
        "num_steps": float(len(served.steps)),
    }
