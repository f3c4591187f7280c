"""gates.toml: rules kept beside the code they guard."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.errors import ConfigurationError
from ...workloads.regular_file import read_regular
from .parser import parse_rule
from .rule import Rule

_KEYS = ("require", "baseline", "workload")
_MAX_BYTES = 1 << 20
_MOST_KEY_PARTS = 32
_DEEP_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MOST_KEY_PARTS}}}""",
)
"""A key of many parts, such as a.a.a: Python's parser takes time with the square of their number, a minute for 100 kB,
and memory likewise. Ours have two."""


@dataclass(frozen=True, slots=True)
class GateFile:
    """The content of a gates.toml.

    Attributes:
        rules: For all runs.
        baseline: A run folder; None if there is none.
        by_workload: More rules and another baseline, for runs of one workload.
    """

    rules: tuple[Rule, ...] = ()
    baseline: Path | None = None
    by_workload: Mapping[str, GateFile] | None = None

    def rules_for(self, workload: str) -> list[Rule]:
        """The rules for runs of a workload."""
        special = (self.by_workload or {}).get(workload)
        return [*self.rules, *(special.rules if special is not None else ())]

    def baseline_for(self, workload: str) -> Path | None:
        """The baseline for runs of a workload."""
        special = (self.by_workload or {}).get(workload)
        return self.baseline if special is None or special.baseline is None else special.baseline


def read_gate_file(path: Path) -> GateFile:
    """Read a gates.toml. Paths in it are relative to its folder.

    Raises:
        ConfigurationError: it cannot be read, or is wrong; the text says what and where.
    """
    try:
        text = read_regular(path, _MAX_BYTES).decode()
        if _DEEP_KEY.search(text):
            raise ConfigurationError(f"{path} has a key of {_MOST_KEY_PARTS} parts or more: is it a file of rules?")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not TOML or not UTF-8, a number of 5,000 digits, 500 brackets
        raise ConfigurationError(f"{path}: {error}") from error
    workloads = values.pop("workload", {})
    if not isinstance(workloads, dict) or not all(isinstance(table, dict) for table in workloads.values()):
        raise ConfigurationError(f"{path}: workload must be a table, such as [workload.chat-short]")
    found = _read(path, values, "")
    by_workload = {name: _read(path, table, f"[workload.{name}] ") for name, table in workloads.items()}
    if not found.rules and not any(table.rules for table in by_workload.values()):
        raise ConfigurationError(f"{path} has no rules; add, for example, require = ['ttft.p99/p50 <= 3']")
    return GateFile(found.rules, found.baseline, by_workload)


def _read(path: Path, values: dict[str, Any], where: str) -> GateFile:
    for key in values:
        if key not in ("require", "baseline"):
            raise ConfigurationError(f"{path}: {where}unknown key {key[:60]!r}; the keys are {', '.join(_KEYS)}")
    texts = values.get("require", [])
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(f"{path}: {where}require must be a list of rules in quotes")
    rules = []
    for number, text in enumerate(texts, 1):
        try:
            rules.append(parse_rule(text))
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {where}require, entry {number}: {error}") from error
    baseline = values.get("baseline")
    if baseline is not None and not isinstance(baseline, str):
        raise ConfigurationError(f"{path}: {where}baseline must be the path of a run folder")
    try:
        folder = None if baseline is None else path.parent / Path(baseline).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{path}: {where}baseline {baseline}: {error}") from error
    return GateFile(tuple(rules), folder)
