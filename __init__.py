"""abatch: a load generator and latency auditor for LLM servers that ships its own engine.

From Python: `from abatch import bench, compare, load_run` (see docs/python-api.md).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cli.python_api import (
        AbatchError,
        ConfigurationError,
        EngineOptions,
        Floor,
        ReportOptions,
        Run,
        TargetOptions,
        TrafficOptions,
        bench,
        compare,
        load_run,
    )

__version__ = "0.1.0"
__all__ = [
    "AbatchError",
    "ConfigurationError",
    "EngineOptions",
    "Floor",
    "ReportOptions",
    "Run",
    "TargetOptions",
    "TrafficOptions",
    "bench",
    "compare",
    "load_run",
]


def __getattr__(name: str) -> object:
    """The names above, loaded when they are first asked for: `import abatch` loads nothing else."""
    if name not in __all__:
        raise AttributeError(f"module 'abatch' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("abatch.cli.python_api"), name)
