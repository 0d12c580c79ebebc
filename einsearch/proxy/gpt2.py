"""The proxy GPT-2: a small pre-norm transformer whose block linears come from a candidate.

Shapes: B sequences, T tokens, C channels, V vocabulary; N = B x T tokens in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.layers.choice import fastest
from einsearch.layers.implementations import Activations, require_implementation
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.moe import EinsumMoE, ExpertFFN
from einsearch.layers.parametrize import Fans
from einsearch.layers.router import Router, Routing
from einsearch.proxy.activations import OPERATIONS, activations_for
from einsearch.proxy.block import Batch, Block
from einsearch.proxy.protocol import Protocol
from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate

Routings = list[tuple[Router, Routing]]
"""Of one forward pass: every router that was asked, with its answer."""


class Losses(NamedTuple):
    """loss: () mean cross-entropy in nats a symbol. objective: () what training descends on."""

    loss: Tensor
    objective: Tensor
    routings: Routings


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
        return self._run(tokens_BT)[0]

    def _run(self, tokens_BT: Tensor) -> tuple[Tensor, Routings]:
        operations = OPERATIONS[self.activations_on(tokens_BT.device)]
        batch = Batch(operations=operations, sequences=len(tokens_BT), tokens=tokens_BT.flatten())
        positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_NC = (self.token_embedding(tokens_BT) + self.position_embedding(positions_T)).flatten(0, 1)
        x = operations.of_rows(x_NC)
        for block in self.blocks:
            x = block(x, batch)
        logits_NV = self.head(operations.to_rows(operations.norm(self.norm, x)))
        return logits_NV.unflatten(0, tokens_BT.shape), batch.routings

    def loss(self, window_BT1: Tensor) -> Tensor:
        """Mean cross-entropy (nats a symbol) of windows of context + 1 symbols."""
        return self.training_losses(window_BT1).loss

    def training_losses(self, window_BT1: Tensor) -> Losses:
        """The loss of windows of context + 1 symbols, and what to descend on: with the routers' balance."""
        logits_BTV, routings = self._run(window_BT1[:, :-1])
        loss = F.cross_entropy(logits_BTV.float().flatten(0, 1), window_BT1[:, 1:].flatten())
        if not routings:
            return Losses(loss, loss, [])
        balance = torch.stack([routing.aux_loss for _, routing in routings]).mean()
        return Losses(loss, loss + self.protocol.balance_weight * balance, routings)

    @staticmethod
    def after_step(routings: Routings) -> None:
        """Let the routers move on, after an optimizer step on losses with these routings."""
        for router, routing in routings:
            router.after_step(routing.counts)

    def activations_on(self, device: torch.device) -> Activations:
        """How activations lie between the layers on a device."""
        return self.activations or activations_for(self.candidate, device)

    def fastest_implementations(self, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        """The fastest implementation on a device of every linear layer of a block, measured where that is not known.

        Raises EinsearchError as :func:`einsearch.layers.choice.fastest`.
        """
        tokens, activations = self.protocol.tokens_per_step, self.activations_on(device)
        return {
            name: fastest(layer.operator, tokens, activations=activations, device=device, dtype=dtype)
            for name, layer in linears_of(self.blocks[0])
        }

    def use_implementations(self, names: Mapping[str, str]) -> None:
        """Force the implementation of the linear layers of all blocks, by the layer's name in a block."""
        for block in self.blocks:
            for name, layer in linears_of(block):
                require_implementation(names[name])
                layer.implementation = names[name]

    def implementations_on(self, device: torch.device) -> tuple[str, ...]:
        """Names of the implementations that the linear layers of the blocks use on a device, sorted."""
        activations = self.activations_on(device)
        found = set()
        for module in self.modules():
            if isinstance(module, EinsumLinear):
                found.add(module.implementation_on(device, activations))
            elif isinstance(module, EinsumMoE | ExpertFFN):
                found.add(f"{module.implementation_on(device)} experts")
        return tuple(sorted(found))

    def base_fans(self, name: str) -> Fans | None:
        """Fans of a layer or parameter in the dense model of the protocol's base width, None where they are these.

        That is the `base` of :func:`einsearch.layers.parametrize.learning_rate_multipliers`.
        """
        base, hidden = self.protocol.base_width, self.protocol.base_width * self.protocol.base_ffn_expansion
        own = name.removesuffix(".weight").rpartition(".")[2]
        if own in ("norm_q", "norm_k"):
            return None
        if own in (of := {"head": (base, VOCABULARY_SIZE), "up": (base, hidden), "down": (hidden, base)}):
            return Fans(*of[own])
        # Embeddings and norms; else q, k, v, o and routers.
        return Fans(1, base) if name.endswith(".weight") else Fans(base, base)


def linears_of(block: nn.Module) -> Iterator[tuple[str, EinsumLinear]]:
    """The linear layers of a block that are no mixtures, with their names in it."""
    yield from ((name, layer) for name, layer in block.named_modules() if isinstance(layer, EinsumLinear))
