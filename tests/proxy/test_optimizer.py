"""The optimizer of a trial: its groups by muP, weight normalization on or off, and clipping."""

import math

import pytest
import torch

from einsearch.layers.linear import EinsumLinear
from einsearch.layers.parametrize import OPTIMIZERS, param_groups
from einsearch.proxy.flops import active_parameter_count, parameter_count
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.optimizer import clip_gradients, optimizer_of
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.mixture import Mixture
from einsearch.space.parse import parse


def setting(protocol: Protocol) -> Setting:
    return Setting(protocol=protocol, code="", data_name="", data_hash="", torch="", device="cpu", precision="float32")


def made(
    structure: str, protocol: Protocol, width: int = 64, mixture: Mixture | None = None
) -> tuple[ProxyGPT2, torch.optim.Optimizer]:
    candidate = Candidate.of(parse(structure), ModelShape(width=width, depth=1), mixture)
    model = ProxyGPT2(candidate, protocol, seed=0)
    return model, optimizer_of(model, setting(protocol))


def backward(model: ProxyGPT2, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Gradients by name, away from the start, where most are zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    window = torch.randint(96, (2, model.protocol.context + 1), generator=generator)
    (scale * model.loss(window)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("mixture", [None, Mixture(experts=4, active=2), Mixture(experts=4, active=2, per="ffn")])
def test_every_parameter_is_in_one_group_with_its_multiplier(kind: str, mixture: Mixture | None) -> None:
    protocol = Protocol(context=8, base_width=32, optimizer=kind, learning_rate=0.1, weight_decay=0.2)
    model, optimizer = made("btt", protocol, mixture=mixture)
    found = {p: group for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(found)
    assert found.keys() == set(model.parameters())
    of = {name: found[parameter] for name, parameter in model.named_parameters()}
    for name, group in of.items():
        assert group["lr"] == 0.1 * group["multiplier"]
        plain = "norm" in name or name.endswith("gain")
        assert group["lr"] * group["weight_decay"] == pytest.approx(0 if plain else 0.02), name
    width_ratio = 2 if kind == "sgd" else 1
    expected = {
        "token_embedding.weight": width_ratio,
        "position_embedding.weight": width_ratio,
        "norm.weight": width_ratio,
        "blocks.0.norm_ffn.weight": width_ratio,
        "blocks.0.norm_q.weight": 1,
        "head.weight": 1 / 2,
        "blocks.0.q.factors.0": 32 / 8 / 2 if kind == "adamw" else 64 / 8 / 2,
    }
    if mixture is None:
        # up is a8 g8 e16 f16, down a16 g16 e8 f8; the base has 32 -> 128 and 128 -> 32.
        expected |= {
            "blocks.0.up.factors.0": 32 / 8 / 2 if kind == "adamw" else 128 / 8 / 2 / 4,
            "blocks.0.up.factors.1": 32 / 8 / 2 if kind == "adamw" else 256 / 8 / 2 / 4,
            "blocks.0.down.factors.0": 128 / 16 / 2 if kind == "adamw" else 128 / 16 / 2 * 4,
            "blocks.0.down.factors.1": 128 / 16 / 2 if kind == "adamw" else 64 / 16 / 2 * 4,
            "blocks.0.up.gain": 1,
        }
    elif mixture.per == "layer":
        expected |= {"blocks.0.routers.q.weight": 1 / 2, "blocks.0.routers.down.weight": 1 / 2}
    else:
        expected |= {"blocks.0.routers.ffn.weight": 1 / 2}
        expected["blocks.0.experts.down.factors.0"] = 128 / 16 / 2 if kind == "adamw" else 128 / 16 / 2 * 4
    assert {name: of[name]["multiplier"] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_at_the_base_width_dense_has_the_multiplier_1(kind: str) -> None:
    _, optimizer = made("dense", Protocol(context=8, base_width=64, optimizer=kind))
    assert [group["multiplier"] for group in optimizer.param_groups] == [1]


def test_the_groups_are_those_of_the_function_that_users_call() -> None:
    protocol = Protocol(context=8, base_width=32, optimizer="sgd", weight_decay=0.1)
    model, optimizer = made("low-rank", protocol)
    groups = param_groups(model, protocol.learning_rate, base=model.base_fans, optimizer="sgd", weight_decay=0.1)
    for mine, theirs in zip(optimizer.param_groups, groups, strict=True):
        assert {name: mine[name] for name in theirs} == theirs
    # A base model says the same as the proxy's own account of its base.
    base, _ = made("dense", protocol, width=32)
    assert [group["lr"] for group in param_groups(model, protocol.learning_rate, base=base, optimizer="sgd")] == [
        group["lr"] for group in param_groups(model, protocol.learning_rate, base=model.base_fans, optimizer="sgd")
    ]


def test_the_optimizers_are_those_of_the_protocol() -> None:
    adam = made("btt", Protocol(context=8, beta1=0.8, beta2=0.9, epsilon=1e-5))[1]
    assert isinstance(adam, torch.optim.AdamW)
    assert {name: adam.defaults[name] for name in ("betas", "eps", "fused")} == {
        "betas": (0.8, 0.9),
        "eps": 1e-5,
        "fused": True,
    }
    sgd = made("btt", Protocol(context=8, optimizer="sgd", momentum=0.7))[1]
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["fused"], sgd.defaults["nesterov"]) == (0.7, True, False)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_clipping_against_the_formula(kind: str) -> None:
    protocol = Protocol(context=8, base_width=32, optimizer=kind, clip=0.5)
    model, optimizer = made("btt", protocol)
    before = backward(model)
    weight = {
        p: group["multiplier"] if kind == "sgd" else 1 for group in optimizer.param_groups for p in group["params"]
    }
    squares = [weight[p] * before[name].double().square().sum() for name, p in model.named_parameters()]
    expected = math.sqrt(sum(squares))
    assert clip_gradients(model, optimizer, protocol).item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0.5
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, before[name] * (0.5 / expected), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_small_gradients_stay_as_they_are(kind: str) -> None:
    protocol = Protocol(context=8, optimizer=kind)
    model, optimizer = made("btt", protocol)
    before = backward(model, scale=1e-3)
    assert clip_gradients(model, optimizer, protocol) < 1
    assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters() if p.grad is not None)


def norms_after_steps(width: int) -> tuple[float, float]:
    """Of the gradient of a model that has learnt a little by SGD: the weighted norm, and the plain one."""
    protocol = Protocol(context=16, optimizer="sgd", learning_rate=0.02, clip=1e9)
    model, optimizer = made("btt", protocol, width=width)
    window = torch.randint(96, (4, 17), generator=torch.Generator().manual_seed(0))
    for step in range(4):
        model.loss(window).backward()
        if step < 3:
            optimizer.step()
            optimizer.zero_grad()
    weighted = clip_gradients(model, optimizer, protocol).item()
    plain = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]).item()
    return weighted, plain


def test_the_norm_that_sgd_is_clipped_to_does_not_grow_with_the_width() -> None:
    (narrow, plain_narrow), (wide, plain_wide) = norms_after_steps(64), norms_after_steps(1024)
    assert wide == pytest.approx(narrow, rel=0.2)
    assert plain_wide > 3 * plain_narrow


@pytest.mark.parametrize("mixture", [None, Mixture(experts=4, active=2)])
@pytest.mark.parametrize("structure", ["dense", "btt"])
def test_without_weight_normalization_factors_are_used_as_they_are(structure: str, mixture: Mixture | None) -> None:
    protocol = Protocol(context=8, weight_normalization=False)
    model, _ = made(structure, protocol, mixture=mixture)
    assert not any("gain" in name for name, _ in model.named_parameters())
    layers = [module for module in model.modules() if hasattr(module, "effective_factors")]
    assert len(layers) == 6
    for layer in layers:
        assert isinstance(layer, EinsumLinear) or mixture is not None
        with torch.no_grad():
            layer.factors[0] *= 100
        assert all(a is b for a, b in zip(layer.effective_factors(), layer.factors, strict=True))
    candidate = model.candidate
    assert sum(p.numel() for p in model.parameters()) == parameter_count(candidate, 8, weight_normalization=False)
    gains = {"dense": 0, "btt": 4 * 2}[structure]
    assert parameter_count(candidate, 8) - parameter_count(candidate, 8, False) == gains * (4 if mixture else 1)
    active = active_parameter_count(candidate, 8) - active_parameter_count(candidate, 8, False)
    assert active == gains * (2 if mixture else 1)
