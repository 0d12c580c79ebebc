"""The proxy GPT-2: a small pre-norm transformer whose block linears come from a candidate.

Shapes: B sequences, T tokens, C channels, V vocabulary; N = B x T tokens in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.layers.choice import fastest
from einsearch.layers.implementations import Activations, require_implementation
from einsearch.layers.linear import EinsumLinear
from einsearch.proxy.activations import OPERATIONS, Operations, activations_on
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

    def forward(self, x: Tensor, sequences: int, operations: Operations) -> Tensor:
        """x: (N, C) or (C, N), as `operations` wants it; N tokens are `sequences` sequences one after the other."""
        x = torch.add(x, self.attention(x, sequences, operations), alpha=self.scale)
        return torch.add(x, self.ffn(x, operations), alpha=self.scale)

    def attention(self, x: Tensor, sequences: int, operations: Operations) -> Tensor:
        """The branch of attention, unscaled."""
        normal = operations.norm(self.norm_attention, x)
        y = operations.attention(
            operations.head_norm(self.norm_q, operations.linear(self.q, normal)),
            operations.head_norm(self.norm_k, operations.linear(self.k, normal)),
            operations.linear(self.v, normal),
            sequences=sequences,
            head_size=self.head_size,
            scale=ATTENTION_LOGIT_SCALE / self.head_size,
        )
        return operations.linear(self.o, y)

    def ffn(self, x: Tensor, operations: Operations) -> Tensor:
        """The branch of the MLP, unscaled."""
        hidden = F.gelu(operations.linear(self.up, operations.norm(self.norm_ffn, x)))
        return operations.linear(self.down, hidden)


class ProxyGPT2(nn.Module):
    """Learned positions, dense embedding and head; muP in width, the head starting at zero.

    tokens: (B, T) integers below V -> logits (B, T, V). T may not exceed the protocol's context.
    activations: how they lie between the layers; None is what suits the device.
    """

    def __init__(
        self,
        candidate: Candidate,
        protocol: Protocol,
        seed: int,
        implementation: str = "auto",
        activations: Activations | None = None,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.candidate = candidate
        self.protocol = protocol
        self.activations = activations
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
        operations = OPERATIONS[self.activations or activations_on(tokens_BT.device)]
        positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_NC = (self.token_embedding(tokens_BT) + self.position_embedding(positions_T)).flatten(0, 1)
        x = operations.of_rows(x_NC)
        for block in self.blocks:
            x = block(x, len(tokens_BT), operations)
        logits_NV = self.head(operations.to_rows(operations.norm(self.norm, x)))
        return logits_NV.unflatten(0, tokens_BT.shape)

    def loss(self, window_BT1: Tensor) -> Tensor:
        """Mean cross-entropy (nats a symbol) of windows of context + 1 symbols."""
        logits_BTV = self(window_BT1[:, :-1])
        return F.cross_entropy(logits_BTV.float().flatten(0, 1), window_BT1[:, 1:].flatten())

    def fastest_implementations(self, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        """The fastest implementation on a device of every linear layer of a block, measured where that is not known.

        Raises EinsearchError as :func:`einsearch.layers.choice.fastest`.
        """
        tokens, activations = self.protocol.tokens_per_step, self.activations or activations_on(device)
        return {
            name: fastest(layer.operator, tokens, activations=activations, device=device, dtype=dtype)
            for name, layer in self._linears(self.blocks[0])
        }

    def use_implementations(self, names: Mapping[str, str]) -> None:
        """Force the implementation of the linear layers of all blocks, by the layer's name in a block."""
        for block in self.blocks:
            for name, layer in self._linears(block):
                require_implementation(names[name])
                layer.implementation = names[name]

    @staticmethod
    def _linears(block: nn.Module) -> Iterator[tuple[str, EinsumLinear]]:
        yield from ((name, layer) for name, layer in block.named_modules() if isinstance(layer, EinsumLinear))

    def implementations_on(self, device: torch.device) -> tuple[str, ...]:
        """Names of the implementations that the linear layers of the blocks use on a device, sorted."""
        activations = self.activations or activations_on(device)
        layers = (module for module in self.modules() if isinstance(module, EinsumLinear))
        return tuple(sorted({layer.implementation_on(device, activations) for layer in layers}))

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
