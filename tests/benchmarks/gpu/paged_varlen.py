"""torch's own FlashAttention-2 as the attention of transformers' continuous batching.

Without the package flash-attn, transformers falls back to SDPA under a dense mask, which nobody would choose. torch
brings the same kernels for sequences packed in a row; this hands them what transformers has for flash-attn.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# Names without "flash", or transformers would look for that package. No mask function is registered with them, so no
# mask is built.
_WITH_PREFIX, _WITHOUT_PREFIX = "paged|varlen", "varlen"


def use(model: Any) -> None:
    """Let a model attend so in continuous batching.

    transformers 5.17 takes any name that begins with `paged|`. 5.23 dropped the prefix and takes only names it knows:
    its check is left out then.
    """
    from transformers.generation.continuous_batching import ContinuousBatchingManager

    name = _WITHOUT_PREFIX if _is_renamed() else _WITH_PREFIX
    ALL_ATTENTION_FUNCTIONS.register(name, _forward)
    if _is_renamed():
        setattr(ContinuousBatchingManager, "switch_to_cb_friendly_attn", lambda *_, **__: None)  # noqa: B010
    model.set_attn_implementation(name)


def _is_renamed() -> bool:
    """Whether this is a transformers whose paged cache updates what the attention is called with (after 5.17)."""
    from transformers.generation.continuous_batching import PagedAttentionCache

    return "kwargs" in inspect.signature(PagedAttentionCache.update).parameters


def _forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cache: Any,
    scaling: float | None = None,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    """Tensors are `[1, heads, T, head size]`, the tokens of all sequences in a row."""
    if _is_renamed():
        key, value = cache.update(key, value, module.layer_idx, arguments)
        key, value = key[0].transpose(0, 1), value[0].transpose(0, 1)
        most_query, most_keys = arguments["max_length_q"], arguments["max_length_k"]
    else:
        key, value = cache.update(
            key_states=key,
            value_states=value,
            layer_idx=module.layer_idx,
            read_index=arguments["read_index"],
            write_index=arguments["write_index"],
        )
        most_query, most_keys = arguments["max_seqlen_q"], arguments["max_seqlen_k"]
    output = _attend(
        query[0].transpose(0, 1).contiguous(),
        key.contiguous(),
        value.contiguous(),
        arguments["cu_seq_lens_q"].to(torch.int32),
        arguments["cu_seq_lens_k"].to(torch.int32),
        most_query,
        most_keys,
        scaling if scaling is not None else query.shape[-1] ** -0.5,
    )
    return output.unsqueeze(0), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_ends: torch.Tensor,
    key_ends: torch.Tensor,
    most_query: int,
    most_keys: int,
    scaling: float,
) -> torch.Tensor:
    """Causal attention, each sequence's queries being its last positions. `[T, heads, head size]`."""
    if not query.is_cuda:
        return _attend_one_by_one(query, key, value, query_ends.tolist(), key_ends.tolist(), scaling)
    from torch.nn.attention.varlen import varlen_attn

    # torch 2.11's takes fewer KV heads without being told; later ones want to be told.
    options: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
    output = varlen_attn(
        query,
        key,
        value,
        query_ends,
        key_ends,
        most_query,
        most_keys,
        scale=scaling,
        window_size=(-1, 0),
        **options,
    )
    assert isinstance(output, torch.Tensor)  # a pair only where more is asked for
    return output


def _attend_one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_ends: list[int],
    key_ends: list[int],
    scaling: float,
) -> torch.Tensor:
    """The same on a CPU, for which torch has no such kernel."""
    output = torch.zeros_like(query)
    for index in range(len(query_ends) - 1):
        rows = slice(query_ends[index], query_ends[index + 1])
        keys = slice(key_ends[index], key_ends[index + 1])
        num_rows, num_keys = rows.stop - rows.start, keys.stop - keys.start
        if not num_rows:
            continue
        mask = torch.ones(num_rows, num_keys, dtype=torch.bool).tril(num_keys - num_rows)
        attended = scaled_dot_product_attention(
            query[rows].transpose(0, 1).unsqueeze(0),
            key[keys].transpose(0, 1).unsqueeze(0),
            value[keys].transpose(0, 1).unsqueeze(0),
            attn_mask=mask,
            scale=scaling,
            enable_gqa=True,
        )
        output[rows] = attended[0].transpose(0, 1)
    return output
