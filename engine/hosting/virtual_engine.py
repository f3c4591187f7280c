"""An engine on an event loop of virtual time: no process, no thread, no waiting."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from ..assembly.build import build_simulated_engine, simulated_host
from ..config import EngineConfig
from ..loop.engine import Engine, TokenOutput
from ..loop.messages import Ready
from ..loop.stats import EngineStats
from ..loop.step_account import EngineTotals
from ..loop.step_log import OnStep
from ..request import Request, SamplingParams
from ..session import SessionUse
from ..timing.clock import SteppedClock
from .pending import PendingRequests

OnOutput = Callable[[TokenOutput, float], None]
"""Called with each output of a request and the time it came out."""
OnStats = Callable[[EngineStats, float], None]
"""Called with the engine's state and the time it is as of."""


class VirtualEngine:
    """Runs an engine the way its own process would, in the time of the event loop.

    A step is computed the moment it begins, with the engine's clock ahead of the loop's, and its outcome held back
    until the loop gets there. What arrives meanwhile is seen by the next step, as it is where the step loop is busy.
    """

    def __init__(
        self, engine: Engine, clock: SteppedClock, ready: Ready, *, max_queue: int, request_s: float = 0.0
    ) -> None:
        """Take an engine over.

        Args:
            engine: What runs.
            clock: The one that `engine` and its runner were made with.
            ready: What is said of it.
            max_queue: Requests that may wait.
            request_s: What a request, or its cancelling, takes to get to the engine.
        """
        self.ready = ready
        self._engine = engine
        self._clock = clock
        self._pending = PendingRequests(ready, max_queue=max_queue)
        self._request_s = request_s
        self._under_way: deque[Request | str] = deque()
        """Requests and ids of those that are cancelled, in the order in which they were sent."""
        self._commands: list[Request | str] = []
        """Those that have arrived, in order."""
        self._sinks: dict[str, OnOutput] = {}
        self._num_requests = 0
        self._wake: asyncio.Future[None] | None = None
        self._on_stats: OnStats | None = None
        self._observed_from_s = self._observed_every_s = 0.0
        self._num_observed = 0
        self._next_observed_s = math.inf

    @property
    def totals(self) -> EngineTotals:
        """The engine's totals, as of now."""
        self._clock.now_s = max(self._clock.now_s, asyncio.get_running_loop().time())
        return self._engine.totals_now()

    def submit(
        self,
        prompt_ids: list[int],
        sampling: SamplingParams,
        on_output: OnOutput,
        session: SessionUse | None = None,
    ) -> str:
        """Hand in a request and return its id. The engine owns `prompt_ids` from now on.

        `on_output` is called until an output has a finish reason.

        Raises:
            ContextLengthError: it does not fit the context.
            QueueFullError: too many requests are pending.
            SessionBusyError: another request of the session is pending.
        """
        self._pending.check(len(prompt_ids), sampling, session)
        self._num_requests += 1
        request_id = str(self._num_requests)
        self._sinks[request_id] = on_output
        self._pending.add(request_id, session)
        self._send(Request(request_id, prompt_ids, sampling, session=session))
        return request_id

    def cancel(self, request_id: str) -> None:
        """Stop a request. Nothing more comes out of it."""
        if self._sinks.pop(request_id, None) is not None:
            self._pending.remove(request_id)
            self._send(request_id)

    def _send(self, command: Request | str) -> None:
        self._under_way.append(command)
        if self._request_s:
            asyncio.get_running_loop().call_later(self._request_s, self._arrive)
        else:
            self._arrive()

    def _arrive(self) -> None:
        self._commands.append(self._under_way.popleft())
        self._wake_up()

    def observe(self, on_stats: OnStats, from_s: float, every_s: float) -> None:
        """Report the state at each of these times, once the loop gets there. No timer waits for them.

        A timer would be one more jump of the virtual clock, which would change sums of floats, and with them the run.
        """
        self._on_stats, self._observed_from_s, self._observed_every_s = on_stats, from_s, every_s
        self._num_observed, self._next_observed_s = 0, from_s

    def end_observation(self) -> None:
        """Report what is due up to now, and nothing after that."""
        self._tell_stats(asyncio.get_running_loop().time())
        self._next_observed_s = math.inf

    def _tell_stats(self, now_s: float) -> None:
        while self._next_observed_s <= now_s:
            assert self._on_stats is not None
            self._clock.now_s = max(self._clock.now_s, self._next_observed_s)
            self._on_stats(self._engine.stats(), self._next_observed_s)
            self._num_observed += 1
            self._next_observed_s = self._observed_from_s + self._num_observed * self._observed_every_s

    async def run(self) -> None:
        """Step until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._tell_stats(loop.time())  # the state since the last turn of this loop: commands wait for the next
            self._clock.now_s = max(self._clock.now_s, loop.time())
            self._take_commands()
            idle_s = self._engine.idle_s()
            if idle_s != 0.0:
                await self._wait_until(None if idle_s is None else loop.time() + idle_s)
                continue
            outputs = self._engine.step()
            if self._clock.now_s > loop.time():
                await asyncio.sleep(self._clock.now_s - loop.time())
            self._deliver(outputs)

    def _take_commands(self) -> None:
        for command in self._commands:
            if isinstance(command, Request):
                self._engine.submit(command)
            else:
                self._engine.cancel(command)
        self._commands.clear()

    def _deliver(self, outputs: list[TokenOutput]) -> None:
        now_s, sinks = self._clock.now_s, self._sinks
        for output in outputs:
            sink = sinks.get(output.request_id)
            if sink is not None:
                if output.finish_reason is not None:
                    del sinks[output.request_id]
                    self._pending.remove(output.request_id)
                sink(output, now_s)

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _wait_until(self, at_s: float | None) -> None:
        """Wait for a command, or until that time."""
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = None if at_s is None else loop.call_at(at_s, self._wake_up)
        try:
            await self._wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()


def build_virtual_engine(config: EngineConfig, *, on_step: OnStep | None = None) -> VirtualEngine:
    """An engine on a simulated device and a simulated host, for an event loop of virtual time.

    Raises:
        ConfigurationError: as `build_simulated_engine`.
    """
    clock, host = SteppedClock(), simulated_host(config)
    engine, ready = build_simulated_engine(config, clock, host, on_step=on_step)
    return VirtualEngine(engine, clock, ready, max_queue=config.max_queue, request_s=host.request_s)
