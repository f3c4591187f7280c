"""What is sent, and for how long: a recipe that another process can follow, and the traffic made by it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex

from msgspec import structs

from ...engine.errors import ConfigurationError
from ...reports.run.command import Command
from ...reports.summary.cache import CacheMode
from ...reports.traffic.extent import Extent, extent_of
from ...workloads.model_mix import ModelMix
from ...workloads.presets.catalog import DEFAULT_WORKLOAD, make_workload
from ...workloads.presets.scales import Scales
from ...workloads.run_limits import RunLimits
from ...workloads.traces.trace import Trace, content_digest, open_trace
from ...workloads.traces.trace_workload import trace_workload
from ...workloads.workload import TRAFFIC_VERSION, Rates, Workload, check_pace


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFile:
    """A recorded trace to replay.

    Attributes:
        format: One of `FORMATS`; None: recognise it by its content.
        speed: Factor on the pace at which its sessions start; None: as recorded.
        skip_bad_rows: Leave out and count malformed rows instead of failing.
    """

    path: Path
    format: str | None = None
    speed: float | None = None
    skip_bad_rows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRecipe:
    """Says what traffic to make: every process that follows it sends the same requests at the same times.

    Attributes:
        workload: Name of a preset, or of several with commas. Ignored where there is a trace.
        concurrency: Live sessions, pauses included. None, here and in the next three: the workload's own pace.
        request_rate: Requests per second (see `Rates`).
        session_rate: Sessions started per second. Given beside `request_rate`, it is what that comes to: one process
            works it out for all.
        arrival: How they arrive: constant, poisson or bursty.
        cache: What the server may have seen of the texts before.
        text_salt: Changes the texts and nothing else; None: to be chosen when the run begins (see `Traffic.salted`).
        models: That the sessions talk to; None: all to the target's one.
        saved: What config.json keeps of it. Runs that share it got the same traffic, whatever their texts said.
        words: The words of a command line that ask for it, but for the salt of its texts.
    """

    workload: str = DEFAULT_WORKLOAD
    trace: TraceFile | None = None
    scales: Scales = field(default_factory=Scales)
    limits: RunLimits = field(default_factory=RunLimits)
    concurrency: int | None = None
    request_rate: float | None = None
    session_rate: float | None = None
    arrival: str | None = None
    seed: int = 0
    cache: CacheMode = CacheMode.COLD
    text_salt: str | None = None
    models: ModelMix | None = None
    saved: Mapping[str, object] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    def make(self) -> Traffic:
        """Follow the recipe.

        Raises:
            ConfigurationError: the workload is unknown, the trace cannot be read, or the pace does not suit it.
        """
        check_pace(self.concurrency, self.request_rate, self.session_rate)
        if self.trace is None:
            if self.limits.is_endless:
                raise ConfigurationError("give --duration or --num-sessions, or the run would never end")
            workload = make_workload(self.workload, self.scales)
            session_rate = self._session_rate(workload)
            workload = workload.with_pacing(
                concurrency=self.concurrency, session_rate=session_rate, arrival=self.arrival
            )
            return Traffic(replace(self, session_rate=session_rate), self._to_models(workload))
        trace = open_trace(self.trace.path, trace_format=self.trace.format, skip_bad_rows=self.trace.skip_bad_rows)
        session_rate = self._session_rate(trace_workload(trace, self.scales))
        workload = trace_workload(
            trace,
            self.scales,
            concurrency=self.concurrency,
            session_rate=session_rate,
            arrival=self.arrival,
            speed=self.trace.speed,
            **({} if self.models is None else {"most_classes": self.models.most_classes}),
        )
        return Traffic(replace(self, session_rate=session_rate), self._to_models(workload), trace)

    def _session_rate(self, workload: Workload) -> float | None:
        """As it is given, or as the rate of requests comes to; None: neither is."""
        if self.request_rate is None or self.session_rate is not None:
            return self.session_rate
        return self.request_rate / workload.requests_per_session(self.seed)

    def _to_models(self, workload: Workload) -> Workload:
        return workload if self.models is None else self.models.applied(workload)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic that is ready to be sent. `trace`: the file it comes from, if it is a replay."""

    recipe: TrafficRecipe
    workload: Workload
    trace: Trace | None = None

    @property
    def limits(self) -> RunLimits:
        """When the run begins to count, stops sending, and ends."""
        return self.recipe.limits

    @property
    def seed(self) -> int:
        """Same seed, same traffic."""
        return self.recipe.seed

    @property
    def text_salt(self) -> str:
        """Changes the texts and nothing else."""
        return self.recipe.text_salt or ""

    def asked_for_by(self, command: Command) -> Command:
        """The command with the words that ask for this traffic, texts included.

        Raises:
            ConfigurationError: the trace cannot be read any more.
        """
        salt = ("--text-salt", self.text_salt) if self.text_salt else ()
        digest = "" if self.trace is None else content_digest(self.trace.path)
        return structs.replace(command.with_words((*self.recipe.words, *salt)), trace_digest=digest)

    @property
    def rates(self) -> Rates | None:
        """Sessions and requests per second of the open loops; None: all of it waits for the server, or is a replay.

        Unless a rate of requests was given, sessions are drawn to count their turns, which can take half a second.
        """
        asked, starting = self.recipe.request_rate, self.recipe.session_rate
        if asked is not None and starting is not None:
            return Rates(starting, asked)
        return self.workload.rates(self.seed)

    @property
    def saved(self) -> dict[str, object]:
        """What config.json keeps of the options; of rates both, whichever was given."""
        rates = self.rates
        both = {} if rates is None else {"request_rate": rates.requests, "session_rate": rates.sessions}
        return {**self.recipe.saved, **both}

    @property
    def fingerprint(self) -> dict[str, object]:
        """Runs with the same one got the same requests at the same times, whatever their texts said.

        Raises:
            ConfigurationError: the trace cannot be read any more.
        """
        of_trace = {} if self.trace is None else {"trace_digest": self.trace.digest()}
        of_models = {} if self.recipe.models is None else {"models": self.recipe.models.label}
        return {**self.recipe.saved, **of_trace, **of_models, "traffic_version": TRAFFIC_VERSION}

    def extent(self) -> Extent | None:
        """How much there is in a trace that a limit may end; None of one that is replayed whole, and of all else.

        A bad row farther on than anything is sent hides how much there is.
        """
        if self.trace is None or self.limits.is_endless:
            return None
        workload = self.recipe.make().workload  # a trace counts the rows that are read of it
        with suppress(ConfigurationError):
            return extent_of(session for stream in workload.streams for session in stream.sessions(self.seed))
        return None

    def salted(self, *, server_is_new: bool) -> Traffic:
        """The same with the salt of one run: a fresh one, unless one was asked for or none is needed.

        `server_is_new`: it is started for this run, so it has seen nothing. Its texts depend on the seed only, and the
        same seed gives the same numbers.
        """
        if self.recipe.text_salt is not None:
            return self
        is_fresh = self.recipe.cache is not CacheMode.AS_IS and not server_is_new
        return replace(self, recipe=replace(self.recipe, text_salt=token_hex(8) if is_fresh else ""))

    def salted_apart(self, name: str) -> Traffic:
        """One of several runs that were asked for with one salt: texts of its own, which depend on both."""
        if self.recipe.text_salt is None:
            return self
        return replace(self, recipe=replace(self.recipe, text_salt=f"{self.recipe.text_salt}/{name}"))
