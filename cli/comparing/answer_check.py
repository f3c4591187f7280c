"""Asks every target of a comparison the same greedy prompts, apart from what is measured."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

from ...engine.errors import AbatchError, ConfigurationError
from ...engine.hosting.precise_loop import new_precise_loop
from ...engine.protocol.conversation import ChatMessage
from ...reports.comparison.answer_agreement import AnswerAgreement, Answers, agreement
from ...workloads.targets.http_target import HttpTarget
from ...workloads.targets.prompts import words
from ...workloads.targets.target import Call, Reply, Target
from ..measuring.observer import Observer
from ..measuring.targets import Opened, RemoteServer, Source

_WORDS = (16, 64, 256, 1024)
"""Sizes of the prompts."""
_OF_EACH_SIZE = 4
_TIMES = 2
"""How often each is asked: whether a server repeats itself is to be known."""
_MAX_TOKENS = 64


def check_answers(sources: Mapping[str, Source], observer: Observer) -> dict[str, AnswerAgreement]:
    """How the answers of each target but the first compare with the first's.

    A target that cannot be asked is left out: why not is said when it is to be measured.

    Raises:
        ConfigurationError: one of them is a simulated device.
    """
    answers: dict[str, Answers] = {}
    for name, source in sources.items():
        observer.say(f"checking the answers of {name}")
        try:
            with asyncio.Runner(loop_factory=new_precise_loop) as runner:
                answers[name] = runner.run(_answers(source, name, observer))
        except ConfigurationError:
            raise
        except AbatchError as error:
            observer.say(f"the answers of {name} cannot be checked: {error}")
    first, *others = sources
    if first not in answers:
        return {}
    return {name: agreement(answers[first], answers[name]) for name in others if name in answers}


def prompts() -> list[str]:
    """The same each time: a question about words of noise."""
    return [
        f"Here are some words: {words(Random(f'answers/{size}/{number}'), size)}. Write a short story with them."
        for size in _WORDS
        for number in range(_OF_EACH_SIZE)
    ]


async def _answers(source: Source, name: str, observer: Observer) -> Answers:
    with tempfile.TemporaryDirectory() as folder:
        async with _opened(source, Path(folder), observer) as opened:
            if opened.is_simulated:
                raise ConfigurationError(f"--check-answers: {name} is a simulated device, whose answers have no text")
            if isinstance(opened.target, HttpTarget):
                await opened.target.settle(_call("Hello"))
            rounds = [[await _answer(opened.target, prompt) for prompt in prompts()] for _ in range(_TIMES)]
    return list(zip(*rounds, strict=True))


def _opened(source: Source, folder: Path, observer: Observer) -> AbstractAsyncContextManager[Opened]:
    return source.open(observer.say) if isinstance(source, RemoteServer) else source.open(folder)


async def _answer(target: Target, prompt: str) -> str | None:
    """What it says, one prompt at a time, as long as the model wants within a limit; None if it fails."""
    reply = Reply()
    await target.send(_call(prompt), reply)
    return "".join([*reply.reasoning, *reply.text]) if reply.error in (None, "empty") else None


def _call(prompt: str) -> Call:
    return Call(
        [ChatMessage(role="user", content=prompt)],
        _MAX_TOKENS,
        "answers",
        ends_session=True,
        ignore_eos=False,
        seed=0,
    )
