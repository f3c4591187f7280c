"""What people type who come from other tools, or from an earlier release: how it is spelled here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

_STDOUT = "-"


def _each(advice: str, names: str) -> dict[str, str]:
    return {f"--{name}": advice for name in names.split()}


ELSEWHERE: Mapping[str, str] = {
    **_each("--num-requests", "num-prompts request-count max-requests max-num-completed-requests requests"),
    **_each("--num-sessions", "num-conversations conversation-num num-dataset-entries"),
    **_each("--request-rate", "rate qps rps"),
    **_each("--session-rate", "user-rate spawn-rate"),
    **_each(
        "--concurrency", "num-concurrent-requests users vus connections session-concurrency conversation-concurrency"
    ),
    **_each("--concurrency (live sessions) or --max-in-flight (requests)", "max-concurrency request-concurrency"),
    **_each("--input-len", "random-input-len mean-input-tokens synthetic-input-tokens-mean input-tokens prompt-tokens"),
    **_each(
        "--output-len", "random-output-len mean-output-tokens output-tokens-mean output-tokens sharegpt-output-len"
    ),
    **_each("--turns", "num-turns session-turns-mean conversation-turn-mean"),
    **_each("--duration", "max-seconds run-time benchmark-duration measurement-interval test-duration"),
    **_each("--warmup, a time", "num-warmups warmup-requests warmup-request-count warmup-percent"),
    **_each("--arrival", "arrival-pattern rate-type"),
    **_each("--arrival bursty", "burstiness"),
    **_each("--url", "target endpoint server host"),
    **_each("--api", "endpoint-type backend service-kind"),
    **_each("--api-key-file", "token bearer-token"),
    **_each("--extra-body", "extra-inputs extra-request-body"),
    **_each("--timeout", "request-timeout request-timeout-seconds timeout-seconds"),
    **_each("--trace", "dataset-path input-file data replay"),
    **_each("--workload", "dataset-name dataset scenario profile"),
    **_each("--seed", "random-seed"),
    **_each("--percentiles", "metric-percentiles percentile-metrics"),
    **_each("--require", "threshold assert slo fail-on"),
    **_each(
        "--output, the folder of the run", "save-result result-dir results-dir artifact-dir output-dir output-path"
    ),
    **_each("--json", "result-filename export-json summary-export output-format"),
    **_each("--csv", "export-csv"),
    **_each("--markdown", "md"),
    **_each("--html", "report"),
    **_each("the number of tokens is exact unless --no-ignore-eos is given", "ignore-eos"),
    **_each("every request is streamed", "stream streaming"),
    **_each("--max-model-len", "context-length ctx-size max-total-tokens"),
    **_each("--max-num-batched-tokens", "chunked-prefill-size max-batch-prefill-tokens"),
    **_each("--max-num-seqs", "max-running-requests max-batch-size max-concurrent-requests"),
    **_each("--no-prefix-cache", "no-enable-prefix-caching disable-radix-cache"),
    **_each("prefixes are cached unless --no-prefix-cache is given", "enable-prefix-caching"),
    **_each("--no-cuda-graphs", "enforce-eager disable-cuda-graph"),
    **_each("--kv-memory", "gpu-memory-utilization mem-fraction-static kv-cache-memory-bytes"),
    **_each("--host-kv-memory", "swap-space cpu-offload-gb kv-offloading-size"),
    **_each("--tool-format", "tool-call-parser enable-auto-tool-choice"),
    **_each("--model", "model-path model-id"),
}
"""Options of vLLM, SGLang, TGI, guidellm, aiperf, genai-perf, llmperf, locust and k6, and what to use for them."""


def advice(option: str, known: Collection[str]) -> str | None:
    """What to do in place of an option that a command does not have; None: nobody knows, or that is not there either.

    Args:
        option: As it was typed, such as `--num-prompts`.
        known: The options that the command has.
    """
    name = option.lower().replace("_", "-")
    found = name if name in known else ELSEWHERE.get(name)
    if found is None or option in known:
        return None  # something else is wrong with one that is known
    if not found.startswith("--"):
        return found
    return f"use {found}" if found.split()[0].rstrip(",") in known else None


def modern(command: str | None, words: Sequence[str]) -> list[str]:
    """The words behind a command as this release spells them: `calibrate --json` had no file behind it."""
    found = [*words]
    if command == "calibrate" and "--json" in found:
        place = found.index("--json") + 1
        following = found[place : place + 1]
        if following != [_STDOUT] and (not following or following[0].startswith("-")):
            found.insert(place, _STDOUT)
    return found
