"""The two ways in which the activations of a model lie, and the operations that depend on it.

Row-major is torch's habit, (tokens, channels), and suits GPUs. Feature-major, (channels, tokens), lets the
products of a structured layer read and write long rows without any transposition, and suits CPUs.

Shapes: N = sequences x length tokens, sequence by sequence; C channels; H heads, K channels of a head.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.kernels.attention import feature_major as attention
from einsearch.kernels.norm import feature_major as norm
from einsearch.kernels.transpose.contiguous import transposed
from einsearch.layers.implementations import Activations
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.moe import EinsumMoE, ExpertFFN
from einsearch.layers.router import Router, Routing
from einsearch.space.candidate import Candidate


class Operations(Protocol):
    """What a block does to activations of one layout. `of_rows` and `to_rows` go from and to (N, C)."""

    activations: Activations

    def of_rows(self, x_NC: Tensor) -> Tensor: ...

    def to_rows(self, x: Tensor) -> Tensor: ...

    def linear(self, layer: EinsumLinear, x: Tensor) -> Tensor: ...

    def mixture(self, layer: EinsumMoE | ExpertFFN, x: Tensor, routing: Routing) -> Tensor: ...

    def route(self, router: Router, x: Tensor, tokens_N: Tensor) -> Routing: ...

    def norm(self, layer: nn.LayerNorm, x: Tensor) -> Tensor: ...

    def head_norm(self, layer: nn.LayerNorm, x: Tensor) -> Tensor:
        """Normalize every head's channels."""
        ...

    def attention(self, q: Tensor, k: Tensor, v: Tensor, *, sequences: int, head_size: int, scale: float) -> Tensor:
        """Causal attention; logits are `scale` times the products of queries and keys."""
        ...


class RowMajor:
    """Activations as (N, C)."""

    activations: Activations = "row-major"

    def of_rows(self, x_NC: Tensor) -> Tensor:
        return x_NC

    def to_rows(self, x: Tensor) -> Tensor:
        return x

    def linear(self, layer: EinsumLinear, x_NC: Tensor) -> Tensor:
        return layer(x_NC)

    def mixture(self, layer: EinsumMoE | ExpertFFN, x_NC: Tensor, routing: Routing) -> Tensor:
        return layer(x_NC, routing)

    def route(self, router: Router, x_NC: Tensor, tokens_N: Tensor) -> Routing:
        return router(x_NC, tokens_N)

    def norm(self, layer: nn.LayerNorm, x_NC: Tensor) -> Tensor:
        return layer(x_NC)

    def head_norm(self, layer: nn.LayerNorm, x_NC: Tensor) -> Tensor:
        return layer(x_NC.unflatten(1, (-1, *layer.normalized_shape))).flatten(1)

    def attention(
        self, q_NC: Tensor, k_NC: Tensor, v_NC: Tensor, *, sequences: int, head_size: int, scale: float
    ) -> Tensor:
        heads = sequences, q_NC.shape[0] // sequences, -1, head_size
        q_BHTK, k_BHTK, v_BHTK = (x_NC.view(heads).transpose(1, 2) for x_NC in (q_NC, k_NC, v_NC))
        y_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True, scale=scale)
        return y_BHTK.transpose(1, 2).reshape(q_NC.shape)


class FeatureMajor:
    """Activations as (C, N)."""

    activations: Activations = "feature-major"

    def of_rows(self, x_NC: Tensor) -> Tensor:
        return transposed(x_NC)

    def to_rows(self, x_CN: Tensor) -> Tensor:
        return x_CN.t()

    def linear(self, layer: EinsumLinear, x_CN: Tensor) -> Tensor:
        return layer.feature_major(x_CN)

    def mixture(self, layer: EinsumMoE | ExpertFFN, x_CN: Tensor, routing: Routing) -> Tensor:
        return layer.feature_major(x_CN, routing)

    def route(self, router: Router, x_CN: Tensor, tokens_N: Tensor) -> Routing:
        return router.feature_major(x_CN, tokens_N)

    def norm(self, layer: nn.LayerNorm, x_CN: Tensor) -> Tensor:
        return norm.layer_norm(x_CN, layer.weight)

    def head_norm(self, layer: nn.LayerNorm, x_CN: Tensor) -> Tensor:
        return norm.layer_norm(x_CN.unflatten(0, (-1, *layer.normalized_shape)), layer.weight).flatten(0, 1)

    def attention(
        self, q_CN: Tensor, k_CN: Tensor, v_CN: Tensor, *, sequences: int, head_size: int, scale: float
    ) -> Tensor:
        q_HKN, k_HKN, v_HKN = (x_CN.unflatten(0, (-1, head_size)) for x_CN in (q_CN, k_CN, v_CN))
        return attention.causal_attention(q_HKN, k_HKN, v_HKN, sequences, scale).flatten(0, 1)


OPERATIONS: dict[Activations, Operations] = {"row-major": RowMajor(), "feature-major": FeatureMajor()}


FEATURE_MAJOR_FROM = 128
"""Width from which structured layers gain more by feature-major activations on a CPU than norms and attention lose
(one thread, 2,048 tokens: docs/speed.md)."""


def activations_for(candidate: Candidate, device: torch.device) -> Activations:
    """The layout that suits a model on a device; a rule, not a measurement, so that it never changes."""
    # Experts gather tokens, which are whole rows of memory only in row-major activations.
    structured = candidate.mixture is None and any(einsum.factors > 1 for einsum in candidate.einsums)
    wide = candidate.shape.width >= FEATURE_MAJOR_FROM
    return "feature-major" if device.type == "cpu" and structured and wide else "row-major"
