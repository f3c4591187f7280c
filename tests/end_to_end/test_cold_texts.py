"""A server with a prefix cache, measured again and again: only who repeats the texts measures the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.cli import abatch
from support.servers import null_server

_SERVER = ("--ttft", "20", "--prefill-rate", "2000", "--itl", "1", "--prefix-cache")
"""A new prompt of 300 tokens takes 170 ms, a known one 26."""
_TRAFFIC = "--workload chat-short --turns 1 --isl 300 --osl 2 -r 30 --arrival constant -d 2 --warmup 0 --idle-probe 0"


def test_a_run_does_not_measure_what_the_run_before_left_in_the_cache(tmp_path: Path) -> None:
    def bench(name: str, *options: str) -> tuple[dict[str, Any], str]:
        done = abatch("bench", "--url", server.url, *_TRAFFIC.split(), *options, "-o", tmp_path / name)
        assert done.stderr.count("Traceback") == 0, done.stderr
        return json.loads((tmp_path / name / "summary.json").read_text()), done.stdout

    def p50_ms(summary: dict[str, Any]) -> float:
        return summary["metrics"]["ttft"]["all"]["p50_ms"]  # type: ignore[no-any-return]

    with null_server(*_SERVER, log=tmp_path / "server.log") as server:
        first, said = bench("first")
        again, said_again = bench("again", "--workers", "2")
        salt = json.loads((tmp_path / "first" / "config.json").read_text())["text_salt"]
        repeated, said_of_repeated = bench("repeated", "--text-salt", salt)

    assert p50_ms(first) >= 170
    assert abs(p50_ms(again) / p50_ms(first) - 1) < 0.1
    for text in (said, said_again):
        assert "its prefix cache had 0.0% of sessions' first prompts" in " ".join(text.split())
        assert "NOT TRUSTED: a prefix cache" not in text
    assert p50_ms(repeated) < 0.5 * p50_ms(first)
    assert "NOT TRUSTED: a prefix cache knew the texts of 100% of the sessions" in " ".join(said_of_repeated.split())
