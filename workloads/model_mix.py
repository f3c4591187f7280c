"""Several models behind one server, such as LoRA adapters: which session talks to which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

from ..engine.errors import ConfigurationError
from .session import Session
from .traffic_classes import MOST_CLASSES, OTHER, mapped
from .workload import ALL, Stream, Supply, Workload

MOST_MODELS = 12
"""Each has a class of traffic for each class of the workload, and the presets have up to five."""
_MOST_NAME_CHARS = 512


@dataclass(frozen=True, slots=True)
class ModelMix:
    """Models with their weights. A session keeps its model, and its sub-agents have the same."""

    names: tuple[str, ...]
    weights: tuple[float, ...]

    @property
    def label(self) -> str:
        """As it would be typed."""
        return ",".join(f"{name}:{weight:g}" for name, weight in zip(self.names, self.weights, strict=True))

    @property
    def most_classes(self) -> int:
        """How many classes of a trace can be told apart if each model has its own."""
        return MOST_CLASSES // len(self.names)

    def applied(self, workload: Workload) -> Workload:
        """The same traffic to these models: `chat` to the model `a` is the class `chat@a`.

        The verdict is about all of it, since the workload's own class has become several.
        """
        streams = tuple(replace(stream, supply=self._supply(stream)) for stream in workload.streams)
        return replace(workload, streams=streams, verdict_class=ALL)

    def _supply(self, stream: Stream) -> Supply:
        def supply(seed: int, numbers: Iterable[int]) -> Iterator[Session]:
            for session in stream.supply(seed, numbers):
                (name,) = Random(f"{seed}/model/{session.session_id}").choices(self.names, self.weights)
                yield mapped(session, lambda one, name=name: _sent_to(one, name))  # type: ignore[misc]

        return supply


def _sent_to(session: Session, model: str) -> Session:
    traffic_class = session.traffic_class
    return replace(
        session, model=model, traffic_class=traffic_class if traffic_class == OTHER else f"{traffic_class}@{model}"
    )


def parse_models(text: str) -> ModelMix | None:
    """Models with commas between them, as in `a:3,b:1`; None for a single name, whatever is in it.

    A number behind the last colon is a weight, by default 1. Names may have colons of their own (`llama3:8b`).

    Raises:
        ConfigurationError: a name is empty or given twice, a weight is not above 0, or there are too many.
    """
    if "," not in text:
        return None
    parts = [_name_and_weight(part.strip()) for part in text.split(",")]
    names, weights = tuple(name for name, _ in parts), tuple(weight for _, weight in parts)
    if not all(0 < len(name) <= _MOST_NAME_CHARS for name in names):
        raise ConfigurationError(f"--model {text!r}: each part is NAME or NAME:WEIGHT, as in a:3,b:1")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"--model {text!r} names a model twice: give it once, with the sum of the weights")
    if len(names) > MOST_MODELS:
        raise ConfigurationError(f"--model takes {MOST_MODELS} models at most, not {len(names)}")
    if not all(0 < weight < math.inf for weight in weights):
        raise ConfigurationError(f"--model {text!r}: weights must be above 0")
    return ModelMix(names, weights)


def _name_and_weight(part: str) -> tuple[str, float]:
    name, colon, weight = part.rpartition(":")
    try:
        return (name, float(weight)) if colon else (part, 1.0)
    except ValueError:
        return part, 1.0
