"""Layer normalization over the second last axis, the obvious way."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5


def layer_norm(x: Tensor, weight: Tensor) -> Tensor:
    """x: (..., channels, tokens), weight: (channels,) -> normalised over the channels, times the weight."""
    return F.layer_norm(x.transpose(-1, -2), weight.shape, weight, eps=EPSILON).transpose(-1, -2)
