"""The commands: their names, what each is for in a line, and which options most people need of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Listed:
    """A command as help lists it.

    Attributes:
        summary: The first sentence of its docstring, known without loading what the command is made of.
        first: Its options that head the help, by their long names.
    """

    summary: str
    first: tuple[str, ...] = ()


COMMANDS: Mapping[str, Listed] = {
    "serve": Listed(
        "Serve a model behind OpenAI's APIs (chat completions, completions, Responses) and Anthropic's Messages API.",
        ("model", "host", "port", "api-key", "device", "batching", "max-num-seqs", "max-model-len", "kv-memory"),
    ),
    "bench": Listed(
        "Run a workload against a server, save the run, print the verdict.",
        ("url", "model", "workload", "request-rate", "concurrency", "duration", "require", "html", "output", "quiet"),
    ),
    "compare": Listed(
        "Compare saved runs, servers, or our engine with different options: which differences are real.",
        (
            "url",
            "vary",
            "workload",
            "request-rate",
            "duration",
            "rounds",
            "require",
            "html",
            "output",
            "quiet",
        ),
    ),
    "gate": Listed(
        "Judge a saved run: exit 0 if every rule holds, 3 if one does not, 4 if one could not be judged.",
        ("require", "rules", "baseline", "junit", "html", "quiet"),
    ),
    "report": Listed(
        "Show saved runs again, with their rules judged, and write reports of them.",
        ("html", "markdown", "json", "class", "quiet"),
    ),
    "rerun": Listed("Do a saved run, sweep or comparison again: same traffic and texts, same target, same rules."),
    "calibrate": Listed(
        "Measure what the client itself adds on this machine, and up to which rate it can be trusted.",
        ("request-rate", "duration", "max-rate", "workers", "device", "output", "json", "quiet"),
    ),
    "null-server": Listed(
        "Serve an API that computes nothing and behaves exactly as told, to test load generators against.",
        ("host", "port", "ttft", "itl", "jitter", "prefill-rate", "freeze-at", "log"),
    ),
    "workload": Listed("Inspect a preset or trace before running it."),
}
"""In the order in which `abatch --help` lists them. Each is a module of its own in `commands`, of the same name."""
FIRST_PANELS = ("Traffic", "Target", "Rules")
LAST_PANELS = ("Sweep", "Engine")
"""Headings of panels: those that come next after the first options, and those for experts, at the end of the help."""


def long_name(option: Any) -> str:
    """The name of an option, as `request-rate`; of a switch that only turns something off, as `no-prefix-cache`."""
    names: list[str] = [*option.opts, *option.secondary_opts]
    return next((name for name in names if name.startswith("--")), names[0]).lstrip("-")
