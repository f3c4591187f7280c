"""The options that say what is measured: a server at a URL, or our own engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Option

from ...engine.errors import ConfigurationError
from ...engine.models.source import check_sources
from ...engine.simulation.device_profile import is_simulated, load_device
from ...engine.timing.durations import format_duration
from ...workloads.model_mix import ModelMix, parse_models
from ...workloads.targets.exact_text import load_text_tokenizer
from ...workloads.targets.server_url import normalise_metrics_url
from ...workloads.targets.wire.names import checked_api
from ..measuring.own_engine import default_model, require_engine
from ..measuring.plan import SERVER_METRICS_S
from ..measuring.targets import OwnServer, RemoteServer, SimulatedEngine, Source
from .applies import refuse
from .connecting import ConnectingOptions
from .engine import EngineOptions
from .groups import given
from .situations import Situation
from .times import time_option


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions(ConnectingOptions):
    """What is measured, and how it is reached."""

    startup_timeout_s: Annotated[
        float, time_option("--startup-timeout", least_s=1, help="What our own server may take to load. Default: 10m.")
    ] = 600.0
    server_metrics_interval_s: Annotated[
        float,
        time_option(
            "--server-metrics-interval",
            help="Between scrapes of the server's /metrics, and of the GPUs of this machine if the server runs here "
            f"and abatch[gpu] is installed; 0 disables. Default: {format_duration(SERVER_METRICS_S)}.",
        ),
    ] = SERVER_METRICS_S
    metrics_url: Annotated[str | None, Option(help="Where the server's metrics are. Default: /metrics of --url.")] = (
        None
    )
    idle_probe: Annotated[
        int,
        Option(
            min=0, max=100, help="Requests sent to the idle server before the run, to measure slowdowns; 0 disables."
        ),
    ] = 8
    no_sessions: Annotated[
        bool, Option("--no-sessions", help="Do not tell abatch serve which requests belong to one session.")
    ] = False
    no_ignore_eos: Annotated[
        bool,
        Option(
            "--no-ignore-eos",
            help="Let the model end its answers, instead of asking for an exact number of tokens.",
        ),
    ] = False
    real_time: Annotated[
        bool, Option("--real-time", help="Emulate the simulated device in real time, behind HTTP.")
    ] = False
    step_log: Annotated[bool, Option("--step-log", help="Log every step of our own engine into the run folder.")] = (
        False
    )

    def source(self, engine: EngineOptions, seed: int) -> Source:
        """Where to find what is to be measured.

        Args:
            engine: Of our own engine, where there is no URL.
            seed: Of its random weights.

        Raises:
            ConfigurationError: a value is wrong, an option does not apply, or the engine is not installed.
        """
        return self._own_engine(engine, seed) if self.url is None else self._remote_server(self.url, engine)

    @property
    def models(self) -> ModelMix | None:
        """Those that share the sessions; None: there is one.

        Raises:
            ConfigurationError: a name or a weight is wrong.
        """
        return parse_models(self.model) if self.model is not None else None

    @property
    def server_metrics_s(self) -> float | None:
        """Seconds between scrapes; None: no scrapes.

        Raises:
            ConfigurationError: the interval is out of range.
        """
        interval_s = self.server_metrics_interval_s
        if interval_s != 0 and not 0.1 <= interval_s <= 3600:
            raise ConfigurationError(
                f"--server-metrics-interval must be 0.1 to 3600 seconds, or 0 to disable it, not {interval_s:g}"
            )
        if interval_s == 0:
            refuse(Situation.NO_SERVER_METRICS, given(self))
        return interval_s or None

    @property
    def clean_metrics_url(self) -> str | None:
        """The address of the server's metrics, where it is given.

        Raises:
            ConfigurationError: it is not a URL.
        """
        return None if self.metrics_url is None else normalise_metrics_url(self.metrics_url)

    def _remote_server(self, url: str, engine: EngineOptions) -> RemoteServer:
        refuse(Situation.SERVER_AT_URL, given(engine, self))
        if engine.tokenizer is not None:
            load_text_tokenizer(engine.tokenizer)  # one that cannot be loaded is found before anything is sent
        return RemoteServer(
            connection=self.connection(url, tells_sessions=not self.no_sessions, ignores_eos=not self.no_ignore_eos),
            model=self.model if self.models is None else self.models.names[0],
            further_models=() if self.models is None else self.models.names[1:],
            tokenizer=engine.tokenizer,
        )

    def _own_engine(self, engine: EngineOptions, seed: int) -> OwnServer | SimulatedEngine:
        refuse(Situation.OWN_ENGINE, given(self.typed()))
        if self.models is not None:
            raise ConfigurationError(f"--model {self.model}: our engine serves one model; several need --url")
        if not is_simulated(engine.device):
            refuse(Situation.REAL_DEVICE, given(engine, self))
        elif not self.real_time:
            refuse(Situation.VIRTUAL_TIME, given(engine, self))
        config = engine.config(self.model or default_model(engine.device), seed)
        if config.is_simulated:
            device = load_device(config.device)
            device.shape_of(config.model)
            device.dtype_of(config.dtype)
            if not self.real_time:
                return SimulatedEngine(
                    config=config,
                    timeout_s=self.timeout_s,
                    has_step_log=self.step_log,
                    tells_sessions=not self.no_sessions,
                )
        require_engine()
        if not config.is_simulated:
            check_sources(config)
        return OwnServer(
            config=config,
            arguments=engine.arguments(),
            timeout_s=self.timeout_s,
            startup_timeout_s=self.startup_timeout_s,
            has_step_log=self.step_log,
            tells_sessions=not self.no_sessions,
            ignores_eos=not self.no_ignore_eos,
            api=checked_api(self.api),
        )
