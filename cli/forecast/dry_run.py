"""What --dry-run prints: a run or a comparison as it is planned, before anything is sent or written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ...reports.gates.rule import Rule
from ...reports.text import clean
from ...workloads.targets.server_url import hide_credentials
from ..measuring.plan import Plan
from ..measuring.targets import OwnServer, RemoteServer, SimulatedEngine, Source
from ..measuring.traffic import Traffic

_COLUMNS = 10


def print_plan(console: Console, parts: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print headings, each with its lines beside it; those without lines are left out."""
    for heading, lines in parts:
        for number, line in enumerate(lines):
            console.print(f"{heading if not number else '':<{_COLUMNS}}{clean(line)}", soft_wrap=True)
    console.print("dry run: nothing was sent, nothing was written", soft_wrap=True)


def target_in_words(source: Source) -> str:
    """What would be measured. A server at a URL was not asked for anything, so its models are not known."""
    match source:
        case RemoteServer():
            model = "its first model" if source.model is None else ", ".join([source.model, *source.further_models])
            return f"{hide_credentials(source.connection.url)} ({model})"
        case OwnServer() | SimulatedEngine():
            config = source.config
            how = "in virtual time" if source.is_virtual else "over HTTP, started for each run"
            return f"abatch: {config.model} on {config.device}, {config.batching} batching, {how}"
    return "abatch null-server"


def traffic_in_words(traffic: Traffic) -> list[str]:
    """What would be sent."""
    workload, recipe = traffic.workload, traffic.recipe
    of_trace = "" if traffic.trace is None else f" ({traffic.trace.path})"
    return [
        f"{workload.name}{of_trace}: {workload.description}",
        f"seed {traffic.seed}, {recipe.cache} texts, verdict about {workload.verdict_class}",
    ]


def rules_in_words(rules: Iterable[Rule], baseline: Path | None) -> list[str]:
    """The rules as they were read."""
    return [*(rule.text for rule in rules), *([] if baseline is None else [f"baseline: {baseline}"])]


def files_in_words(places: Mapping[str, Path]) -> list[str]:
    """Files that would be written besides, by what they are."""
    return [f"{name}: {'stdout' if str(path) == '-' else path}" for name, path in places.items()]


def run_folder(plan: Plan) -> str:
    """Where the run would be saved."""
    return str(plan.folder or Path("runs") / f"DATE-TIME-{plan.traffic.workload.name}")
