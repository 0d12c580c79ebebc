"""Causal attention on feature-major activations: batched products over heads and sequences.

For the short sequences of proxy models the scores of a batch are small, and the products read and write
what torch's flash attention would first want permuted.
"""

from __future__ import annotations

import torch
from torch import Tensor


def causal_attention(q: Tensor, k: Tensor, v: Tensor, sequences: int, scale: float) -> Tensor:
    """As :func:`einsearch.kernels.attention.reference.causal_attention`."""
    heads, channels, tokens = q.shape
    length = tokens // sequences

    def by_sequence(x: Tensor) -> Tensor:
        held = x.view(heads, channels, sequences, length).transpose(1, 2)
        return held.reshape(heads * sequences, channels, length)

    q, k, v = by_sequence(q), by_sequence(k), by_sequence(v)
    mask = q.new_full((length, length), float("-inf")).triu(1)
    scores = torch.baddbmm(mask, q.transpose(1, 2), k, alpha=scale)
    y = torch.bmm(v, torch.softmax(scores, -1).transpose(1, 2))
    return y.view(heads, sequences, channels, length).transpose(1, 2).reshape(heads, channels, tokens)
