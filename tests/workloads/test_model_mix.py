"""Several models behind one server: who talks to which, and what it is counted as."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from abatch.cli.measuring.run import Run
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.cli.python_api import TargetOptions, bench
from abatch.engine.errors import AbatchError, ConfigurationError
from abatch.workloads.model_mix import MOST_MODELS, ModelMix, parse_models
from abatch.workloads.session import Session
from abatch.workloads.traffic_classes import MOST_CLASSES
from aiohttp import web
from aiohttp.test_utils import TestServer

MIX = ModelMix(("a", "b"), (3.0, 1.0))


@pytest.mark.parametrize(
    ("text", "names", "weights"),
    [
        ("a:3,b:1", ("a", "b"), (3, 1)),
        ("a, b", ("a", "b"), (1, 1)),
        ("llama3:8b,qwen:7:2", ("llama3:8b", "qwen:7"), (1, 2)),
        ("org/base:0.5,org/lora", ("org/base", "org/lora"), (0.5, 1)),
    ],
)
def test_names_with_weights(text: str, names: tuple[str, ...], weights: tuple[float, ...]) -> None:
    assert parse_models(text) == ModelMix(names, weights)


@pytest.mark.parametrize("text", ["a", "a:3", "llama3:8b", ""])
def test_one_name_is_no_mix(text: str) -> None:
    assert parse_models(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a:3,", "each part is NAME"),
        (":3,b", "each part is NAME"),
        ("a,a:2", "names a model twice"),
        ("a:0,b", "above 0"),
        ("a:-1,b", "above 0"),
        ("a:nan,b", "above 0"),
        ("a:inf,b", "above 0"),
        (",".join(f"m{number}" for number in range(MOST_MODELS + 1)), f"takes {MOST_MODELS} models"),
    ],
)
def test_what_is_no_mix_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        parse_models(text)


def _sessions(mix: ModelMix, count: int, **options: object) -> list[Session]:
    traffic = make_traffic(TrafficOptions(**options), mix)  # type: ignore[arg-type]
    return [*islice(traffic.workload.streams[0].sessions(0), count)]


def test_sessions_are_shared_by_weight_and_every_process_agrees() -> None:
    sessions = _sessions(MIX, 2000, workload="chat-short")
    counts = Counter(session.model for session in sessions)
    assert 1400 < counts["a"] < 1600
    assert counts["a"] + counts["b"] == 2000
    assert {(session.model, session.traffic_class) for session in sessions} == {("a", "chat@a"), ("b", "chat@b")}
    stream = make_traffic(TrafficOptions(workload="chat-short"), MIX).workload.streams[0]
    assert [*stream.sessions(0, [7, 1999])] == [sessions[7], sessions[1999]]


def test_sub_agents_talk_to_the_model_of_their_session() -> None:
    sessions = _sessions(MIX, 50, workload="agent-coding", sub_agents=1.0)
    pairs = [(session, child) for session in sessions for turn in session.turns for child in turn.children]
    assert len({session.model for session, _ in pairs}) == 2
    assert all(child.model == session.model for session, child in pairs)
    assert all(child.traffic_class.endswith(f"@{child.model}") for _, child in pairs)


def test_a_trace_of_many_classes_keeps_to_the_limit(tmp_path: Path) -> None:
    turns = [{"new_tokens": 5, "output_tokens": 1}]
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        "".join(
            json.dumps({"session_id": str(number), "traffic_class": f"c{number % 100}", "turns": turns}) + "\n"
            for number in range(2000)
        )
    )
    classes = {session.traffic_class for session in _sessions(MIX, 2000, trace=str(trace), trace_format="native")}
    assert MOST_CLASSES - 2 < len(classes) <= MOST_CLASSES + 1


def _events(text: str) -> bytes:
    chunks = [{"delta": {"content": text}}, {"delta": {}, "finish_reason": "stop"}]
    return b"".join(b"data: %s\n\n" % json.dumps({"choices": [chunk]}).encode() for chunk in chunks)


async def _chat(request: web.Request) -> web.Response:
    """Answers with the model's name."""
    model = (await request.json())["model"]
    if model == "missing":
        return web.json_response({"error": {"message": "no such model", "type": "x"}}, status=404)
    return web.Response(body=_events(model), content_type="text/event-stream")


async def _bench(model: str, folder: Path, workers: int = 1) -> Run:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _chat)
    target = TargetOptions(model=model, idle_probe=0, server_metrics_interval_s=0)
    traffic = TrafficOptions(
        workload="chat-short", num_sessions=40, concurrency=8, turns=1, output_len=1, traffic_class="chat@b"
    )
    async with TestServer(app) as server:
        return await asyncio.to_thread(
            bench, url=str(server.make_url("/")), target=target, traffic=traffic, workers=workers, folder=folder
        )


@pytest.mark.parametrize("workers", [1, 2])
async def test_each_model_is_asked_and_judged(workers: int, tmp_path: Path) -> None:
    run = await _bench("a:3,b:1", tmp_path / "run", workers)
    assert run.reader.config.model == "a:3,b:1"
    assert run.summary.verdict_class == "chat@b"
    assert {"chat@a", "chat@b"} <= {*run.summary.metrics["ttft"]}
    counts = Counter(result.traffic_class for result in run.results())
    assert counts["chat@a"] > counts["chat@b"] > 0


async def test_a_model_that_is_not_there_is_found_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(AbatchError, match="the model missing: http_404: no such model"):
        await _bench("b,missing", tmp_path / "run")
    assert not (tmp_path / "run").exists()
