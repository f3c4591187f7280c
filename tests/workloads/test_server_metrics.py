"""What pages of metrics of known servers say."""

from __future__ import annotations

import msgspec
import pytest
from abatch.engine.loop.stats import EngineStats
from abatch.engine.loop.step_account import EngineTotals
from abatch.engine.server.metrics import ServerMetrics
from abatch.workloads.http.limits import METRICS_SERIES
from abatch.workloads.watching.server_metrics import ServerSample, parse_server_metrics
from hypothesis import given
from hypothesis import strategies as st
from support.engines import make_ready

VLLM = rb"""# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 12871.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="an \"odd\" {name}, vllm:num_requests_running 7"} 9.0
vllm:num_requests_running{engine="1",model_name="an \"odd\" {name}, vllm:num_requests_running 7"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 53.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 53.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.8125
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.1875
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1.234567e+06
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.7599e+09
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 1.2e+06
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="m"} 3.0
vllm:num_preemptions_created{engine="0",model_name="m"} 1.7599e+09
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="m"} 0.0
"""

OLD_VLLM = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m"} 4.0
vllm:num_requests_swapped{model_name="m"} 1.0
vllm:num_requests_waiting{model_name="m"} 2.0
vllm:gpu_cache_usage_perc{model_name="m"} 0.25
vllm:cpu_cache_usage_perc{model_name="m"} 0.99
vllm:num_preemptions_total{model_name="m"} 0.0
"""

SGLANG = b"""# HELP sglang:prompt_tokens_total Number of prefill tokens processed.
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="meta-llama/Llama-3.1-8B-Instruct"} 8.128902e+06
# TYPE sglang:cached_tokens_total counter
sglang:cached_tokens_total{cache_source="device",model_name="meta-llama/Llama-3.1-8B-Instruct"} 2e+06
sglang:cached_tokens_total{cache_source="host",model_name="meta-llama/Llama-3.1-8B-Instruct"} 1e+06
# TYPE sglang:token_usage gauge
sglang:token_usage{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 0.28
# TYPE sglang:cache_hit_rate gauge
sglang:cache_hit_rate{model_name="m"} 0.0
sglang:num_running_reqs{model_name="m"} 49.0
sglang:num_running_reqs_offline_batch{model_name="m"} 5.0
sglang:num_queue_reqs{model_name="m"} 6.0
sglang:num_grammar_queue_reqs{model_name="m"} 1.0
sglang:num_retracted_reqs{model_name="m"} 1.0
sglang:num_retracted_requests_total{model_name="m"} 48.0
"""

TGI = b"""# HELP tgi_queue_size Current queue size
# TYPE tgi_queue_size gauge
tgi_queue_size 5

# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 12
# TYPE tgi_batch_next_size histogram
tgi_batch_next_size_bucket{le="1"} 3
tgi_batch_current_max_tokens 4096
"""

LLAMA_CPP = b"""# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 46
"""


def abatch_page() -> bytes:
    stats = EngineStats(
        num_running=3,
        num_waiting=2,
        num_blocks_held=4,
        num_cached_tokens=640,
        totals=EngineTotals(num_preemptions=1),
    )
    metrics = ServerMetrics(make_ready(num_blocks=10), lambda: stats, lambda: True)
    with metrics.request(1000):
        pass
    return metrics.render()


def sample(kind: str, running: int, waiting: int, kv_used: float | None, *totals: int) -> ServerSample:
    preemptions, hits, queries = [*totals, None, None, None][:3]
    return ServerSample(
        kind=kind,
        running=running,
        waiting=waiting,
        kv_used=kv_used,
        preemptions=preemptions,
        prefix_hit_tokens=hits,
        prefix_query_tokens=queries,
    )


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (VLLM, sample("vLLM", 12, 53, 0.5, 3, 1_200_000, 1_234_567)),
        (VLLM.replace(b"\n", b"\r\n"), sample("vLLM", 12, 53, 0.5, 3, 1_200_000, 1_234_567)),
        (OLD_VLLM, sample("vLLM", 4, 2, 0.25, 0)),
        (SGLANG, sample("SGLang", 49, 6, 0.28, 48, 3_000_000, 8_128_902)),
        (TGI, sample("TGI", 12, 5, None)),
        (LLAMA_CPP, sample("llama.cpp", 4, 46, None)),
        (abatch_page(), sample("abatch", 3, 2, 0.4, 1, 640, 1000)),
    ],
    ids=["vLLM", "vLLM with CRLF", "vLLM of old", "SGLang", "TGI", "llama.cpp", "abatch"],
)
def test_pages_of_known_servers(page: bytes, says: ServerSample) -> None:
    assert parse_server_metrics(page) == says


def test_of_two_names_for_the_same_only_the_newer_counts() -> None:
    both = OLD_VLLM + b"vllm:kv_cache_usage_perc 0.75\nvllm:prefix_cache_hits_total 10\n"
    both += b"vllm:gpu_prefix_cache_hits_total 10\n"
    found = parse_server_metrics(both)
    assert found is not None
    assert (found.kv_used, found.prefix_hit_tokens) == (0.75, 10)


def test_a_share_is_at_most_all() -> None:
    found = parse_server_metrics(b"sglang:token_usage 1.02\n")
    assert found is not None
    assert found.kv_used == 1.0


@pytest.mark.parametrize(
    ("line", "running"),
    [
        (b"tgi_batch_current_size 7", 7),
        (b"tgi_batch_current_size\t 7 1732550400000", 7),
        (b"tgi_batch_current_size{} 7.0", 7),
        (b"tgi_batch_current_size 1.2E1\r\n", 12),
        (b'tgi_batch_current_size{a="}\\"{\\\\"} 3', 3),
        (b"tgi_batch_current_size NaN", None),
        (b"tgi_batch_current_size +Inf", None),
        (b"tgi_batch_current_size -1", None),
        (b"tgi_batch_current_size 1e300", None),
        (b"tgi_batch_current_size seven", None),
        (b"tgi_batch_current_size \xff\xfe", None),
        (b"tgi_batch_current_size", None),
        (b'tgi_batch_current_size{a="} 7', None),
        (b" tgi_batch_current_size 7", None),
        (b"# HELP tgi_batch_current_size 7", None),
        (b"x_tgi_batch_current_size 7", None),
        (b"tgi_batch_current_size_bucket 7", None),
    ],
)
def test_lines_of_all_sorts(line: bytes, running: int | None) -> None:
    for page in (line, b"other 1\n" + line + b"\nother 2\n"):
        found = parse_server_metrics(page)
        assert (None if found is None else found.running) == running


@pytest.mark.parametrize("page", [b"", b"<html>no such page</html>", b'{"status":"ok"}', b"process_open_fds 12\n"])
def test_what_is_no_known_server(page: bytes) -> None:
    assert parse_server_metrics(page) is None


@pytest.mark.parametrize("value", [b"1..2e+-", b"1e999", b"NaN", b"-1", b"1e300", b"0x1f", b"9" * 100_000, b"\xff"])
def test_what_is_no_number_is_left_out_by_name_and_the_rest_is_kept(value: bytes) -> None:
    found = parse_server_metrics(VLLM + b'vllm:num_requests_running{engine="7"} ' + value + b"\n")
    assert found is not None
    assert found.left_out == ("vllm:num_requests_running",)
    assert (found.running, found.waiting, found.preemptions) == (None, 53, 3)


def test_a_series_that_comes_twice_is_left_out() -> None:
    line = b'tgi_queue_size{a="1"} 5\n'
    found = parse_server_metrics(TGI + line)
    assert found is not None
    assert (found.waiting, found.left_out) == (10, ()), "two series of one name"
    found = parse_server_metrics(TGI + line + line)
    assert found is not None
    assert (found.waiting, found.running, found.left_out) == (None, 12, ("tgi_queue_size",))


def test_a_page_without_a_single_number_is_still_that_of_its_server() -> None:
    found = parse_server_metrics(b"tgi_queue_size NaN\ntgi_batch_current_size -\n")
    assert found == ServerSample(kind="TGI", left_out=("tgi_batch_current_size", "tgi_queue_size"))


def test_of_a_page_of_many_series_only_so_many_are_read() -> None:
    page = b"".join(b'tgi_queue_size{a="%d"} 1\n' % number for number in range(METRICS_SERIES + 100))
    found = parse_server_metrics(page)
    assert found is not None
    assert found.waiting == METRICS_SERIES


_PIECES = [b"\n", b"\r\n", b" ", b"{", b"}", b'"', b"\\", b'a="b"', b",", b"NaN", b"9e99", b"1.5", b"-0", b"\xff"]
_NAMES = [b"vllm:num_requests_running", b"vllm:kv_cache_usage_perc", b"abatch_kv_blocks", b"abatch_kv_blocks_held"]


@given(st.one_of(st.binary(), st.lists(st.sampled_from(_PIECES + _NAMES)).map(b"".join)))
def test_no_bytes_are_a_traceback_and_what_is_found_can_be_written(page: bytes) -> None:
    found = parse_server_metrics(page)
    if found is not None:
        assert msgspec.json.decode(msgspec.json.encode(found), type=ServerSample) == found


@pytest.mark.parametrize("rest", [b"a", b'a="', b'a="\\"', b'a="b",', b' "'])
def test_a_line_that_never_ends_takes_no_time_to_speak_of(rest: bytes) -> None:
    page = b"vllm:num_requests_running{" + rest * (300_000 // len(rest))
    assert parse_server_metrics(page) is None  # in milliseconds: one that backtracks would not get past the timeout
