"""Training FLOPs of a candidate, from the reference plans. One MAC is 2 FLOPs; a step is 3 forwards.

Why not 6 N: a layer with omega > 0 uses each weight several times for one token, so parameters say
nothing about its compute. Counted are the matrix products: the linear layers of the blocks (of a mixture the
active experts), the routers that learn, attention scores and their sums over values (causal attention as the
full square), and the LM head.
"""

from __future__ import annotations

from dataclasses import dataclass

from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardMacs:
    """MACs of one forward pass for one token, by part."""

    attention_layers: int
    ffn_layers: int
    attention_scores: int
    head: int
    routers: int = 0

    @property
    def blocks(self) -> int:
        """Without embedding and head."""
        return self.attention_layers + self.ffn_layers + self.routers + self.attention_scores

    @property
    def total(self) -> int:
        return self.blocks + self.head


def forward_macs(candidate: Candidate, context: int) -> ForwardMacs:
    """MACs a token at sequences of `context` tokens. The embedding is a table look-up: none."""
    shape = candidate.shape
    macs = {name: counts.macs for name, counts in candidate.layer_counts().items()}
    return ForwardMacs(
        attention_layers=shape.depth * sum(macs[name] for name in "qkvo"),
        ffn_layers=shape.depth * (macs["up"] + macs["down"]),
        attention_scores=shape.depth * 2 * context * shape.width,
        head=shape.width * VOCABULARY_SIZE,
        routers=shape.depth * Counts.sum(candidate.router_counts().values()).macs,
    )


def flops_per_step(candidate: Candidate, context: int, batch: int) -> int:
    """Training FLOPs of one step of batch x context tokens: 2 FLOPs a MAC, forward and twice that backward."""
    return 6 * forward_macs(candidate, context).total * context * batch


def parameter_count(candidate: Candidate, context: int, weight_normalization: bool = True) -> int:
    """Trainable numbers of the model that :mod:`einsearch.proxy.gpt2` builds.

    Factors, their gains with weight normalization (none for q and k), routers, embeddings, head and the weights of
    norms.
    """
    gains = sum(_gains(candidate, name) * _experts(candidate, name)[0] for name in candidate.layers())
    gains *= candidate.shape.depth * weight_normalization
    return candidate.counts().parameters + gains + _around(candidate, context)


def active_parameter_count(candidate: Candidate, context: int, weight_normalization: bool = True) -> int:
    """Those of :func:`parameter_count` that one token uses: of a mixture the active experts. Tables count whole."""
    gains = sum(_gains(candidate, name) * _experts(candidate, name)[1] for name in candidate.layers())
    gains *= candidate.shape.depth * weight_normalization
    return candidate.counts().active_parameters + gains + _around(candidate, context)


def _gains(candidate: Candidate, layer: str) -> int:
    """Of a layer, or of one of its experts."""
    factors = candidate.by_layer[layer].factors
    return 0 if factors == 1 or layer in "qk" else factors


def _experts(candidate: Candidate, layer: str) -> tuple[int, int]:
    """How many a layer has, and how many of them are active; one without a mixture."""
    mixture = candidate.mixture_of(layer)
    return (1, 1) if mixture is None else (mixture.experts, mixture.active)


def _around(candidate: Candidate, context: int) -> int:
    """What is not in the linear layers: embeddings, head, norms."""
    shape = candidate.shape
    norms = 2 * shape.width + 2 * shape.head_size
    return shape.depth * norms + (2 * VOCABULARY_SIZE + context) * shape.width + shape.width
