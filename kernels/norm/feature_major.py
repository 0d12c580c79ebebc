"""Layer normalization of feature-major activations, forward and backward.

Sums over the channels are products with a row of ones: torch reduces a slow axis several times slower than
BLAS multiplies it. With c the normalised input, w the weight, r one over the standard deviation and g the
gradient of the output,

    dx = r (w g - mean(w g) - c mean(w g c)),    dw = sum over tokens of g c,    means over the channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from einsearch.kernels.norm.reference import EPSILON


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """x: (groups, channels, tokens); weight: (channels,)."""
        groups, channels, _ = x.shape
        average = x.new_full((groups, 1, channels), 1 / channels)
        centred = x - torch.bmm(average, x)
        scale = torch.bmm(average, centred * centred).add_(EPSILON).rsqrt_()
        centred.mul_(scale)
        ctx.save_for_backward(centred, scale, weight)
        return centred * weight[:, None]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        centred, scale, weight = ctx.saved_tensors
        groups, channels, _ = centred.shape
        product = gradient * centred
        average = (weight / channels).expand(groups, 1, channels)
        dx = gradient * weight[:, None]
        dx -= torch.bmm(average, gradient)
        dx.addcmul_(centred, torch.bmm(average, product), value=-1).mul_(scale)
        return dx, product.sum(-1).sum(0)


def layer_norm(x: Tensor, weight: Tensor) -> Tensor:
    """As :func:`einsearch.kernels.norm.reference.layer_norm`, for x of shape (..., channels, tokens)."""
    normal = _LayerNorm.apply(x.reshape(-1, *x.shape[-2:]), weight)
    return normal.view_as(x)
