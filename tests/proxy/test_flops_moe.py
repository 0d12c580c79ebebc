"""FLOPs and parameters of candidates with mixtures of experts: by hand, and as their modules have them."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from einsearch.layers.linear import EinsumLinear
from einsearch.layers.moe import EinsumMoE, ExpertFFN
from einsearch.layers.router import Router
from einsearch.proxy.flops import (
    ForwardMacs,
    active_parameter_count,
    flops_per_step,
    forward_macs,
    parameter_count,
)
from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Mixture
from einsearch.space.model_shape import ModelShape
from einsearch.space.parse import parse

SHAPE = ModelShape(width=64, depth=2)
AROUND = 2 * (2 * 64 + 2 * 16) + (2 * VOCABULARY_SIZE + 32) * 64 + 64
"""Norms of two blocks, tables of a context of 32, the last norm."""


def test_btt_moe_by_hand() -> None:
    """An expert has 1,024 MACs in a square layer, 3,072 up and down; two are active. Five routers of 64 x 8, one of
    256 x 8."""
    candidate = Candidate.of(parse("btt"), SHAPE, Mixture(experts=8, active=2))
    found = forward_macs(candidate, context=32)
    assert found == ForwardMacs(
        attention_layers=2 * 2 * 4 * 1024,
        ffn_layers=2 * 2 * 2 * 3072,
        attention_scores=2 * 2 * 32 * 64,
        head=64 * 96,
        routers=2 * (5 * 64 + 256) * 8,
    )
    assert found.blocks == 16_384 + 24_576 + 8_192 + 9_216
    assert flops_per_step(candidate, context=32, batch=8) == 6 * (found.blocks + 6_144) * 256
    # Gains: two factors of v, o, up and down; of eight experts, of which two are active.
    layers = 4 * 1024 + 2 * 3072
    assert parameter_count(candidate, 32) == 2 * (8 * (layers + 4 * 2) + 576 * 8) + AROUND
    assert active_parameter_count(candidate, 32) == 2 * (2 * (layers + 4 * 2) + 576 * 8) + AROUND


def test_the_standard_mixture_by_hand() -> None:
    candidate = Candidate.of(parse("dense"), SHAPE, Mixture(experts=8, active=2, per="ffn"))
    found = forward_macs(candidate, context=32)
    assert found.attention_layers == forward_macs(Candidate.dense(SHAPE), 32).attention_layers == 2 * 4 * 4096
    assert found.ffn_layers == 2 * 2 * 2 * 64 * 256
    assert found.routers == 2 * 64 * 8
    ffn = 2 * 64 * 256
    assert parameter_count(candidate, 32) == 2 * (4 * 4096 + 8 * ffn + 512) + AROUND
    assert active_parameter_count(candidate, 32) == 2 * (4 * 4096 + 2 * ffn + 512) + AROUND


@pytest.mark.parametrize("routing", ["random", "hash"])
def test_a_router_that_learns_nothing_costs_nothing(routing: str) -> None:
    candidate = Candidate.of(parse("btt"), SHAPE, Mixture(experts=8, active=1, routing=routing))
    assert forward_macs(candidate, 32) == forward_macs(Candidate.of(parse("btt"), SHAPE), 32)
    assert active_parameter_count(candidate, 32) == parameter_count(Candidate.of(parse("btt"), SHAPE), 32)


def test_without_a_mixture_every_parameter_is_active() -> None:
    for structure in ("dense", "btt(1/4)", "kronecker"):
        candidate = Candidate.of(parse(structure), SHAPE)
        assert forward_macs(candidate, 32).routers == 0
        assert active_parameter_count(candidate, 32) == parameter_count(candidate, 32)


def block_of(candidate: Candidate) -> nn.ModuleDict:
    """The linear layers and routers of a block, on their own."""
    sites, modules = candidate.shape.sites, nn.ModuleDict()
    for name, einsum in candidate.by_layer.items():
        _, d_in, d_out = sites[name]
        mixture, gain = candidate.mixture_of(name), name not in "qk"
        if mixture is None:
            modules[name] = EinsumLinear(d_in, d_out, einsum, bias=False, gain=gain, implementation="reference")
        elif mixture.per == "layer":
            modules[name] = EinsumMoE(
                d_in, d_out, einsum, mixture.experts, bias=False, gain=gain, implementation="reference"
            )
    if candidate.mixture is not None and candidate.mixture.per == "ffn":
        up, down = candidate.by_layer["up"], candidate.by_layer["down"]
        d, hidden = sites["up"][1:]
        modules["ffn"] = ExpertFFN(d, hidden, up, down, candidate.mixture.experts, implementation="reference")
    for name, layers in candidate.mixture.routers.items() if candidate.mixture is not None else ():
        assert candidate.mixture is not None
        modules[f"router {name}"] = Router.of(candidate.mixture, sites[layers[0]][1])
    return modules


CASES = {
    "layer": ("btt(1/4)", Mixture(experts=6, active=2)),
    "shared": ("low-rank", Mixture(experts=4, active=3, shared_router=True, balance="bias")),
    "some": ("kronecker", Mixture(experts=4, active=1, layers=("k", "down"))),
    "ffn": ("btt", Mixture(experts=5, active=2, per="ffn")),
    "dense": ("dense", Mixture(experts=3, active=2, routing="hash")),
    "standard": ("dense", Mixture(experts=4, active=2, per="ffn", routing="random")),
    "plain": ("btt", None),
}


@pytest.mark.parametrize("shape", [SHAPE, ModelShape(width=38, depth=1, head_size=19)], ids=["even", "padded"])
@pytest.mark.parametrize(("structure", "mixture"), CASES.values(), ids=CASES)
def test_counts_are_those_of_the_modules(structure: str, mixture: Mixture | None, shape: ModelShape) -> None:
    candidate, tokens = Candidate.of(parse(structure), shape, mixture), 10
    block = block_of(candidate)
    around = parameter_count(candidate, 32) - shape.depth * sum(p.numel() for p in block.parameters())
    bare = Candidate.dense(shape)
    assert around == parameter_count(bare, 32) - bare.counts().parameters
    routed = {} if mixture is None else {layer: name for name, own in mixture.routers.items() for layer in own}
    with FlopCounterMode(display=False) as counter:
        routings = {}
        for name, layers in mixture.routers.items() if mixture is not None else ():
            x = torch.randn(tokens, shape.sites[layers[0]][1])
            routings[name] = block[f"router {name}"](x, torch.arange(tokens))
        for name, module in block.items():
            if name == "ffn":
                module(torch.randn(tokens, shape.width), routings["ffn"])
            elif name in routed:
                module(torch.randn(tokens, module.in_features), routings[routed[name]])
            elif not name.startswith("router"):
                module(torch.randn(tokens, module.in_features))
    found = forward_macs(candidate, 32)
    counted = found.attention_layers + found.ffn_layers + found.routers
    assert counter.get_total_flops() * shape.depth == 2 * counted * tokens
