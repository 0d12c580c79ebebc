"""Causal attention by torch's own function."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def causal_attention(q: Tensor, k: Tensor, v: Tensor, sequences: int, scale: float) -> Tensor:
    """Feature-major attention: q, k, v: (heads, channels of a head, sequences * length) -> the same shape."""

    def sequence_major(x: Tensor) -> Tensor:
        return x.unflatten(-1, (sequences, -1)).permute(2, 0, 3, 1)  # sequences, heads, length, channels

    q, k, v = sequence_major(q), sequence_major(k), sequence_major(v)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    return y.permute(1, 3, 0, 2).flatten(-2)
