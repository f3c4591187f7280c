"""A run that is the same each time: what renderings are held against."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

from abatch.reports.recording.idle_model import IdleModel, IdlePoint
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import RunReader
from abatch.reports.run.writer import RunWriter
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from abatch.workloads.watching.client_audit import ClientAudit, Lapse

FREEZE_AT_S, FREEZE_FOR_S = 20.0, 1.5
"""The server of the fixed run stands still once."""
LENGTH_S = 60.0
_IDLE = IdleModel(
    requests=8,
    is_probed=True,
    points=[IdlePoint(100.0, 25.0), IdlePoint(2000.0, 120.0)],
    itl_base_ms=20.0,
    spread=0.04,
    largest_prompt=2000,
)
"""What the server of the fixed run takes where nothing disturbs it."""


def write_fixed_run(
    folder: Path, *, seed: int = 0, slower: float = 1.0, num_sessions: int = 400, verdict_class: str = "chat"
) -> RunReader:
    """A minute of chats and agents against a server that freezes for 1.5 s. `slower`: a factor on all it does."""
    config = RunConfig(
        started_at="2026-11-25T12:00:00+00:00",
        workload="mixed",
        verdict_class=verdict_class,
        target="http://127.0.0.1:8000",
        model="llama",
        seed=seed,
        cache="cold",
        warmup_s=5.0,
        duration_s=LENGTH_S,
        goodput="ttft:200",
        idle=_IDLE,
        traffic={"workload": "mixed", "seed": seed},
        options={"workload": "mixed", "require": ["chat.ttft.p99/p50 <= 3", "errors < 2%", "agent.ttft.p50 < 1s"]},
        provenance={"abatch": "0.1.0", "python": "3.11.7", "platform": "Linux", "cpu": "a processor", "cpu_count": "2"},
    )
    writer = RunWriter(folder, config)
    writer.start()
    for result in sorted(fixed_results(seed, slower, num_sessions), key=lambda result: result.end_s):
        writer.add(result)
    audit = ClientAudit(
        beats_us={200: 4000, 900: 1400, 3000: 60},
        elapsed_s=LENGTH_S - 5,
        cpu_s=6.0,
        gc_pauses=3,
        gc_total_s=0.004,
        gc_longest_s=0.002,
        lapses=[Lapse(0.006, 31.0)],
    )
    writer.finish(LENGTH_S - 5, is_complete=True, client=audit)
    return RunReader(folder)


def fixed_results(seed: int, slower: float, num_sessions: int) -> list[Result]:
    """Chats of one turn and agents of four with tool pauses; one request in a hundred fails."""
    random = Random(f"fixed/{seed}")
    found = []
    for number in range(num_sessions):
        is_agent = number % 8 == 0
        due_s = LENGTH_S * number / num_sessions
        session_id = f"{'agent' if is_agent else 'chat'}-{number}"
        for turn in range(4 if is_agent else 1):
            pause_s = 0.0 if turn == 0 else round(random.lognormvariate(-0.5, 0.8), 3)
            due_s += pause_s
            if due_s >= LENGTH_S:
                break
            pause = Pause.TOOL if turn else Pause.NONE
            result = _result(random, session_id, turn, due_s, slower, pause, pause_s)
            found.append(result)
            if result.error is not None:
                break
            due_s = result.end_s
    return found


def _result(
    random: Random, session_id: str, turn: int, due_s: float, slower: float, pause: Pause, pause_s: float
) -> Result:
    prompt_tokens = round(random.lognormvariate(6.0, 0.7))
    sent_s = due_s + random.uniform(1e-4, 6e-4)
    first_s = _thawed(sent_s + slower * (0.02 + prompt_tokens * 5e-5) * random.lognormvariate(0, 0.15))
    num_gaps = random.randrange(8, 24)
    chunks_s = [first_s]
    for _ in range(num_gaps):
        chunks_s.append(_thawed(chunks_s[-1] + slower * 0.02 * random.lognormvariate(0, 0.1)))
    has_failed = random.random() < 0.01
    return Result(
        session_id=session_id,
        turn_index=turn,
        traffic_class=session_id.partition("-")[0],
        due_s=round(due_s, 6),
        sent_s=round(sent_s, 6),
        first_s=None if has_failed else round(first_s, 6),
        end_s=round(sent_s + 0.05 if has_failed else chunks_s[-1], 6),
        gaps_us=[] if has_failed else [round((b - a) * 1e6) for a, b in itertools.pairwise(chunks_s)],
        pause=pause,
        pause_s=pause_s,
        tool="search" if pause is Pause.TOOL else None,
        is_last=session_id.startswith("chat") or turn == 3,
        prompt_tokens=None if has_failed else prompt_tokens,
        cached_tokens=None if has_failed else (prompt_tokens // 2 if turn else 0),
        output_tokens=None if has_failed else num_gaps + 1,
        max_tokens=num_gaps + 1,
        finish_reason=None if has_failed else "length",
        error="http_500" if has_failed else None,
        error_message="500: internal error" if has_failed else None,
        warmup=due_s < 5.0,
    )


def _thawed(at_s: float) -> float:
    """What falls into the freeze comes when it is over."""
    return FREEZE_AT_S + FREEZE_FOR_S if FREEZE_AT_S <= at_s < FREEZE_AT_S + FREEZE_FOR_S else at_s
