"""GPUs read through a module that stands for NVML's."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from abatch.workloads.watching import gpu_watch
from abatch.workloads.watching.gpu_watch import GpuReading, GpuWatch


class NVMLError(Exception):
    pass


class FakeNvml:
    """Some GPUs, of which a number draws 100 W, 101 W and so on; what is in `broken` raises."""

    def __init__(self, num_gpus: int = 2, broken: tuple[str, ...] = ()) -> None:
        self.num_gpus = num_gpus
        self.broken = broken
        self.threads: set[str] = set()
        self.is_shut = False

    def _called(self, name: str) -> None:
        self.threads.add(threading.current_thread().name)
        if name in self.broken:
            raise NVMLError(name)

    def nvmlInit(self) -> None:  # noqa: N802
        self._called("init")

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_shut = True
        self._called("shutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._called("count")
        return self.num_gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self._called("handle")
        if index >= self.num_gpus:
            raise NVMLError("no such GPU")
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:  # noqa: N802
        return {"GPU-aaa": 0, "GPU-bbb": 1}[name]

    def nvmlDeviceGetPowerUsage(self, gpu: int) -> int:  # noqa: N802
        self._called(f"power {gpu}")
        return 100_000 + 1000 * gpu

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> Any:  # noqa: N802
        self._called("rates")
        return SimpleNamespace(gpu=90 - 50 * gpu, memory=1)

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Any:  # noqa: N802
        self._called("memory")
        return SimpleNamespace(total=80, used=10 + gpu, free=1)


@pytest.fixture(autouse=True)
def _all_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def reading_of(nvml: Any) -> GpuReading | None:
    """The first reading, or None if there is none to come."""
    with GpuWatch(0.01, nvml) as watch:
        for _ in range(200):
            if (found := watch.take()) is not None or not watch.is_reading:
                return found
            time.sleep(0.005)
    return None


def test_power_is_added_up_and_the_rest_too_or_averaged() -> None:
    nvml = FakeNvml()
    assert reading_of(nvml) == GpuReading(power_w=201.0, busy=0.65, memory_bytes=21)
    assert nvml.threads == {"gpu-watch"}, "never on the thread of the event loop"


@pytest.mark.parametrize(
    ("visible", "power_w"),
    [("1", 101.0), ("0,1", 201.0), ("GPU-bbb", 101.0), ("MIG-x", 201.0), ("", 201.0), ("7", None), ("1,7", 101.0)],
)
def test_only_visible_gpus_count(visible: str, power_w: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = reading_of(FakeNvml())
    assert (None if found is None else found.power_w) == power_w


def test_what_one_gpu_does_not_tell_is_not_told_of_the_others_alone() -> None:
    assert reading_of(FakeNvml(broken=("power 1",))) == GpuReading(power_w=None, busy=0.65, memory_bytes=21)


@pytest.mark.parametrize(
    "nvml",
    [
        FakeNvml(broken=("init",)),
        FakeNvml(broken=("count",)),
        FakeNvml(broken=("handle",)),
        FakeNvml(broken=("count", "shutdown")),
        FakeNvml(num_gpus=0),
        object(),
    ],
    ids=["no driver", "no count", "no handle", "nothing works", "no GPU", "another module"],
)
def test_where_nvml_fails_there_is_nothing(nvml: Any) -> None:
    assert reading_of(nvml) is None


def test_gpus_that_tell_nothing_more_are_asked_again() -> None:
    nvml = FakeNvml(broken=("power 0", "rates", "memory"))
    with GpuWatch(0.01, nvml) as watch:
        time.sleep(0.1)
        assert watch.take() is None
        assert watch.is_reading
        nvml.broken = ()
        time.sleep(0.1)
        assert watch.take() is not None
    time.sleep(0.1)
    assert nvml.is_shut
    assert not watch.is_reading


def test_a_reading_counts_once_and_a_gpu_that_hangs_holds_nothing_up() -> None:
    hung = threading.Event()

    class Hanging(FakeNvml):
        def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Any:  # noqa: N802
            if self.is_hanging:
                hung.wait(30)
            return super().nvmlDeviceGetMemoryInfo(gpu)

        is_hanging = False

    nvml = Hanging()
    with GpuWatch(0.01, nvml) as watch:
        time.sleep(0.1)
        nvml.is_hanging = True
        time.sleep(0.1)
        assert watch.take() is not None
        assert watch.take() is None
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 1
    hung.set()


@pytest.mark.parametrize("name", ["no_such_module_of_gpus", "this"])
def test_without_the_library_nothing_happens(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_watch, "_NVML", name)
    assert reading_of(None) is None
