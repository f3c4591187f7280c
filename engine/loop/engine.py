"""The step loop: what happens between two tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import msgspec

from ..errors import RequestError
from ..kv.block_copy import BlockCopy, LaunchedCopy
from ..request import FinishReason, Request
from ..runner import ModelRunner, StepResult, TokenLogprobs
from ..scheduling.scheduler import Scheduler
from .forecast import StepForecast
from .stats import EngineStats
from .step_account import EngineTotals, Flight, StepAccount
from .step_budget import StepBudget
from .step_costs import StepCosts
from .step_log import OnStep, StepRecord

_LOOK_EVERY_S = 0.002
"""How often the loop looks at a step that may have ended before its forecast."""

_LOOK_AT_COPIES_S = 0.0005
"""How often it looks at copies of KV blocks when nothing else is to be done."""

_LEAST_PREFILL = 64
"""Tokens of a step whose time says what prefill costs."""


class TokenOutput(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One more token of a request, or its end. `token_id` is None when a request ended without a token."""

    request_id: str
    token_id: int | None
    logprobs: TokenLogprobs | None = None
    finish_reason: FinishReason | None = None
    num_cached_tokens: int = 0


class Engine:
    """Requests in, tokens out, one step at a time.

    Every request that `submit` accepted ends with exactly one output that carries a finish reason. The engine has
    no thread and no queue of its own: its owner calls `step` while `has_work`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        runner: ModelRunner,
        clock: Callable[[], float],
        *,
        on_step: OnStep | None = None,
    ) -> None:
        self.scheduler = scheduler
        self._runner = runner
        self._clock = clock
        self._on_step = on_step
        self._requests: dict[str, Request] = {}
        self.steps_ahead = 0 if runner.is_synchronous else scheduler.config.steps_ahead
        """Steps launched before the one that is waited for."""
        self._in_flight: deque[Flight] = deque()
        self._copies: list[tuple[BlockCopy, LaunchedCopy]] = []
        self._has_planned = True
        """The last call of `step` found something to launch."""
        self._forecast = StepForecast()
        self._costs = StepCosts()
        self._budget = StepBudget(self._costs, scheduler.config.max_step_s)
        self._account = StepAccount(clock, is_synchronous=runner.is_synchronous)

    @property
    def runner(self) -> ModelRunner:
        """The device, for steps that serve no request."""
        return self._runner

    @property
    def totals(self) -> EngineTotals:
        """Running totals, without what is parked."""
        return self._account.totals

    @property
    def has_work(self) -> bool:
        """True while any accepted request has not ended, or a step is in flight."""
        return self.scheduler.has_work or bool(self._in_flight)

    def submit(self, request: Request) -> None:
        """Accept a request; its tokens come out of later calls of `step`.

        Raises:
            RequestError: it can never be served, or its id is in use.
        """
        if request.request_id in self._requests:
            raise RequestError(f"the request id {request.request_id!r} is in use")
        request.arrival_s = self._clock()
        if not self.scheduler.has_work:
            self._account.request_waits(request.arrival_s)
        self.scheduler.submit(request)
        self._requests[request.request_id] = request
        self._has_planned = True  # there is something to plan again, whatever is on its way

    def cancel(self, request_id: str) -> TokenOutput | None:
        """Stop a request and free what it holds. None if it has ended or never was."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return None
        self.scheduler.cancel(request)
        self._launch_copies()
        self._has_planned = True
        return TokenOutput(request_id, None, finish_reason=FinishReason.CANCELLED)

    def tell(self, session_id: str, *, tool: str | None = None, expected_pause_s: float | None = None) -> None:
        """What a parked session waits for, and for how long."""
        self.scheduler.parking.tell(session_id, tool, expected_pause_s)

    def end_session(self, session_id: str) -> bool:
        """Keep nothing for a session any more; False if there is none."""
        self._has_planned = True
        return self.scheduler.parking.end(session_id, self._clock())

    def totals_now(self) -> EngineTotals:
        """Running totals as of now."""
        return replace(self.totals, parking=replace(self.scheduler.parking.totals(self._clock())))

    def stats(self) -> EngineStats:
        """The engine's state as of now. Reading it changes nothing."""
        return EngineStats.of(self.scheduler, self.totals_now())

    def step(self) -> list[TokenOutput]:
        """Plan, launch, wait, commit. What is waited for is the step just launched, or the one before it.

        Synchronous (`window`, `continuous`): the device is idle while the host commits, plans and launches.

            host    | plan T | launch T |    wait T    | commit T | plan T+1 | launch T+1 |   wait T+1   | ...
            device                      |##### T ######|              idle                |#### T+1 #####| ...

        Asynchronous (`async`): step T+1 is planned and launched while T runs, before T's tokens are known.

            host    |    (arrivals)    | plan T+1 | launch T+1 | wait T | commit T |    (arrivals)   | plan T+2 ...
            device  |###################### T #########################|################# T+1 #################...

        Planned as late as the forecast of T's end allows (`idle_s`): what arrives while T runs is still part of T+1.

        Returns:
            The tokens of the step that was waited for. Nothing when none was: the first step ahead is just launched,
            or no request could run (see `idle_s`).
        """
        planned_s = self._clock()
        self._account.host_works(planned_s)
        self._finish_copies()
        batch = self.scheduler.schedule(planned_s, self._budget.prompt_tokens)
        self._launch_copies()
        self._has_planned = batch is not None
        if batch is not None:
            launched = self._runner.launch(batch)
            step_s = self._forecast.step_s(batch, is_recorded=launched.is_recorded)
            self._in_flight.append(Flight(batch, launched, planned_s, self._clock(), step_s))
        if len(self._in_flight) > (0 if batch is None else self.steps_ahead):
            return self._collect(self._in_flight.popleft())
        return []

    def idle_s(self) -> float | None:
        """Seconds until `step` should be called: 0 now, None not before a request arrives."""
        if self._in_flight:
            idle_s: float | None = self._until_planning_s(self._in_flight[-1])
        else:
            at_s = self.scheduler.next_step_at_s()
            idle_s = None if at_s is None else max(0.0, at_s - self._clock())
            if self._copies and (idle_s != 0.0 or not self._has_planned):
                has_arrived = any(launched.is_done() for _, launched in self._copies)
                idle_s = 0.0 if has_arrived else min(idle_s or _LOOK_AT_COPIES_S, _LOOK_AT_COPIES_S)
        if idle_s != 0.0:
            self._account.host_waits()
        return idle_s

    def _until_planning_s(self, flight: Flight) -> float:
        """Until shortly before the step in flight is expected to end, but no longer than until the next look at it.

        Looking bounds what a wrong forecast can cost. There is no need to look before a step without prefill would end.
        """
        now_s, forecast, batch = self._clock(), self._forecast, flight.batch
        lead_s = forecast.lead_s(len(batch.chunks), has_prefill=self.scheduler.has_prefill_left)
        starts_s = max(flight.launched_s, self._account.device.end_s)
        idle_s = starts_s + flight.step_s - lead_s - now_s
        if idle_s <= 0 or flight.launched.is_done():
            return 0.0
        look_s = max(_LOOK_EVERY_S, starts_s + min(flight.step_s, forecast.least_s(batch)) - lead_s - now_s)
        return min(idle_s, look_s)

    def _launch_copies(self) -> None:
        """Begin the copies that have been ordered."""
        for order in self.scheduler.parking.take_orders():
            self._copies.append((order, self._runner.copy(order)))

    def _finish_copies(self) -> None:
        """Take in the copies that have arrived."""
        under_way = []
        for copy, launched in self._copies:
            if launched.is_done():
                self.scheduler.parking.learn_copy(len(copy.device_ids), launched.duration_s())
                self.scheduler.copied(copy, self._clock())
            else:
                under_way.append((copy, launched))
        self._copies = under_way

    def _collect(self, flight: Flight) -> list[TokenOutput]:
        """Wait for a step and take in what it sampled."""
        batch = flight.batch
        self._account.host_waits()
        result = flight.launched.collect()
        collected_s = self._clock()
        self._account.host_works(collected_s)
        requests, logprobs = self._requests, result.logprobs
        outputs = []
        for request, token_id, index in self.scheduler.commit(batch, result.token_ids, collected_s):
            name, reason = request.request_id, request.finish_reason
            if reason is not None:
                del requests[name]
            if request.constraint is not None:
                request.constraint.accept(token_id)
                if request.constraint.is_broken and reason is FinishReason.STOP:
                    reason = FinishReason.LENGTH  # it ended unfinished
            top = logprobs[index] if logprobs else None
            outputs.append(TokenOutput(name, token_id, top, reason, request.num_cached_tokens))
        self._launch_copies()
        self._learn(flight, result, collected_s)
        return outputs

    def _learn(self, flight: Flight, result: StepResult, collected_s: float) -> None:
        """Take in what a step took, for the account, the forecasts and the log."""
        batch, account, parking = flight.batch, self._account, self.scheduler.parking
        before = account.device
        account.add(flight, result)
        account.totals.num_preemptions = self.scheduler.num_preemptions
        device = account.device
        # Launched kernel by kernel far ahead of the device, a step may fill what the driver holds for it, and wait.
        crowd = before if device.is_recorded else device
        self._forecast.learn(
            batch,
            is_recorded=device.is_recorded,
            device_s=device.end_s - device.start_s,
            launch_s=flight.launched_s - flight.planned_s,
            may_have_waited=not crowd.is_recorded and crowd.has_much_left(flight.launched_s),
        )
        self._costs.learn(batch, device.end_s - device.start_s)
        if batch.num_prefill_tokens >= max(_LEAST_PREFILL, 2 * batch.num_decode_tokens):
            parking.learn_prefill(batch.num_prefill_tokens, device.end_s - device.start_s)
        events = parking.take_events()
        if self._on_step is not None:
            self._on_step(
                StepRecord(
                    batch.step,
                    flight.planned_s,
                    flight.launched_s,
                    device.start_s,
                    device.end_s,
                    collected_s,
                    self._clock(),
                    batch.num_decode_tokens,
                    batch.num_prefill_tokens,
                    len(batch.chunks),
                    batch.num_waiting,
                    batch.num_preempted,
                    batch.num_blocks_held,
                    batch.num_blocks_pinned,
                    events,
                    result.gap_s,
                )
            )
