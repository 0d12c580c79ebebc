"""FLOPs of a candidate against torch's own counter and against numbers worked by hand."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from einsearch.layers.implementations import Activations
from einsearch.proxy.flops import ForwardMacs, flops_per_step, forward_macs, parameter_count
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.protocol import Protocol
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.parse import parse

STRUCTURES = {
    "dense": "dense",
    "btt": "btt",
    "btt-rank": "btt(1/4)",
    "low-rank": "low-rank",
    "kronecker": "kronecker",
    "tensor-train": "tensor-train",
    "generic": "(.5|.25|.25|.25|.5|.25|.25)",
    "transposed": "(.33|.67|0|.75|.25|0|.1)",
    # The first step sums nothing: gamma lives on.
    "no-contraction": "(0|0|1|.5|.5|0|0)",
    "chain": "a,abp,bcpq,cdq->d; a=1, b=1/3, c=1/3, d=1, p=1/4, q=1/4",
}
SHAPES = {
    "small": ModelShape(width=16, depth=2, head_size=8),
    "one-block": ModelShape(width=32, depth=1, head_size=16, ffn_expansion=3),
    "padded": ModelShape(width=38, depth=1, head_size=19),
    "deep": ModelShape(width=24, depth=4, head_size=8, ffn_expansion=2),
}


CASES: list[tuple[str, Activations]] = [
    ("reference", "row-major"),
    ("feature-major", "row-major"),
    ("feature-major", "feature-major"),
]


@pytest.mark.parametrize(("implementation", "activations"), CASES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_flops_are_those_that_torch_counts(
    structure: str, shape: ModelShape, implementation: str, activations: Activations
) -> None:
    context, batch = 12, 3
    candidate = Candidate.of(parse(structure), shape)
    protocol = Protocol(context=context, batch=batch)
    model = ProxyGPT2(candidate, protocol, seed=0, implementation=implementation, activations=activations)
    window = torch.zeros(batch, context + 1, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = model.loss(window)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    step = flops_per_step(candidate, context, batch)
    norms = 0
    if activations == "feature-major":
        # Sums over channels run as products with a row of ones, two each way: four norms a block (those of
        # queries and keys cover all channels too), one at the end.
        norms = 2 * 2 * (4 * shape.depth + 1) * shape.width * context * batch
    assert forward.get_total_flops() - norms == 2 * forward_macs(candidate, context).total * context * batch
    assert forward.get_total_flops() + backward.get_total_flops() - 2 * norms == step


def test_the_padded_shape_is_padded() -> None:
    layers = Candidate.of(parse("btt"), SHAPES["padded"]).layers()
    assert all(layer.padded for layer in layers.values())


def test_dense_worked_by_hand() -> None:
    """Width 64, depth 2, expansion 4, context 32, 96 symbols."""
    candidate = Candidate.dense(ModelShape(width=64, depth=2))
    found = forward_macs(candidate, context=32)
    assert found == ForwardMacs(
        attention_layers=2 * 4 * 64 * 64,
        ffn_layers=2 * 2 * 64 * 256,
        attention_scores=2 * 2 * 32 * 64,
        head=64 * 96,
    )
    assert found.blocks == 32_768 + 65_536 + 8_192
    assert found.total == 112_640
    assert flops_per_step(candidate, context=32, batch=8) == 6 * 112_640 * 256 == 173_015_040


def test_sites_with_structures_of_their_own_worked_by_hand() -> None:
    """Width 64: BTT q k v o cost 2 * 64 * 8; Kronecker up (a8 b8 d16 e16) 64 * 16 + 8 * 256."""
    candidate = Candidate.of_sites(
        {"attention": parse("btt"), "ffn": parse("kronecker")}, ModelShape(width=64, depth=1)
    )
    found = forward_macs(candidate, context=32)
    assert found.attention_layers == 4 * 1024
    # down (a16 b16 d8 e8): 16 * 16 * 8, then 8 * 16 * 8.
    assert found.ffn_layers == (1024 + 2048) + (2048 + 1024)


def test_sharing_parameters_costs_compute_that_parameters_do_not_show() -> None:
    shape = ModelShape(width=64, depth=1)
    kronecker, low_rank = (Candidate.of(parse(text), shape) for text in ("kronecker", "low-rank"))
    assert forward_macs(kronecker, 32).total > 0.8 * forward_macs(low_rank, 32).total
    assert parameter_count(kronecker, 32) < 0.8 * parameter_count(low_rank, 32)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_parameters_are_those_of_the_model(structure: str, shape: ModelShape) -> None:
    candidate = Candidate.of(parse(structure), shape)
    model = ProxyGPT2(candidate, Protocol(context=12), seed=0)
    assert parameter_count(candidate, context=12) == sum(p.numel() for p in model.parameters())


def test_parameters_of_dense_worked_by_hand() -> None:
    """Width 16, depth 1, head size 8, context 12: 12 d^2, norms, two tables, positions, final norm."""
    candidate = Candidate.dense(ModelShape(width=16, depth=1, head_size=8))
    assert parameter_count(candidate, 12) == 12 * 256 + (2 * 16 + 2 * 8) + (96 + 96 + 12) * 16 + 16
