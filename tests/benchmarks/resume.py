"""Time to first token of a session that comes back, against the same context computed anew.

    python tests/benchmarks/resume.py simulated             # llama-3.1-8b on a simulated H100
    python tests/benchmarks/resume.py cpu MODEL_FOLDER      # this machine

One session of 4,096 tokens, alone on the engine: its first turn (cold), its return after being kept on the device,
its return after other requests have taken all of the device's memory, so that it comes back from the host tier, and
its return without a host tier, when it is computed again. Each return brings 64 new tokens.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from abatch.engine.assembly.build import build_engine, build_simulated_engine, simulated_host
from abatch.engine.config import EngineConfig
from abatch.engine.loop.engine import Engine
from abatch.engine.request import Request, SamplingParams
from abatch.engine.session import ParkingTotals, SessionUse
from abatch.engine.timing.clock import SteppedClock

CONTEXT, NEW, OUTPUT = 4096, 64, 8


class Driver:
    """Runs one request at a time."""

    def __init__(self, config: EngineConfig) -> None:
        self.engine: Engine
        self._wait: Callable[[float], None]
        if config.is_simulated:
            clock = SteppedClock()
            self.engine, _ = build_simulated_engine(config, clock, simulated_host(config))
            self.now_s = clock.time
            self._wait = lambda seconds: clock.sleep_until(clock.time() + seconds)
        else:
            self.engine, _ = build_engine(config)
            self.now_s = time.monotonic
            self._wait = time.sleep
        self._num_requests = 0

    def first_token_s(self, token_ids: list[int], session_id: str | None) -> tuple[float, list[int]]:
        """Seconds to the first token, and all tokens."""
        self._num_requests += 1
        use = None if session_id is None else SessionUse(session_id=session_id)
        sampling = SamplingParams(max_tokens=OUTPUT, temperature=0.0)
        started_s, first_s = self.now_s(), 0.0
        self.engine.submit(Request(str(self._num_requests), list(token_ids), sampling, session=use))
        said: list[int] = []
        while self.engine.has_work:
            if idle_s := self.engine.idle_s():
                self._wait(idle_s)
                continue
            for output in self.engine.step():
                first_s = first_s or self.now_s() - started_s
                said.append(output.token_id or 0)
        return first_s, said

    def settle(self) -> None:
        """Let copies under way arrive."""
        for _ in range(200):
            self._wait(0.005)
            self.engine.step()


def measure(
    config: Callable[[str, str], EngineConfig], park: str, host: str, *, evict: bool
) -> tuple[float, float, ParkingTotals]:
    """Seconds to the first token, cold and back, and what became of the session."""
    driver = Driver(config(park, host))
    prompt = [1000 + number * 7 % 5000 for number in range(CONTEXT)]
    cold_s, said = driver.first_token_s(prompt, "s")
    driver.settle()
    if evict:
        driver.first_token_s([number * 13 % 5000 for number in range(CONTEXT)], None)
    new = [4000 + number for number in range(NEW)]
    back_s, _ = driver.first_token_s(prompt + said + new, "s")
    return cold_s, back_s, driver.engine.totals_now().parking


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("setting", choices=["simulated", "cpu"])
    arguments.add_argument("model", nargs="?")
    given = arguments.parse_args()

    def config(park: str, host: str) -> EngineConfig:
        is_simulated = given.setting == "simulated"
        return EngineConfig(
            model="llama-3.1-8b" if is_simulated else given.model,
            device="simulated:h100" if is_simulated else "cpu",
            park=park,  # type: ignore[arg-type]
            num_blocks=400,  # one context of this length, not two
            max_model_len=6000,
            host_kv_memory_bytes=(2 << 30) if host else 0,
        )

    cases = {
        "kept": ("keep", "", False),
        "restored": ("auto", "host", True),
        "recomputed": ("drop", "", True),
    }
    print("| return | cold ms | back ms | ratio |")
    for name, (park, host, evict) in cases.items():
        cold_s, back_s, totals = measure(config, park, host, evict=evict)
        assert getattr(totals, f"num_{name}") == 1, totals
        print(f"| {name} | {cold_s * 1e3:.1f} | {back_s * 1e3:.1f} | {cold_s / back_s:.1f}x |", flush=True)


if __name__ == "__main__":
    main()
