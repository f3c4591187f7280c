"""Attention blocks: one product for queries, keys and values, and what comes before attention as part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...attention.base import AttentionSettings, PackedHeads, Rotation, StepAttention
from .agreement import TROUBLE, agree, random_rows
from .calls import Attended, Call, ListeningStep
from .kernels import LayerKernels, PackedWeight
from .norms import RmsNorm, rewritten_norm
from .replacing import LeftError, joined_bias, linears_of, replace_forward

_INPUTS = (("q_proj", "k_proj", "v_proj"), ("qkv_proj",))
_OUTPUT = "o_proj"
_NORMS = ("q_norm", "k_norm")


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """In place of the forward of a module."""

    layer: int
    qkv: PackedWeight
    output: PackedWeight
    heads: PackedHeads
    settings: AttentionSettings

    def attended(
        self, rows: torch.Tensor, position_embeddings: tuple[torch.Tensor, torch.Tensor], step: StepAttention
    ) -> torch.Tensor:
        """What goes into the last product: `[T, size]` to `[T, query heads * head size]`."""
        cos, sin = position_embeddings
        return step.attend_packed(
            self.layer, self.qkv.product(rows), self.heads, Rotation(cos[0], sin[0]), self.settings
        )

    def __call__(
        self,
        hidden_states: torch.Tensor,
        *,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        step_attention: StepAttention,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        rows = hidden_states.reshape(-1, hidden_states.shape[-1])
        attended = self.attended(rows, position_embeddings, step_attention)
        return self.output.product(attended).view(hidden_states.shape), None


def inputs_of_attention(module: nn.Module) -> tuple[str, ...] | None:
    """The names of the linear layers that attention begins with; None if `module` is no such thing."""
    children = {name for name, _ in module.named_children()}
    return next((names for names in _INPUTS if {*names, _OUTPUT} <= children), None)


def rewrite_attention(module: nn.Module, call: Call | None, kernels: LayerKernels) -> None:
    """Have attention compute its queries, keys and values in one product, without a second copy of its weights.

    How it attends is learned from the original: it is run with a step that listens.

    Raises:
        LeftError: it computes something else, and is as it was.
    """
    names = inputs_of_attention(module)
    assert names is not None
    linears = linears_of(module, (*names, _OUTPUT))
    others = {name for name, child in module.named_children() if any(True for _ in child.parameters())}
    if more := others - {*names, _OUTPUT, *_NORMS}:
        raise LeftError(f"its attention has more weights ({', '.join(sorted(more))})")
    if call is None:
        raise LeftError("its attention is not called as those of transformers are")
    rows = random_rows(call.shape, linears[_OUTPUT].weight)
    try:
        theirs = ListeningStep()
        expected = call.repeat(module, rows, theirs)
        heads = _heads(module, [linears[name] for name in names], theirs.heard, kernels)
        block = AttentionBlock(
            theirs.heard[0].layer,
            kernels.pack([linears[name].weight for name in names], joined_bias([linears[name] for name in names])),
            kernels.pack([linears[_OUTPUT].weight], linears[_OUTPUT].bias),
            heads,
            theirs.heard[0].settings,
        )
        ours = ListeningStep()
        output = call.repeat(block, rows, ours)
        is_same = len(expected) == 2 and agree(output[0], expected[0]) and _agree(ours.heard[0], theirs.heard[0])
    except TROUBLE as error:
        raise LeftError(f"its attention cannot be computed so ({type(error).__name__})") from error
    if not is_same:
        raise LeftError("its attention computes queries, keys or values in another way")
    replace_forward(module, block, [*linears, *(name for name in _NORMS if hasattr(module, name))])


def _agree(ours: Attended, theirs: Attended) -> bool:
    return all(agree(getattr(ours, name), getattr(theirs, name)) for name in ("query", "key", "value"))


def _heads(module: nn.Module, inputs: list[nn.Linear], heard: list[Attended], kernels: LayerKernels) -> PackedHeads:
    """How a packed row is laid out, from what the original attended with.

    Raises:
        LeftError: rows are laid out in another way, or normed by more than their head.
    """
    if len(heard) != 1:
        raise LeftError(f"it attends {len(heard)} times")
    _, num_heads, head_size = heard[0].query.shape
    num_kv_heads = heard[0].key.shape[1]
    if sum(linear.out_features for linear in inputs) != (num_heads + 2 * num_kv_heads) * head_size:
        raise LeftError("its projections are more than queries, keys and values")
    norms = [_head_norm(module, name, head_size, kernels) for name in _NORMS]
    epsilons = {norm.epsilon for norm in norms if norm is not None}
    if len(epsilons) > 1:
        raise LeftError("the norms of its queries and keys differ")
    query_norm, key_norm = (None if norm is None else norm.weight for norm in norms)
    return PackedHeads(
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_size=head_size,
        query_norm=query_norm,
        key_norm=key_norm,
        epsilon=next(iter(epsilons), 0.0),
    )


def _head_norm(module: nn.Module, name: str, head_size: int, kernels: LayerKernels) -> RmsNorm | None:
    child = getattr(module, name, None)
    if child is None:
        return None
    norm = rewritten_norm(child, kernels)
    if norm is None:
        raise LeftError(f"its {name} is no RMS norm")
    if norm.weight.shape != (head_size,):
        raise LeftError(f"its {name} spans all heads")
    if norm.weight.dtype != module.get_parameter(f"{name}.weight").dtype:
        raise LeftError(f"its {name} is more exact than its dtype")
    return norm
