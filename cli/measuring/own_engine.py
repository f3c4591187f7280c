"""Whether our own engine can be had here, and what it serves by default."""

from __future__ import annotations

import importlib.util

from ...engine.errors import ConfigurationError
from ...engine.simulation.device_profile import is_simulated, load_device

_ENGINE_PACKAGES = ("torch", "transformers", "jinja2", "prometheus_client")


def require_engine() -> None:
    """Raise `ConfigurationError` unless the packages of the engine are installed."""
    missing = [package for package in _ENGINE_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            f"the engine needs {', '.join(missing)}, not installed here: pip install 'abatch[engine]' "
            "(without: abatch bench --url URL measures a remote server, --device simulated:h100 a simulated one)"
        )


def default_model(device: str) -> str:
    """What is served where no model is named.

    Raises:
        ConfigurationError: it is a simulated device that there is none of.
    """
    return load_device(device).default_model if is_simulated(device) else "tiny"
