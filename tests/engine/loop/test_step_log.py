"""The engine's own record of its steps, on disks that have room and on full ones."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from abatch.engine.loop.step_log import StepLog, StepRecord
from support.disks import largest_file

_STEP = StepRecord(
    step=1,
    planned_s=1.0,
    launched_s=1.001,
    device_start_s=1.001,
    device_end_s=1.01,
    collected_s=1.011,
    committed_s=1.012,
    num_decode_tokens=3,
    num_prefill_tokens=0,
    num_seqs=3,
    num_waiting=0,
    num_preempted=0,
    num_blocks_held=12,
)


def test_all_steps_are_there_once_it_is_closed(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "steps")
    for _ in range(200):
        log.add(_STEP)
    log.close()
    lines = (tmp_path / "steps").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=StepRecord) for line in lines] == [_STEP] * 200


def test_a_full_disk_never_ends_the_engine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = StepLog(tmp_path / "steps")
    with largest_file(20_000), caplog.at_level(logging.ERROR):
        for _ in range(1000):
            log.add(_STEP)
        log.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"the step log {tmp_path / 'steps'} ends here: File too large"
    ]
    content = (tmp_path / "steps").read_bytes()
    assert 8000 < len(content) <= 20_000
    assert content.endswith(b"}\n")
