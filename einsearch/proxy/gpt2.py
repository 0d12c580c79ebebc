"""The proxy GPT-2: a small pre-norm transformer whose block linears come from a candidate.

Shapes: B sequences, T tokens, C channels, H heads, K channels of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.layers.linear import EinsumLinear
from einsearch.proxy.protocol import Protocol
from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate

ATTENTION_LOGIT_SCALE = 8.0
"""Logits of normalised queries and keys are multiplied by this over the head size (muP's 1/d)."""


class Block(nn.Module):
    """Attention and MLP, each normalised before and scaled into the residual stream."""

    q: EinsumLinear
    k: EinsumLinear
    v: EinsumLinear
    o: EinsumLinear
    up: EinsumLinear
    down: EinsumLinear

    def __init__(
        self, candidate: Candidate, protocol: Protocol, implementation: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        shape = candidate.shape
        self.head_size = shape.head_size
        self.scale = protocol.residual_scale(shape.depth)
        einsums = candidate.by_layer
        for name, (_, d_in, d_out) in shape.sites.items():
            layer = EinsumLinear(
                d_in,
                d_out,
                einsums[name],
                bias=False,
                gain=name not in ("q", "k"),
                zero=name in ("o", "down"),
                implementation=implementation,
                generator=generator,
            )
            self.add_module(name, layer)
        self.norm_attention = nn.LayerNorm(shape.width, bias=False)
        self.norm_q = nn.LayerNorm(shape.head_size, bias=False)
        self.norm_k = nn.LayerNorm(shape.head_size, bias=False)
        self.norm_ffn = nn.LayerNorm(shape.width, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BTC = x_BTC + self.scale * self.attention(self.norm_attention(x_BTC))
        hidden = F.gelu(self.up(self.norm_ffn(x_BTC)))
        return x_BTC + self.scale * self.down(hidden)

    def attention(self, x_BTC: Tensor) -> Tensor:
        heads = (*x_BTC.shape[:2], -1, self.head_size)
        q_BHTK = self.norm_q(self.q(x_BTC).view(heads)).transpose(1, 2)
        k_BHTK = self.norm_k(self.k(x_BTC).view(heads)).transpose(1, 2)
        v_BHTK = self.v(x_BTC).view(heads).transpose(1, 2)
        scale = ATTENTION_LOGIT_SCALE / self.head_size
        y_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True, scale=scale)
        return self.o(y_BHTK.transpose(1, 2).reshape(x_BTC.shape))


class ProxyGPT2(nn.Module):
    """Learned positions, dense embedding and head; muP in width, the head starting at zero.

    tokens: (B, T) integers below V -> logits (B, T, V). T may not exceed the protocol's context.
    """

    def __init__(self, candidate: Candidate, protocol: Protocol, seed: int, implementation: str = "auto") -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.candidate = candidate
        self.protocol = protocol
        width = candidate.shape.width
        self.token_embedding = nn.Embedding(VOCABULARY_SIZE, width)
        self.position_embedding = nn.Embedding(protocol.context, width)
        for table in (self.token_embedding, self.position_embedding):
            nn.init.normal_(table.weight, std=protocol.embedding_std, generator=generator)
        self.blocks = nn.ModuleList(
            Block(candidate, protocol, implementation, generator) for _ in range(candidate.shape.depth)
        )
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, VOCABULARY_SIZE, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTC = self.token_embedding(tokens_BT) + self.position_embedding(positions_T)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return self.head(self.norm(x_BTC))

    def loss(self, window_BT1: Tensor) -> Tensor:
        """Mean cross-entropy (nats a symbol) of windows of context + 1 symbols."""
        logits_BTV = self(window_BT1[:, :-1])
        return F.cross_entropy(logits_BTV.float().flatten(0, 1), window_BT1[:, 1:].flatten())

    def implementations_on(self, device: torch.device) -> tuple[str, ...]:
        """Names of the implementations that the linear layers of the blocks use on a device, sorted."""
        layers = (module for module in self.modules() if isinstance(module, EinsumLinear))
        return tuple(sorted({layer.implementation_on(device) for layer in layers}))

    def learning_rate_multipliers(self) -> Iterator[tuple[str, nn.Parameter, float]]:
        """(name, parameter, Adam multiplier) of every parameter, by muP and the layers' own rules."""
        base, width = self.protocol.base_width, self.candidate.shape.width
        multiplier = {"head.weight": base / width}
        for block, module in enumerate(self.blocks):
            for name in self.candidate.shape.sites:
                layer = module.get_submodule(name)
                assert isinstance(layer, EinsumLinear)
                expansion = self.protocol.base_ffn_expansion if name == "down" else 1
                own = layer.learning_rate_multipliers(base * expansion)
                multiplier |= {f"blocks.{block}.{name}.{key}": value for key, value in own.items()}
        for name, parameter in self.named_parameters():
            yield name, parameter, multiplier.get(name, 1.0)
