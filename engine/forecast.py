"""When a step in flight will end: what lets the next one be planned late, with all that has arrived by then."""

from __future__ import annotations

from .request import Batch

_GAIN = 0.25
_DEVIATION_GAIN = 0.125
_FULL_GAIN_TOKENS = 256
"""Prefill tokens from which on a step says something about what each of them takes."""

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


class StepForecast:
    """Learns how long steps take on the device, and the host to plan and launch one.

    A step takes a base, learnt from steps that only decode, and a time for each prefill token. Running averages: loads
    drift over seconds, and steps are milliseconds. A step planned too late leaves the device idle, one planned early
    merely misses what arrives in between, so the forecast is the expectation less its mean error and 2%. (On simulated
    `mixed` traffic this idles 0.1% and is early by 8% of a step. A least-squares fit with a common error idles 1% at
    the same earliness: steps with and without prefill are predictable to very different degrees.)
    """

    def __init__(self) -> None:
        self._base_s = 0.0
        self._token_s = 0.0
        self._error_s = {False: 0.0, True: 0.0}
        """Mean error, of steps without and with prefill."""
        self._launch = _Average()

    def step_s(self, batch: Batch) -> float:
        """What a step will take at least; 0 while too little is known."""
        error_s = self._error_s[batch.num_prefill_tokens > 0]
        return max(0.0, (1 - _CAUTION) * self._expected_s(batch) - error_s)

    @property
    def lead_s(self) -> float:
        """How long before a step's end the next one must be planned to be there in time."""
        return self._launch.mean + 4 * self._launch.deviation + _SLACK_S

    def learn(self, batch: Batch, *, device_s: float, launch_s: float) -> None:
        """Take in what a step took on the device, and the host to plan and launch it."""
        self._launch.add(launch_s)
        num_prefill = batch.num_prefill_tokens
        has_prefill = num_prefill > 0
        error_s = abs(device_s - self._expected_s(batch))
        self._error_s[has_prefill] += _DEVIATION_GAIN * (error_s - self._error_s[has_prefill])
        if has_prefill:
            gain = _GAIN * min(1.0, num_prefill / _FULL_GAIN_TOKENS)
            self._token_s += gain * (max(0.0, device_s - self._base_s) / num_prefill - self._token_s)
        else:
            self._base_s += _GAIN * (device_s - self._base_s)

    def _expected_s(self, batch: Batch) -> float:
        return self._base_s + self._token_s * batch.num_prefill_tokens
