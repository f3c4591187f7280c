"""When a step in flight will end: what lets the next one be planned late, with all that has arrived by then."""

from __future__ import annotations

from collections import defaultdict

from .request import Batch

_GAIN = 0.25
_DEVIATION_GAIN = 0.125
_TRUSTED_AFTER = 5
"""Steps of a kind before its forecast is used. Of these the shortest counts: first steps load, compile, fault in."""

_LARGEST_GROWTH = 2.0
"""A step counts as at most so many times what was expected: one stall must not make the loop sleep through others."""

_CAUTION = 0.02
_SLACK_S = 2e-4
"""What waking up from a sleep may take."""


class _Average:
    """Running mean and mean deviation, as TCP keeps of its round trips (RFC 6298)."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.deviation = 0.0

    def add(self, value: float) -> None:
        if self.mean == 0.0:
            self.mean, self.deviation = value, value / 2
        else:
            self.deviation += _DEVIATION_GAIN * (abs(value - self.mean) - self.deviation)
            self.mean += _GAIN * (value - self.mean)


class _Kind:
    """Steps of a kind: one value learnt of them, and how far off their forecasts were."""

    def __init__(self) -> None:
        self.value = 0.0
        self.error_s = 0.0
        self._num_steps = 0

    @property
    def is_trusted(self) -> bool:
        return self._num_steps >= _TRUSTED_AFTER

    def learn(self, value: float, error_s: float) -> None:
        if self.is_trusted:
            self.value += _GAIN * (value - self.value)
            self.error_s += _DEVIATION_GAIN * (error_s - self.error_s)
        else:
            self.value = min(self.value, value) if self._num_steps else value
        self._num_steps += 1


class StepForecast:
    """Learns how long steps take on the device, and the host to plan and launch one.

    A step takes a base, learnt from steps that only decode, and a time for each prefill token, learnt by powers of two
    of their number: few of them ride along for nothing while weights and KV are read, many cost what they compute.
    Running averages: loads drift over seconds, and steps are milliseconds. A step planned too late leaves the device
    idle, one planned early merely misses what arrives in between, so the forecast is the expectation less its mean
    error and 2%. (A least-squares fit with a common error idles ten times as much: steps with and without prefill are
    predictable to very different degrees.)
    """

    def __init__(self) -> None:
        self._decode = _Kind()
        """Its value: seconds a step."""
        self._prefill: defaultdict[int, _Kind] = defaultdict(_Kind)
        """By bits in the number of prefill tokens. Its value: seconds a token, beyond what the step takes anyway."""
        self._launch = _Average()

    def step_s(self, batch: Batch) -> float:
        """What a step will take at least; 0 while too little is known."""
        kind = self._kind(batch)
        if not kind.is_trusted:
            return 0.0
        return max(0.0, (1 - _CAUTION) * self._expected_s(batch) - kind.error_s)

    @property
    def least_s(self) -> float:
        """What a step takes that only decodes; 0 while too little is known."""
        return self._decode.value if self._decode.is_trusted else 0.0

    @property
    def lead_s(self) -> float:
        """How long before a step's end the next one must be planned to be there in time."""
        return self._launch.mean + 4 * self._launch.deviation + _SLACK_S

    def learn(self, batch: Batch, *, device_s: float, launch_s: float) -> None:
        """Take in what a step took on the device, and the host to plan and launch it."""
        self._launch.add(launch_s)
        kind, expected_s, num_prefill = self._kind(batch), self._expected_s(batch), batch.num_prefill_tokens
        error_s = abs(device_s - expected_s)
        if kind.is_trusted:
            device_s = min(device_s, _LARGEST_GROWTH * expected_s)
        if num_prefill:
            kind.learn(max(0.0, device_s - self._decode.value) / num_prefill, error_s)
        else:
            kind.learn(device_s, error_s)

    def _kind(self, batch: Batch) -> _Kind:
        num_prefill = batch.num_prefill_tokens
        return self._prefill[num_prefill.bit_length()] if num_prefill else self._decode

    def _expected_s(self, batch: Batch) -> float:
        num_prefill = batch.num_prefill_tokens
        return self._decode.value + (self._kind(batch).value * num_prefill if num_prefill else 0.0)
