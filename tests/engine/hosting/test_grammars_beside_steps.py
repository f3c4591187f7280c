"""Requests whose grammars are compiled beside the step loop."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Event
from types import SimpleNamespace
from typing import Any

from abatch.engine.errors import RequestError
from abatch.engine.hosting.engine_process import _StepLoop
from abatch.engine.loop.messages import Cancel, Refused, Submit
from abatch.engine.request import FinishReason, SamplingParams

_SUBMIT = Submit("one", [1, 2], SamplingParams(max_tokens=3, grammar="some"))


class SlowCompiler:
    """Compiles when it is told to."""

    def __init__(self, result: Any) -> None:
        self.may_end = Event()
        self._result = result

    def constraint(self, grammar: str) -> Any:
        assert grammar == "some"
        self.may_end.wait(60)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class Beside:
    """A step loop with an engine that only notes what is submitted, in the place of a process."""

    def __init__(self, result: Any) -> None:
        self.submitted: list[Any] = []
        self.sent: list[Any] = []
        self.commands: SimpleQueue[Any] = SimpleQueue()
        engine = SimpleNamespace(submit=self.submitted.append, cancel=lambda _: None)
        channel = SimpleNamespace(send=self.sent.append, commands=self.commands)
        self.loop = _StepLoop(engine, channel, vocab_size=9)  # type: ignore[arg-type]
        self.compiler = SlowCompiler(result)
        self.loop._compiler = self.compiler  # type: ignore[assignment]

    def finish(self) -> None:
        """Let it compile, and have the loop take the news."""
        self.compiler.may_end.set()
        assert self.loop._apply(self.commands.get(timeout=60)) is None


def test_a_request_waits_for_its_grammar() -> None:
    constraint = object()
    beside = Beside(constraint)
    beside.loop._apply(_SUBMIT)
    assert beside.submitted == []
    beside.finish()
    (request,) = beside.submitted
    assert request.constraint is constraint


def test_a_request_that_is_cancelled_meanwhile_never_runs() -> None:
    constraint = object()
    beside = Beside(constraint)
    beside.loop._apply(_SUBMIT)
    output = beside.loop._apply(Cancel("one"))
    assert output is not None
    assert output.finish_reason is FinishReason.CANCELLED
    beside.finish()
    assert beside.submitted == []


def test_a_grammar_that_does_not_compile_refuses_its_request() -> None:
    beside = Beside(RequestError("too large"))
    beside.loop._apply(_SUBMIT)
    beside.finish()
    assert beside.submitted == []
    assert [(refused.request_id, refused.message) for refused in beside.sent if isinstance(refused, Refused)] == [
        ("one", "too large")
    ]
