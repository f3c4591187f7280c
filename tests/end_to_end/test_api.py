"""The HTTP API as a client meets it: shapes, limits, errors."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.servers import RunningServer, get, post, running_server
from support.waiting import PATIENCE_S, wait_until

_HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a key and tight limits: two run, one waits, bodies of at most 20 kB, a context of 512 tokens."""
    arguments = (
        *("--model", "tiny", "--api-key", "secret", "--max-num-seqs", "2", "--max-queue", "1", "--max-body", "20kB"),
        *("--max-model-len", "512", "--served-model-name", "small"),
    )
    with running_server(*arguments, log=tmp_path_factory.mktemp("small") / "log") as server:
        yield server


_KEY = {"Authorization": "Bearer secret"}


def chat(url: str, **fields: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    return post(f"{url}/v1/chat/completions", {"messages": _HI, "max_tokens": 5, **fields})


def test_a_chat_answer_has_text_counts_and_a_reason(tiny_server: str) -> None:
    status, body, _ = chat(tiny_server, min_tokens=5)
    assert status == 200
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["content"]) == 5
    usage = body["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5


def test_the_same_prompt_again_comes_from_the_prefix_cache(tiny_server: str) -> None:
    messages = [{"role": "user", "content": "a prompt of its own, long enough to fill some blocks of the cache"}]
    first = chat(tiny_server, messages=messages, temperature=0)[1]
    second = chat(tiny_server, messages=messages, temperature=0)[1]
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert second["usage"]["prompt_tokens"] - 16 <= cached < second["usage"]["prompt_tokens"]
    assert second["choices"] == first["choices"]


def test_streamed_and_whole_answers_are_the_same_text(tiny_server: str) -> None:
    fields = {"temperature": 0, "max_tokens": 30, "stop": ["#"]}
    whole = chat(tiny_server, **fields)[1]["choices"][0]
    events = stream(tiny_server, {"messages": _HI, **fields, "stream": True, "stream_options": {"include_usage": True}})
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == whole["message"]["content"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_without_include_usage_no_usage_is_sent(tiny_server: str) -> None:
    events = stream(tiny_server, {"messages": _HI, "max_tokens": 3, "stream": True})
    assert all("usage" not in json.loads(event) for event in events[:-1])


def stream(url: str, body: dict[str, Any]) -> list[str]:
    """The payloads of a chat stream's events."""
    import urllib.request

    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        lines = response.read().decode().split("\n\n")
    return [line.removeprefix("data: ") for line in lines if line]


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("one", 1), (["one", "two"], 2), ([5, 6, 7], 1), ([[5, 6], [7]], 2), (["one", [5, 6]], 2)],
)
def test_prompts_in_every_form(tiny_server: str, prompt: Any, count: int) -> None:
    status, body, _ = post(f"{tiny_server}/v1/completions", {"prompt": prompt, "max_tokens": 3, "n": 2})
    assert status == 200
    assert [choice["index"] for choice in body["choices"]] == list(range(2 * count))
    assert body["usage"]["completion_tokens"] <= 3 * 2 * count


def test_a_seed_makes_an_answer_repeatable_and_answers_of_one_request_differ(tiny_server: str) -> None:
    answers = [chat(tiny_server, seed=3, n=2, max_tokens=20)[1]["choices"] for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][0]["message"] != answers[0][1]["message"]


def test_logprobs_of_both_endpoints(tiny_server: str) -> None:
    body = chat(tiny_server, logprobs=True, top_logprobs=2, temperature=0, max_tokens=3, min_tokens=3)[1]
    choice = body["choices"][0]
    content = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == choice["message"]["content"]
    assert all(entry["top_logprobs"][0]["token"] == entry["token"] for entry in content)
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0 for entry in content)

    request = {"prompt": "hi", "logprobs": 2, "temperature": 0, "max_tokens": 3, "min_tokens": 3}
    choice = post(f"{tiny_server}/v1/completions", request)[1]["choices"][0]
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    assert choice["logprobs"]["text_offset"] == [0, 1, 2]
    assert len(choice["logprobs"]["token_logprobs"]) == len(choice["logprobs"]["top_logprobs"]) == 3


def test_a_stop_string_ends_the_answer_and_is_not_in_it(tiny_server: str) -> None:
    fields = {"temperature": 0, "max_tokens": 40, "ignore_eos": True}
    text = chat(tiny_server, **fields)[1]["choices"][0]["message"]["content"]
    stop = text[10:13]
    choice = chat(tiny_server, **fields, stop=stop)[1]["choices"][0]
    assert choice["message"]["content"] == text[: text.index(stop)]
    assert choice["finish_reason"] == "stop"


def test_stop_token_ids_and_ignore_eos(tiny_server: str) -> None:
    body = {"prompt": "hi", "temperature": 0, "max_tokens": 20, "ignore_eos": True, "min_tokens": 20}
    whole = post(f"{tiny_server}/v1/completions", body)[1]
    assert whole["usage"]["completion_tokens"] == 20
    token = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~".index(
        whole["choices"][0]["text"][5]
    )
    del body["min_tokens"]
    stopped = post(f"{tiny_server}/v1/completions", {**body, "stop_token_ids": [token]})[1]["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["text"] == whole["choices"][0]["text"][: whole["choices"][0]["text"].index(chr(33 + token))]


def test_models_health_and_openapi(tiny_server: str) -> None:
    (model,) = get(f"{tiny_server}/v1/models")[1]["data"]
    assert model["id"] == "tiny"
    assert model["max_model_len"] == 32768
    assert get(f"{tiny_server}/v1/models/tiny")[1] == model
    assert get(f"{tiny_server}/v1/models/none")[0] == 404
    assert get(f"{tiny_server}/health")[:2] == (200, {"status": "ok"})
    description = get(f"{tiny_server}/openapi.json")[1]
    schemas = description["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(description)))
    assert references <= set(schemas)
    assert schemas["ChatCompletionRequest"]["required"] == ["messages"]


def test_the_key_is_wanted_for_the_api_and_not_for_health(small_server: RunningServer) -> None:
    url = small_server.url
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
        status, body, _ = get(f"{url}/v1/models", headers)
        assert (status, body["error"]["type"]) == (401, "authentication_error")
        assert "secret" not in json.dumps(body)
    assert get(f"{url}/v1/models", _KEY)[1]["data"][0]["id"] == "small"
    assert get(f"{url}/health")[0] == 200
    assert "secret" not in small_server.log.read_text()


def test_a_key_that_is_no_text_is_a_wrong_key(small_server: RunningServer) -> None:
    address = urlsplit(small_server.url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_long_prompts_do_not_hold_up_others(tiny_server: str) -> None:
    """Tokenizing a quarter of a million characters takes a while; /health must not wait for it."""
    body = {"messages": [{"role": "user", "content": "x" * 250_000}]}
    threads = [threading.Thread(target=post, args=(f"{tiny_server}/v1/chat/completions", body)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        assert get(f"{tiny_server}/health")[0] == 200
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_bodies_and_contexts_over_the_limit(small_server: RunningServer) -> None:
    url = f"{small_server.url}/v1/completions"
    status, body, _ = post(url, {"prompt": "x" * 30_000}, _KEY)
    assert (status, body["error"]["code"]) == (413, "body_too_large")
    status, body, _ = post(url, {"prompt": "x" * 600}, _KEY)
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")


def test_an_answer_without_max_tokens_ends_at_the_context(small_server: RunningServer) -> None:
    body = {"messages": _HI, "ignore_eos": True}
    status, answer, _ = post(f"{small_server.url}/v1/chat/completions", body, _KEY)
    assert status == 200
    assert answer["usage"]["total_tokens"] == 512
    assert answer["choices"][0]["finish_reason"] == "length"


def _open_stream(server: RunningServer) -> socket.socket:
    """A long stream, of which the first bytes have come."""
    body = json.dumps(
        {"messages": _HI, "max_tokens": 460, "min_tokens": 460, "ignore_eos": True, "stream": True, "n": 1}
    )
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port or 0), timeout=PATIENCE_S)
    connection.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


def test_a_full_queue_answers_429_with_retry_after_and_a_hang_up_frees_everything(
    small_server: RunningServer,
) -> None:
    tokens = small_server.metric("abatch_generation_tokens_total")
    cancelled = small_server.num_ended("cancelled")
    connections = [_open_stream(small_server) for _ in range(3)]
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:  # until all three are accepted
            status, body, headers = post(
                f"{small_server.url}/v1/chat/completions", {"messages": _HI, "max_tokens": 1}, _KEY
            )
            if status == 429:
                break
            assert time.monotonic() < deadline, "three streams are open, and a fourth request was taken"
        assert body["error"]["type"] == "rate_limit_error"
        assert int(headers["Retry-After"]) >= 1
        assert post(f"{small_server.url}/v1/completions", {"prompt": "x", "n": 3}, _KEY)[0] == 429
        status, body, _ = post(f"{small_server.url}/v1/completions", {"prompt": "x", "n": 16}, _KEY)
        assert status == 400, "sixteen can never be served here, so trying again would not help"
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: small_server.num_ended("cancelled") == cancelled + 3, "a hang-up was not noticed")
    for left in ("kv_blocks_held", "requests_running", "requests_waiting"):
        small_server.wait_for_metric(f"abatch_{left}", 0.0)
    tokens = small_server.metric("abatch_generation_tokens_total") - tokens
    assert tokens < 3 * 460, "the streams ran to their end instead"


def test_metrics_count_what_happened(tiny_server: str) -> None:
    import urllib.request

    def scrape() -> dict[str, float]:
        with urllib.request.urlopen(f"{tiny_server}/metrics", timeout=PATIENCE_S) as response:
            assert response.headers["Content-Type"].startswith("text/plain")
            lines = response.read().decode().splitlines()
        return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if not line.startswith("#")}

    before = scrape()
    chat(tiny_server, max_tokens=4, min_tokens=4, ignore_eos=True)
    after = scrape()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert grown('abatch_requests_total{outcome="length"}') == 1
    assert grown("abatch_generation_tokens_total") == 4
    assert grown("abatch_time_to_first_token_seconds_count") == 1
    assert grown("abatch_inter_token_latency_seconds_count") <= 3
    assert grown("abatch_steps_total") == 4
    for part in ("host", "device_busy", "device_idle"):
        assert 0 < grown(f"abatch_{part}_seconds_total") < 5
    assert after["abatch_engine_alive"] == 1


def test_a_port_in_use_is_one_line(tiny_server: str, tmp_path: Path) -> None:
    port = str(urlsplit(tiny_server).port)
    with pytest.raises(AssertionError, match="Address already in use") as caught:
        _start_on(port, tmp_path / "log")
    assert "Traceback" not in str(caught.value)


def _start_on(port: str, log: Path) -> None:
    with running_server("--model", "tiny", "--port", port, log=log):
        pass
