"""Mixtures of experts in the proxy model: counts, layouts, training in pieces, and what the record says of routers."""

import math
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from einsearch.layers.implementations import Activations
from einsearch.layers.router import Router
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import setting_for
from einsearch.proxy.flops import flops_per_step, forward_macs, parameter_count
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import Segment, train_segment
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.mixture import Mixture
from einsearch.space.parse import parse

CPU = torch.device("cpu")
SHAPE = ModelShape(width=16, depth=2, head_size=8)
PROTOCOL = Protocol(context=16, batch=4, base_width=16, learning_rate=1e-2, warmup_steps=3, validation_sequences=6)
MIXTURES = {
    "btt": ("btt", Mixture(experts=4, active=2)),
    "btt-shared-router": ("btt(1/4)", Mixture(experts=4, active=1, shared_router=True)),
    "low-rank-bias": ("low-rank", Mixture(experts=3, active=2, balance="bias")),
    "dense-on-ffn": ("dense", Mixture(experts=4, active=1, layers=("up", "down"))),
    "standard": ("dense", Mixture(experts=4, active=2, per="ffn")),
    "btt-random": ("btt", Mixture(experts=4, active=2, routing="random")),
    "btt-hash-ffn": ("btt", Mixture(experts=4, active=2, per="ffn", routing="hash")),
}


def candidate_of(name: str, shape: ModelShape = SHAPE) -> Candidate:
    text, mixture = MIXTURES[name]
    return Candidate.of(parse(text), shape, mixture)


def model_of(name: str, activations: Activations | None = None, implementation: str = "auto") -> ProxyGPT2:
    return ProxyGPT2(candidate_of(name), PROTOCOL, 0, implementation, activations)


def perturbed(model: ProxyGPT2) -> ProxyGPT2:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def windows(rows: int = 4) -> torch.Tensor:
    return torch.randint(96, (rows, 17), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MIXTURES)
def test_counts_are_those_of_the_model(name: str) -> None:
    model = perturbed(model_of(name, "row-major", "reference"))
    candidate = model.candidate
    assert sum(p.numel() for p in model.parameters()) == parameter_count(candidate, PROTOCOL.context)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        losses = model.training_losses(windows())
    # Every token has its active experts and no other.
    assert forward.get_total_flops() == 2 * forward_macs(candidate, PROTOCOL.context).total * 64
    losses.objective.backward()
    assert flops_per_step(candidate, 16, 4) == 3 * forward.get_total_flops()


@pytest.mark.parametrize("name", MIXTURES)
def test_it_starts_as_a_uniform_guess_with_even_experts(name: str) -> None:
    model = model_of(name)
    losses = model.training_losses(windows())
    assert losses.loss.item() == pytest.approx(math.log(96), abs=1e-6)
    for router, routing in losses.routings:
        assert routing.counts.sum() == 4 * 16 * router.active
        if router.routing != "hash":
            assert routing.counts.min() > 0


@pytest.mark.parametrize("name", MIXTURES)
def test_implementations_and_layouts_agree(name: str) -> None:
    found = {}
    layouts: list[Activations] = ["row-major", "feature-major"]
    for implementation, activations in product(["reference", "feature-major", "merged"], layouts):
        model = perturbed(model_of(name, activations, implementation))
        losses = model.training_losses(windows())
        losses.objective.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        found[implementation, activations] = {"objective": losses.objective.detach()} | gradients
    expected = found.pop(("reference", "row-major"))
    for case, values in found.items():
        for key, value in values.items():
            assert value is not None, key
            torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-6, msg=f"{case}: {key}")


def test_the_balance_loss_is_weighted_and_averaged_over_routers() -> None:
    model = perturbed(model_of("btt"))
    losses = model.training_losses(windows())
    assert len(losses.routings) == 2 * 6
    mean = sum(routing.aux_loss for _, routing in losses.routings) / 12
    torch.testing.assert_close(losses.objective, losses.loss + 0.01 * mean)
    heavier = replace(PROTOCOL, balance_weight=0.5)
    other = perturbed(ProxyGPT2(model.candidate, heavier, 0)).training_losses(windows())
    torch.testing.assert_close(other.objective - other.loss, 0.5 * mean)


def test_queries_keys_and_values_share_a_router() -> None:
    model = model_of("btt-shared-router")
    routers = {name for name, module in model.blocks[0].named_modules() if isinstance(module, Router)}
    assert routers == {"routers.qkv", "routers.o", "routers.up", "routers.down"}
    assert len(model.training_losses(windows()).routings) == 2 * 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    for document in range(8):
        lines = [f"line {n} of {document}: the cat sat on the mat\n" for n in range(40)]
        (folder / f"{document}.txt").write_text("".join(lines), encoding="utf-8")
    return load_corpus(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def setting(corpus: Corpus) -> Setting:
    return setting_for(PROTOCOL, corpus, CPU)


@pytest.mark.parametrize("name", ["btt", "low-rank-bias", "btt-random", "standard"])
def test_training_in_pieces_is_bit_identical(name: str, tmp_path: Path, setting: Setting, corpus: Corpus) -> None:
    """Steps and biases of the routers are in the checkpoint: ties and random experts go on where they were."""
    ends = {}
    for folder, cuts in (("whole", [0, 12]), ("pieces", [0, 5, 12])):
        for start, end in pairwise(cuts):
            segment = Segment(
                candidate=candidate_of(name, replace(SHAPE, depth=1)),
                seed=3,
                start=start,
                end=end,
                evaluate_at=(12,),
                folder=tmp_path / folder,
            )
            result = train_segment(segment, setting, corpus, CPU)
        assert result.checkpoint is not None
        ends[folder] = load_file(result.checkpoint / "tensors.safetensors"), result
    (whole, first), (pieces, second) = ends.values()
    assert first.points[-1].validation_loss == second.points[-1].validation_loss
    for tensor in whole:
        assert torch.equal(whole[tensor], pieces[tensor]), tensor
    steps = {key: value.item() for key, value in whole.items() if key.endswith(".step")}
    assert set(steps.values()) == {12}
    assert any(key.startswith("buffer.") for key in whole)
    assert set(first.implementations) <= {"merged experts", "merged"} | set(first.implementations)


@pytest.mark.parametrize("name", ["btt", "standard", "btt-random"])
def test_the_record_says_how_routers_did(name: str, tmp_path: Path, setting: Setting, corpus: Corpus) -> None:
    segment = Segment(
        candidate=candidate_of(name), seed=0, start=0, end=60, evaluate_at=(1, 60), folder=tmp_path / "trial"
    )
    result = train_segment(segment, setting, corpus, CPU)
    assert result.points[-1].validation_loss < 0.9 * result.points[0].validation_loss
    statistics = result.statistics
    assert statistics["router_dropped"] == 0
    assert 0 < statistics["router_min_load"] <= 1 <= statistics["router_max_load"] < 3
    assert 0 < statistics["router_entropy"] <= math.log(4) + 1e-5
    assert 0 < statistics["gradient_norm"] <= statistics["greatest_gradient_norm"]
    assert any(name.endswith(" experts") for name in result.implementations)
