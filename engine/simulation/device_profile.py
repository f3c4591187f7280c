"""Simulated devices: published figures, and the share of them that software reaches."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import ConfigurationError
from ..timing.durations import match_duration
from .measured_steps import MeasuredSteps
from .model_shape import DEFAULT_SHAPE, ModelShape, load_shape

_SIMULATED = "simulated"
"""A device whose name begins like this takes time and computes nothing."""

_LONGEST_STEP_S = 3600.0


def is_simulated(device: str) -> bool:
    """Whether a device's name is that of a simulated one."""
    return device.lower().startswith(_SIMULATED)


class HostOverhead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time the host spends on a step outside the device: planning, launching, committing, sending.

    `request_s` is what a request spends outside of steps: on its way to the engine, and its tokens on their way back.
    """

    step_s: float = 0.0
    sequence_s: float = 0.0
    request_s: float = 0.0

    def of(self, num_seqs: int) -> float:
        """Seconds for a step of `num_seqs` sequences."""
        return self.step_s + num_seqs * self.sequence_s

    def __str__(self) -> str:
        return f"{self.step_s * 1e3:g} ms + {self.sequence_s * 1e6:g} us per sequence"


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device. The fields are those of a custom JSON file.

    Attributes:
        bandwidth_bytes_per_s: Published memory bandwidth.
        flops_per_s: Published dense 16-bit floating point operations per second.
        host_bandwidth_bytes_per_s: Published bandwidth of its link to the host's memory, in each direction.
        memory_bytes: Its memory. 90% of it holds weights and KV blocks.
        host_bandwidth_efficiency: Share of that link's bandwidth that copies reach.
        bandwidth_efficiency: Share of the bandwidth that real kernels reach.
        compute_efficiency: Share of the operations that real matrix products reach.
        launch_s: What each step takes beyond that: gaps between kernels, sampling.
        step_s: Every step takes exactly this, whatever it computes (for showing overlap). None: the roofline.
        host: What the host is assumed to need, where it is simulated too. By default what our own engine was measured
            to need with a torch model (docs/benchmarks.md), rounded up.
        steps: What steps of one model took, where `abatch calibrate` has measured them: they count in place of the
            roofline, and no other model is simulated.
    """

    name: str
    bandwidth_bytes_per_s: float
    flops_per_s: float
    memory_bytes: float
    host_bandwidth_bytes_per_s: float = 32e9
    host_bandwidth_efficiency: float = 0.8
    bandwidth_efficiency: float = 0.85
    compute_efficiency: float = 0.6
    launch_s: float = 2e-4
    step_s: float | None = None
    host: HostOverhead = HostOverhead(4e-4, 8e-6)
    steps: MeasuredSteps | None = None

    def __post_init__(self) -> None:
        for field in ("bandwidth_bytes_per_s", "flops_per_s", "memory_bytes", "host_bandwidth_bytes_per_s"):
            if not 0 < getattr(self, field) < float("inf"):
                raise ValueError(f"{field} must be above 0")
        for field in ("bandwidth_efficiency", "compute_efficiency", "host_bandwidth_efficiency"):
            if not 0 < getattr(self, field) <= 1:
                raise ValueError(f"{field} must be above 0 and at most 1")
        times_s = (self.launch_s, self.host.step_s, self.host.sequence_s, self.host.request_s)
        if min(times_s) < 0:
            raise ValueError("times must not be negative")
        if max(times_s) > _LONGEST_STEP_S:
            raise ValueError("times must be seconds, at most an hour")
        if not self.name.isprintable():
            raise ValueError("name must be printable")
        if self.step_s is not None and not 1e-6 <= self.step_s <= _LONGEST_STEP_S:
            raise ValueError("step_s must be between a microsecond and an hour")

    @property
    def usable_bytes(self) -> float:
        """Memory for weights and KV blocks."""
        return 0.9 * self.memory_bytes

    @property
    def is_synchronous(self) -> bool:
        """Launching a step is the work itself, as on a CPU."""
        return self.steps is not None and self.steps.is_synchronous

    @property
    def default_model(self) -> str:
        """What it runs where no model is named."""
        return DEFAULT_SHAPE if self.steps is None else self.steps.model.name

    def shape_of(self, model: str) -> ModelShape:
        """The shape behind a model's name (see `load_shape`).

        Raises:
            ConfigurationError: there is none, or the steps that were measured are another model's.
            UnsupportedModelError: see `load_shape`.
        """
        if self.steps is None:
            return load_shape(model)
        measured = self.steps.model
        if model == measured.name:
            return measured
        shape = load_shape(model)
        if msgspec.structs.replace(shape, name=measured.name) != measured:
            raise ConfigurationError(
                f"the profile {self.name} holds steps of {measured.name}, which say nothing about {shape.name}: leave "
                f"--model out, or measure that one by abatch calibrate --device DEVICE --model {model}"
            )
        return measured

    def dtype_of(self, dtype: str) -> str:
        """What `--dtype` means here.

        Raises:
            ConfigurationError: the steps that were measured are of another one.
        """
        if self.steps is None:
            return "bfloat16" if dtype == "auto" else dtype
        if dtype not in ("auto", self.steps.dtype):
            raise ConfigurationError(
                f"the profile {self.name} holds steps in {self.steps.dtype}: leave --dtype {dtype} out, or measure "
                "that one by abatch calibrate"
            )
        return self.steps.dtype


# NVIDIA's data sheets: SXM modules (L4: the card), dense bfloat16 without sparsity; PCI Express x16 to the host, of
# generation 4 (32 GB/s each way) up to the A100, 5 (64 GB/s) from the H100 on.
_PCIE_5 = 64e9
DEVICES = {
    profile.name: profile
    for profile in (
        DeviceProfile(name="l4", bandwidth_bytes_per_s=300e9, flops_per_s=121e12, memory_bytes=24e9),
        DeviceProfile(name="a100", bandwidth_bytes_per_s=2.039e12, flops_per_s=312e12, memory_bytes=80e9),
        *(
            DeviceProfile(
                name=name,
                bandwidth_bytes_per_s=bandwidth,
                flops_per_s=flops,
                memory_bytes=memory,
                host_bandwidth_bytes_per_s=_PCIE_5,
            )
            for name, bandwidth, flops, memory in (
                ("h100", 3.35e12, 989.4e12, 80e9),
                ("h200", 4.8e12, 989.4e12, 141e9),
                ("b200", 8e12, 2250e12, 180e9),
            )
        ),
    )
}


def load_device(device: str) -> DeviceProfile:
    """The profile behind `simulated:NAME`, `simulated:FILE.json` or a step time: `simulated:5ms`.

    Steps of a given length are those of a device that is otherwise an H200: its memory holds weights and KV.

    Raises:
        ConfigurationError: there is none, or the file is no profile.
    """
    name = device.partition(":")[2]
    if name.lower() in DEVICES:
        return DEVICES[name.lower()]
    step = match_duration(name)
    if step is not None and step[1] == len(name):
        try:
            return msgspec.structs.replace(DEVICES["h200"], name=name, step_s=float(step[0]))
        except ValueError as error:
            raise ConfigurationError(f"--device {device}: {error}") from error
    if not name.endswith(".json"):
        raise ConfigurationError(
            f"unknown simulated device {name!r}; choose {', '.join(DEVICES)}, a step time such as simulated:5ms, "
            "or a JSON file such as simulated:./my.json"
        )
    try:
        return msgspec.json.decode(Path(name).expanduser().read_bytes(), type=DeviceProfile)
    except OSError as error:
        raise ConfigurationError(f"cannot read the device profile {name}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name} is not a device profile: {error}") from error


def parse_host_overhead(text: str) -> HostOverhead:
    """`"2ms"`, or `"0.4ms+8us"`: time per step, and time per sequence in it.

    Raises:
        ConfigurationError: the text is neither.
    """
    times = [(match_duration(part), len(part)) for part in map(str.strip, text.split("+"))]
    seconds = [float(found[0]) for found, length in times if found is not None and found[1] == length]
    if not len(seconds) == len(times) <= 2 or max(seconds) > _LONGEST_STEP_S:
        raise ConfigurationError(
            f"--host-overhead must look like 2ms, or 0.4ms+8us (per step, per sequence; up to 1h), not {text!r}"
        )
    return HostOverhead(*seconds)
