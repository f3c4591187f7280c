"""Our own engine as a command is asked for it: refused early where it cannot be had."""

from __future__ import annotations

import importlib.util
from typing import Any

from ...engine.errors import ConfigurationError
from ...engine.simulation.device_profile import is_simulated, load_device
from ...engine.simulation.model_shape import DEFAULT_SHAPE, load_shape
from ..options.options import engine_arguments, engine_config
from .targets import OwnServer, SimulatedEngine, Source

_ENGINE_PACKAGES = ("torch", "transformers", "jinja2", "prometheus_client")
_WITHOUT_USE_IN_VIRTUAL_TIME = (
    "--tokenizer",
    "--load-format",
    "--num-threads",
    "--attention",
    "--no-cuda-graphs",
    "--compile",
    "--poison",
)


def require_engine() -> None:
    """Raise `ConfigurationError` unless the packages of the engine are installed."""
    missing = [package for package in _ENGINE_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            f"the engine needs {', '.join(missing)}, not installed here: pip install 'abatch[engine]' "
            "(without: abatch bench --url URL measures a remote server, --device simulated:h100 a simulated one)"
        )


def default_model(device: str) -> str:
    """What is served where no model is named."""
    return DEFAULT_SHAPE if is_simulated(device) else "tiny"


def own_engine(
    model: str | None,
    seed: int,
    values: dict[str, Any],
    *,
    real_time: bool,
    has_step_log: bool,
    tells_sessions: bool = True,
    timeout_s: float,
    startup_timeout_s: float,
) -> Source:
    """The engine with the values of the engine options, behind HTTP or, if simulated, in virtual time.

    Raises:
        ConfigurationError: a value is wrong, or the engine is not installed.
    """
    config = engine_config(model or default_model(values["device"]), seed, values)
    if config.is_simulated:
        load_shape(config.model)
        load_device(config.device)
        if not real_time:
            given = engine_arguments(values)
            for flag in (flag for flag in _WITHOUT_USE_IN_VIRTUAL_TIME if flag in given):
                raise ConfigurationError(f"{flag} means nothing in virtual time; --real-time runs a whole server")
            return SimulatedEngine(
                config=config, timeout_s=timeout_s, has_step_log=has_step_log, tells_sessions=tells_sessions
            )
    elif real_time:
        raise ConfigurationError("--real-time is for simulated devices; a real one knows no other time")
    require_engine()
    return OwnServer(
        config=config,
        values=values,
        timeout_s=timeout_s,
        startup_timeout_s=startup_timeout_s,
        has_step_log=has_step_log,
        tells_sessions=tells_sessions,
    )
