"""The least time a decode step can take: what it must read, over the bandwidth."""

from __future__ import annotations

from abatch.engine.simulation.model_shape import ModelShape


def step_floor_s(
    shape: ModelShape, num_seqs: int, context: float, bytes_per_s: float, *, bytes_per_number: int = 2
) -> float:
    """`t >= (W + B * L * kv) / BW`: every weight once, and the keys and values of all sequences.

    Left out: the embedding's table, of which a step reads `B` rows, activations, and whatever is written.

    Args:
        shape: Of a dense model; of a mixture of experts this would be the floor at one sequence.
        num_seqs: B.
        context: L, tokens a sequence has on average.
        bytes_per_s: BW.
        bytes_per_number: Of weights, keys and values.
    """
    weights = shape.num_active_params * bytes_per_number
    return (weights + num_seqs * context * shape.kv_bytes_per_token(bytes_per_number)) / bytes_per_s
