"""The step loop: what happens between two tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import RequestError
from .request import Batch, FinishReason, Request
from .runner import ModelRunner, StepResult, TokenLogprobs
from .scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """One more token of a request, or its end. `token_id` is None when a request ended without a token."""

    request_id: str
    token_id: int | None
    logprobs: TokenLogprobs | None = None
    finish_reason: FinishReason | None = None
    num_cached_tokens: int = 0


@dataclass(slots=True)
class EngineTotals:
    """Running totals over the engine's life."""

    num_steps: int = 0
    num_prefill_tokens: int = 0
    num_decode_tokens: int = 0
    step_s: float = 0.0
    """Duration of all steps, planning to commit."""
    runner_s: float = 0.0
    """Of that, inside the runner: the model, sampling and (on an accelerator) waiting for it."""


class Engine:
    """Requests in, tokens out, one step at a time.

    Every request that `submit` accepted ends with exactly one output that carries a finish reason. The engine has
    no thread and no queue of its own: whoever owns it calls `step` while `has_work`.
    """

    def __init__(self, scheduler: Scheduler, runner: ModelRunner, clock: Callable[[], float]) -> None:
        self.scheduler = scheduler
        self._runner = runner
        self._clock = clock
        self._requests: dict[str, Request] = {}
        self.totals = EngineTotals()

    @property
    def has_work(self) -> bool:
        """True while any accepted request has not ended."""
        return self.scheduler.has_work

    def submit(self, request: Request) -> None:
        """Accept a request; its tokens come out of later calls of `step`.

        Raises:
            RequestError: it can never be served, or its id is in use.
        """
        if request.request_id in self._requests:
            raise RequestError(f"the request id {request.request_id!r} is in use")
        request.arrival_s = self._clock()
        self.scheduler.submit(request)
        self._requests[request.request_id] = request

    def cancel(self, request_id: str) -> TokenOutput | None:
        """Stop a request and free its KV blocks at once. None if it has ended or never was."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return None
        self.scheduler.cancel(request)
        return TokenOutput(request_id, None, finish_reason=FinishReason.CANCELLED)

    def step(self) -> list[TokenOutput]:
        """Plan, launch, wait, commit: the device stands still while the host plans and commits.

            host    | plan T | launch T |        wait       | commit T | plan T+1 | ...
            device  |        idle       |######## T ########|        idle         | ...

        Returns:
            The step's tokens; nothing when no request could run (see `idle_s`).
        """
        started_s = self._clock()
        batch = self.scheduler.schedule(started_s)
        if batch is None:
            return []
        planned_s = self._clock()
        result = self._runner.launch(batch).collect()
        collected_s = self._clock()
        outputs = self._commit(batch, result)
        self.totals.runner_s += collected_s - planned_s
        self.totals.step_s += self._clock() - started_s
        return outputs

    def idle_s(self) -> float | None:
        """Seconds until `step` has something to do: 0 now, None not before a request arrives."""
        at_s = self.scheduler.next_step_at_s()
        return None if at_s is None else max(0.0, at_s - self._clock())

    def _commit(self, batch: Batch, result: StepResult) -> list[TokenOutput]:
        self.totals.num_steps += 1
        self.totals.num_prefill_tokens += batch.num_prefill_tokens
        self.totals.num_decode_tokens += batch.num_decode_tokens
        outputs = []
        for token in self.scheduler.commit(batch, result.token_ids):
            request = token.request
            if request.finish_reason is not None:
                del self._requests[request.request_id]
            outputs.append(
                TokenOutput(
                    request.request_id,
                    token.token_id,
                    result.logprobs[token.sample_index],
                    request.finish_reason,
                    request.num_cached_tokens,
                )
            )
        return outputs
