"""What the parts of a model are called with, to call them and what replaces them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ...attention.base import AttentionSettings
from ...attention.unpacking import UnpackingStep

_NUM_ROWS = 5
_LONGEST_UNKNOWN = 4096
_ROWS = "hidden_states"


@dataclass(frozen=True, slots=True)
class Attended:
    """What attention was asked for: see `StepAttention.attend`."""

    layer: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    settings: AttentionSettings


@dataclass(slots=True)
class ListeningStep(UnpackingStep):
    """Stands in for attention, and keeps what it is asked for. Every input shows in what it returns."""

    heard: list[Attended] = field(default_factory=list)

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend`."""
        self.heard.append(Attended(layer, query, key, value, settings))
        group_size = query.shape[1] // key.shape[1]
        return query + (key + value).repeat_interleave(group_size, dim=1)


@dataclass(frozen=True, slots=True)
class Call:
    """How a module is called, whatever its rows are and however a step attends.

    Attributes:
        shape: Of the rows, `[1, T, size]`.
    """

    shape: torch.Size
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def repeat(self, function: Callable[..., Any], rows: torch.Tensor, step: ListeningStep) -> Any:
        """Call `function` the same way."""
        options = self.options | {"step_attention": step}
        if _ROWS in options:
            return function(*self.arguments, **(options | {_ROWS: rows}))
        return function(rows, *self.arguments[1:], **options)


def calls_of(model: PreTrainedModel, modules: Iterable[nn.Module], device: torch.device) -> dict[nn.Module, Call]:
    """Run a few tokens at positions all over the model's range, and note how `modules` are called.

    Those that are called otherwise than layers of transformers are, are left out.
    """
    found: dict[nn.Module, Call] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        rows = options.get(_ROWS, arguments[0] if arguments else None)
        if isinstance(rows, torch.Tensor) and rows.dim() == 3:
            found[module] = Call(rows.shape, arguments, options)

    handles = [module.register_forward_pre_hook(note, with_kwargs=True) for module in modules]
    longest = getattr(model.config, "max_position_embeddings", None) or _LONGEST_UNKNOWN
    positions = torch.linspace(0, longest - 1, _NUM_ROWS).long().unsqueeze(0).to(device)
    try:
        model(
            input_ids=torch.zeros_like(positions),
            position_ids=positions,
            use_cache=False,
            step_attention=ListeningStep(),
        )
    finally:
        for handle in handles:
            handle.remove()
    return found
