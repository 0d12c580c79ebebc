"""A block of the proxy GPT-2: attention and MLP, whose linear layers, or mixtures of them, come from a candidate."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.layers.linear import EinsumLinear
from einsearch.layers.moe import EinsumMoE, ExpertFFN
from einsearch.layers.router import Router, Routing
from einsearch.proxy.activations import Operations
from einsearch.proxy.protocol import Protocol
from einsearch.space.candidate import Candidate

ATTENTION_LOGIT_SCALE = 8.0
"""Logits of normalised queries and keys are multiplied by this over the head size (muP's 1/d)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the blocks of one forward pass share.

    tokens: (N,) ids, sequence by sequence. routings: of every router that was asked, in order.
    """

    operations: Operations
    sequences: int
    tokens: Tensor
    routings: list[tuple[Router, Routing]] = field(default_factory=list)


class Block(nn.Module):
    """Attention and MLP, each normalised before and scaled into the residual stream.

    The linear layers are q k v o up down; where experts are whole FFNs, `experts` stands for up and down. Routers
    are named after the layer that they serve, or `qkv`, or `ffn`.
    """

    def __init__(
        self, candidate: Candidate, protocol: Protocol, implementation: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        shape, mixture = candidate.shape, candidate.mixture
        self.head_size = shape.head_size
        self.scale = protocol.residual_scale(shape.depth)
        einsums, per_ffn = candidate.by_layer, mixture is not None and mixture.per == "ffn"
        for name, (_, d_in, d_out) in shape.sites.items():
            if per_ffn and name in ("up", "down"):
                continue
            kind, experts = EinsumLinear, {}
            if (own := candidate.mixture_of(name)) is not None:
                kind, experts = EinsumMoE, {"experts": own.experts}  # type: ignore[assignment]
            layer = kind(
                d_in,
                d_out,
                einsums[name],
                bias=False,
                normalize=protocol.weight_normalization,
                gain=name not in ("q", "k"),
                zero=name in ("o", "down"),
                implementation=implementation,
                generator=generator,
                **experts,  # type: ignore[arg-type]
            )
            self.add_module(name, layer)
        if mixture is not None and per_ffn:
            self.experts = ExpertFFN(
                shape.width,
                shape.width * shape.ffn_expansion,
                einsums["up"],
                einsums["down"],
                mixture.experts,
                normalize=protocol.weight_normalization,
                zero=True,
                implementation=implementation,
                generator=generator,
            )
        self.routers = nn.ModuleDict()
        for router, layers in (mixture.routers if mixture is not None else {}).items():
            seed = int(torch.randint(2**31, (), generator=generator))
            assert mixture is not None
            self.routers[router] = Router.of(mixture, shape.sites[layers[0]][1], seed)
        self.norm_attention = nn.LayerNorm(shape.width, bias=False)
        self.norm_q = nn.LayerNorm(shape.head_size, bias=False)
        self.norm_k = nn.LayerNorm(shape.head_size, bias=False)
        self.norm_ffn = nn.LayerNorm(shape.width, bias=False)

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """x: (N, C) or (C, N), as the batch's operations want it."""
        # Not torch.add(..., alpha=): fused with a product by torch's compiler (2.13) it loses its alpha.
        x = x + self.scale * self.attention(x, batch)
        return x + self.scale * self.ffn(x, batch)

    def attention(self, x: Tensor, batch: Batch) -> Tensor:
        """The branch of attention, unscaled."""
        operations = batch.operations
        normal = operations.norm(self.norm_attention, x)
        shared = self._routing("qkv", normal, batch) if "qkv" in self.routers else None
        q, k, v = (self._linear(name, normal, batch, shared) for name in "qkv")
        y = operations.attention(
            operations.head_norm(self.norm_q, q),
            operations.head_norm(self.norm_k, k),
            v,
            sequences=batch.sequences,
            head_size=self.head_size,
            scale=ATTENTION_LOGIT_SCALE / self.head_size,
        )
        return self._linear("o", y, batch)

    def ffn(self, x: Tensor, batch: Batch) -> Tensor:
        """The branch of the MLP, unscaled."""
        normal = batch.operations.norm(self.norm_ffn, x)
        if "ffn" in self.routers:
            return batch.operations.mixture(self.experts, normal, self._routing("ffn", normal, batch))
        return self._linear("down", F.gelu(self._linear("up", normal, batch)), batch)

    def _linear(self, name: str, x: Tensor, batch: Batch, routing: Routing | None = None) -> Tensor:
        layer = self.get_submodule(name)
        if isinstance(layer, EinsumLinear):
            return batch.operations.linear(layer, x)
        assert isinstance(layer, EinsumMoE)
        return batch.operations.mixture(layer, x, routing or self._routing(name, x, batch))

    def _routing(self, name: str, x: Tensor, batch: Batch) -> Routing:
        router = self.routers[name]
        assert isinstance(router, Router)
        routing = batch.operations.route(router, x, batch.tokens)
        batch.routings.append((router, routing))
        return routing
