"""Training FLOPs of a candidate, from the reference plans. One MAC is 2 FLOPs; a step is 3 forwards.

Why not 6 N: a layer with omega > 0 uses each weight several times for one token, so parameters say
nothing about its compute. Counted are the matrix products: the linear layers of the blocks, attention
scores and their sums over values (causal attention as the full square), and the LM head.
"""

from __future__ import annotations

from dataclasses import dataclass

from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardMacs:
    """MACs of one forward pass for one token, by part."""

    attention_layers: int
    ffn_layers: int
    attention_scores: int
    head: int

    @property
    def blocks(self) -> int:
        """Without embedding and head."""
        return self.attention_layers + self.ffn_layers + self.attention_scores

    @property
    def total(self) -> int:
        return self.blocks + self.head


def forward_macs(candidate: Candidate, context: int) -> ForwardMacs:
    """MACs a token at sequences of `context` tokens. The embedding is a table look-up: none."""
    shape = candidate.shape
    macs = {name: layer.macs for name, layer in candidate.layers().items()}
    return ForwardMacs(
        attention_layers=shape.depth * sum(macs[name] for name in "qkvo"),
        ffn_layers=shape.depth * (macs["up"] + macs["down"]),
        attention_scores=shape.depth * 2 * context * shape.width,
        head=shape.width * VOCABULARY_SIZE,
    )


def flops_per_step(candidate: Candidate, context: int, batch: int) -> int:
    """Training FLOPs of one step of batch x context tokens: 2 FLOPs a MAC, forward and twice that backward."""
    return 6 * forward_macs(candidate, context).total * context * batch


def parameter_count(candidate: Candidate, context: int) -> int:
    """Trainable numbers of the model that :mod:`einsearch.proxy.gpt2` builds.

    Factors, their gains (none for q and k), embeddings, head and the normalization weights.
    """
    shape = candidate.shape
    block = 0
    for name, layer in candidate.layers().items():
        gains = 0 if layer.einsum.factors == 1 or name in "qk" else layer.einsum.factors
        block += layer.parameters + gains
    norms = 2 * shape.width + 2 * shape.head_size
    tables = (2 * VOCABULARY_SIZE + context) * shape.width
    return shape.depth * (block + norms) + tables + shape.width
