"""`abatch calibrate --device`: from a device to a profile that simulates it."""

from __future__ import annotations

import os
import re
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from ... import __version__
from ...engine.assembly.device_measuring import MeasuredDevice, measure_device
from ...engine.errors import ConfigurationError
from ...engine.models.source import check_sources
from ...engine.simulation.device_profile import DeviceProfile, HostOverhead, is_simulated
from ...engine.simulation.fit import MeasuredStep, StepsOf, fit_steps
from ...engine.simulation.measured_steps import MeasuredSteps
from ...engine.simulation.served_fit import ServedStep, as_served, fit_host
from ...engine.simulation.step_work import StepWork
from ...reports.atomic_file import save
from ...reports.renderings.fitted_table import Column, Row, print_table
from ...reports.renderings.terminal import BriefConsole
from ..measuring.observer import Observer
from ..measuring.own_engine import default_model, require_engine
from ..measuring.served_steps import Served, measure_served
from ..measuring.targets import OwnServer
from ..options.applies import refuse_of_engine
from ..options.engine import EngineOptions

_DURATION_S, _LEAST_DURATION_S, _MOST_DURATION_S = 60.0, 4.0, 3600.0
"""What measuring takes about, beside loading the model twice: a half alone, a half served."""
_MAY_BE_OFF = 0.1
"""Of the fitted steps, in the median, on a machine that does nothing else."""
_REQUEST_TIMEOUT_S, _STARTUP_TIMEOUT_S = 120.0, 600.0


class MeasuredProfile(msgspec.Struct, kw_only=True):
    """What --json prints: the profile, where it is saved, and what it was fitted to, in seconds."""

    saved_in: str
    profile: DeviceProfile
    steps: list[tuple[str, float, float]]
    """Kind, measured, fitted."""


def measure_profile(
    engine: EngineOptions,
    model: str | None,
    duration_s: float | None,
    output: Path | None,
    console: Console,
    progress: Observer,
) -> MeasuredProfile:
    """Measure a real device with a model, print how well a profile fits, and save it.

    Args:
        engine: How the engine serves.
        model: What is served; None: the default.
        duration_s: What measuring may take about; None: the default.
        output: A new file; None: one in this folder that is named after device and model.
        console: For what was found.
        progress: Is told how it goes.

    Raises:
        AbatchError: the device cannot be measured, or the file is there already.
        KeyboardInterrupt: before the end. Nothing is saved then.
    """
    if is_simulated(engine.device):
        raise ConfigurationError("calibrate --device measures a real device: give cpu, cuda or auto")
    refuse_of_engine(engine)
    if output is not None:
        _check_new(output)
    if duration_s is None:
        duration_s = _DURATION_S
    if not _LEAST_DURATION_S <= duration_s <= _MOST_DURATION_S:
        raise ConfigurationError(f"--duration must be between 4s and 1h with --device, not {duration_s:g}s")
    require_engine()
    config = engine.config(model or default_model(engine.device), 0)
    check_sources(config)
    progress.say(f"loading {config.model}")
    measured = measure_device(config, budget_s=duration_s / 2, say=progress.say)
    path = output or Path(_file_name(measured))
    _check_new(path)
    alone = fit_steps(measured.steps, _steps_of(measured))
    source = OwnServer(
        config=config,
        arguments=engine.arguments(),
        timeout_s=_REQUEST_TIMEOUT_S,
        startup_timeout_s=_STARTUP_TIMEOUT_S,
        has_step_log=True,
    )
    progress.say(f"serving bursts of short requests for about {duration_s / 2:.0f} s, for what a server adds to steps")
    with tempfile.TemporaryDirectory(prefix="abatch-calibrate-") as folder:
        served = measure_served(source, measured.ready, alone, Path(folder), duration_s / 2, progress)
    profile = profile_of(measured, alone, served)
    save(path, msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n")
    _show(console, measured.steps, alone, profile, served.steps)
    if alone.median_error > _MAY_BE_OFF:
        progress.say("steps varied too much to be fitted well: calibrate again when nothing else runs")
    console.print(f"saved in {path}: abatch bench --device simulated:{path}", soft_wrap=True)
    rows = [(step.name, step.seconds, alone.seconds(step.work)) for step in measured.steps]
    return MeasuredProfile(saved_in=str(path), profile=profile, steps=rows)


def profile_of(measured: MeasuredDevice, alone: MeasuredSteps, served: Served) -> DeviceProfile:
    """The profile of a device: bandwidth and operations are those that its steps reached."""
    shape, ready = measured.shape, measured.ready
    host = fit_host(alone, served.steps, served.request_s)
    dtype_bytes = 4 if ready.dtype == "float32" else 2
    decode_s = alone.seconds(StepWork(1, 1, 1, 1))
    flops = max(2 * shape.num_active_params * step.work.num_tokens / step.seconds for step in measured.steps)
    return DeviceProfile(
        name=f"{ready.device} with {shape.name} in {ready.dtype}, measured by abatch {__version__}",
        bandwidth_bytes_per_s=shape.num_active_params * dtype_bytes / decode_s,
        flops_per_s=flops,
        memory_bytes=measured.memory_bytes,
        bandwidth_efficiency=1.0,
        compute_efficiency=1.0,
        launch_s=0.0,
        host=host,
        steps=as_served(alone, host, served.steps),
    )


def _steps_of(measured: MeasuredDevice) -> StepsOf:
    return StepsOf(
        model=measured.shape,
        dtype=measured.ready.dtype,
        version=__version__,
        attention=measured.ready.attention,
        is_synchronous=measured.is_synchronous,
    )


def _file_name(measured: MeasuredDevice) -> str:
    name = f"{measured.ready.device}-{measured.shape.name}-{measured.ready.dtype}"
    return re.sub(r"[^\w.-]+", "-", name) + ".json"


def _check_new(path: Path) -> None:
    if os.path.lexists(path):
        raise ConfigurationError(f"--output {path} exists already; name a new file")
    if path.suffix != ".json":
        raise ConfigurationError(f"--output {path} must end in .json, as --device simulated:FILE.json wants it")
    if not path.parent.is_dir():
        raise ConfigurationError(f"cannot write --output {path}: there is no folder {path.parent}")


def _show(
    console: Console,
    measured: Sequence[MeasuredStep],
    alone: MeasuredSteps,
    profile: DeviceProfile,
    served: Sequence[ServedStep],
) -> None:
    if not isinstance(console, BriefConsole):
        columns = [Column("step alone", is_text=True), Column("measured ms"), Column("fitted ms"), Column("off")]
        rows = [_row(step.name, step.seconds, alone.seconds(step.work)) for step in measured]
        print_table(console, columns, rows, gap=2, elsewhere="--json FILE has them")
        console.print()
        columns[0] = Column("step served", is_text=True)
        print_table(console, columns, _served_rows(profile, served), gap=2, elsewhere="--json FILE has them")
        console.print()
    console.print(
        f"{profile.name}: fitted steps are off by {alone.median_error:.1%} in the median and {alone.largest_error:.1%} "
        f"at most; served, the host adds {profile.host}, and {profile.host.request_s * 1e3:.2f} ms per request"
    )


def _row(name: str, measured_s: float, fitted_s: float) -> Row:
    return Row([name, f"{measured_s * 1e3:.3f}", f"{fitted_s * 1e3:.3f}", f"{fitted_s / measured_s - 1:+.1%}"])


def _served_rows(profile: DeviceProfile, served: Sequence[ServedStep]) -> list[Row]:
    steps, host = profile.steps, profile.host
    assert steps is not None
    if not steps.is_synchronous:
        host = HostOverhead()
    by_count: dict[int, list[ServedStep]] = {}
    for step in served:
        by_count.setdefault(step.num_seqs, []).append(step)
    rows = []
    for count, same in sorted(by_count.items()):
        took_s = statistics.median(step.device_s + (step.host_s if steps.is_synchronous else 0) for step in same)
        fitted_s = statistics.median(steps.seconds(step.work) + host.of(count) for step in same)
        rows.append(_row(f"decode {count}, median of {len(same)}", took_s, fitted_s))
    return rows
