"""Learning-rate multipliers and optimizer groups of models that have einsum layers among others."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from einsearch.errors import EinsearchError
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.moe import EinsumMoE
from einsearch.layers.parametrize import OPTIMIZERS, Fans, Parametrized, learning_rate_multipliers, param_groups
from einsearch.layers.router import Router


class Conv1D(nn.Module):
    """As in Hugging Face transformers: a linear layer that holds its matrix as (in, out)."""

    def __init__(self, out_features: int, in_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))


def language(width: int, structure: str | None = None) -> nn.ModuleDict:
    up = nn.Linear(width, 4 * width) if structure is None else EinsumLinear(width, 4 * width, structure)
    return nn.ModuleDict(
        {
            "embedding": nn.Embedding(10, width),
            "norm": nn.LayerNorm(width),
            "attention": nn.MultiheadAttention(width, 2),
            "up": up,
            "down": Conv1D(width, 4 * width),
            "head": nn.Linear(width, 10, bias=False),
        }
    )


def rates(model: nn.Module, **options: Any) -> dict[str, float]:
    """The learning rate of every parameter by name; each is in one group."""
    groups = param_groups(model, 1.0, **options)
    found = {parameter: group["lr"] for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found)
    return {name: found[parameter] for name, parameter in model.named_parameters()}


def test_factors_have_their_multipliers_and_all_else_the_learning_rate() -> None:
    model = nn.Sequential(nn.Embedding(10, 256), EinsumLinear(256, 256, "low-rank"), nn.Linear(256, 10))
    assert rates(model) == pytest.approx(
        {
            "0.weight": 1,
            # d_in / n_in / factors: rank 16.
            "1.factors.0": 256 / 256 / 2,
            "1.factors.1": 256 / 16 / 2,
            "1.gain": 1,
            "1.bias": 1,
            "2.weight": 1,
            "2.bias": 1,
        }
    )


@pytest.mark.parametrize(
    ("structure", "d_in", "d_out", "base", "expected"),
    [
        # Numbers that the step makes / n_in / factors, over fan-out / fan-in of the base.
        ("dense", 512, 2048, (64, 256), [(2048 / 512) / (256 / 64)]),
        ("dense", 512, 512, (64, 256), [1 / 4]),
        # Two steps of 16 blocks of 16 x 16, or of blocks of 16 whose matrix all 16 positions share: 256 numbers each.
        ("btt", 256, 256, (64, 64), [256 / 16 / 2, 256 / 16 / 2]),
        ("kronecker", 256, 256, (64, 64), [256 / 16 / 2, 256 / 16 / 2]),
        ("kronecker", 256, 256, None, [256 / 16 / 2, 256 / 16 / 2]),
        # Rank 4: 256 x 4 numbers between the factors.
        ("btt(1/4)", 256, 256, (64, 64), [1024 / 16 / 2, 256 / 64 / 2]),
        ("low-rank", 256, 256, (64, 64), [16 / 256 / 2, 256 / 16 / 2]),
        ("low-rank", 256, 64, (256, 64), [(8 / 256 / 2) * 4, (64 / 8 / 2) * 4]),
        ("monarch(factors=3)", 64, 64, (64, 64), [64 / 4 / 3] * 3),
    ],
)
def test_multipliers_of_sgd_worked_by_hand(
    structure: str, d_in: int, d_out: int, base: tuple[int, int] | None, expected: list[float]
) -> None:
    layer = EinsumLinear(d_in, d_out, structure)
    found = layer.learning_rate_multipliers(*(base or ()), optimizer="sgd")
    assert [found.pop(f"factors.{n}") for n in range(len(expected))] == pytest.approx(expected)
    assert found.pop("bias") == (1 if base is None else d_out / base[1])
    assert found == ({} if layer.gain is None else {"gain": 1})


def test_mixtures_and_routers_have_the_multipliers_of_one_expert() -> None:
    model = nn.ModuleDict({"moe": EinsumMoE(256, 256, "btt", experts=4), "router": Router(256, 4, 2)})
    one = EinsumLinear(256, 256, "btt")
    for optimizer in OPTIMIZERS:
        found = learning_rate_multipliers(model, lambda name: Fans(64, 64), optimizer)
        expected = one.learning_rate_multipliers(64, 64, optimizer)
        assert found == {f"moe.{name}": value for name, value in expected.items()} | {"router.weight": 64 / 256}
    decays = {p: group["weight_decay"] for group in param_groups(model, 1, weight_decay=0.1) for p in group["params"]}
    # The gains are a matrix, of factors and experts.
    assert [name for name, parameter in model.named_parameters() if not decays[parameter]] == ["moe.gain", "moe.bias"]


def test_with_a_base_model_every_parameter_follows_mup() -> None:
    model, base = language(64, "btt"), language(16)
    adam, sgd = (rates(model, base=base, optimizer=optimizer) for optimizer in ("adamw", "sgd"))
    assert adam == pytest.approx(
        {
            "embedding.weight": 1,
            "norm.weight": 1,
            "norm.bias": 1,
            "attention.in_proj_weight": 16 / 64,
            "attention.in_proj_bias": 1,
            "attention.out_proj.weight": 16 / 64,
            "attention.out_proj.bias": 1,
            # a8 g8 e16 f16: both fans-in are 8.
            "up.factors.0": 16 / 8 / 2,
            "up.factors.1": 16 / 8 / 2,
            "up.gain": 1,
            "up.bias": 1,
            "down.weight": 64 / 256,
            "down.bias": 1,
            "head.weight": 16 / 64,
        }
    )
    assert sgd == pytest.approx(
        {
            "embedding.weight": 4,
            "norm.weight": 4,
            "norm.bias": 4,
            "attention.in_proj_weight": 1,
            "attention.in_proj_bias": 4,
            "attention.out_proj.weight": 1,
            "attention.out_proj.bias": 4,
            # 8 x 16 numbers between the factors, 256 after; fan-out / fan-in of the base is 4.
            "up.factors.0": 8 * 16 / 8 / 2 / 4,
            "up.factors.1": 256 / 8 / 2 / 4,
            "up.gain": 1,
            "up.bias": 4,
            "down.weight": 1,
            "down.bias": 4,
            "head.weight": 16 / 64,
        }
    )


@pytest.mark.parametrize("structure", [None, "btt"])
def test_a_base_model_may_be_dense_or_not_and_on_the_meta_device(structure: str | None) -> None:
    with torch.device("meta"):
        base = language(16, structure)
    assert rates(language(64, "btt"), base=base) == rates(language(64, "btt"), base=language(16))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_model_that_is_its_own_base(optimizer: str) -> None:
    model = language(16, "btt")
    assert rates(model, base=copy.deepcopy(model), optimizer=optimizer) == rates(model, optimizer=optimizer)


@pytest.mark.parametrize("head_first", [False, True])
def test_a_tied_matrix_has_the_multiplier_of_an_embedding(head_first: bool) -> None:
    def tied(width: int) -> nn.ModuleDict:
        parts = {"embedding": nn.Embedding(10, width), "head": nn.Linear(width, 10, bias=False)}
        parts["head"].weight = parts["embedding"].weight
        return nn.ModuleDict(dict(sorted(parts.items(), reverse=head_first)))

    assert set(rates(tied(64), base=tied(16)).values()) == {1}
    assert set(rates(tied(64), base=tied(16), optimizer="sgd").values()) == {4}


def test_a_parameter_that_is_shared_is_given_once() -> None:
    layer = EinsumLinear(16, 16, "btt")
    model = nn.Sequential(layer, nn.GELU(), layer)
    parameters = [p for group in param_groups(model, lr=0.1) for p in group["params"]]
    assert len(parameters) == len(set(parameters)) == len(list(layer.parameters()))


class Scaled(nn.Module):
    """A module of one's own that says its multipliers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_features = self.out_features = width
        self.inner = nn.Linear(width, width)
        self.table = nn.Parameter(torch.zeros(width, width))

    def learning_rate_multipliers(
        self, base_in_features: int | None = None, base_out_features: int | None = None, optimizer: str = "adamw"
    ) -> dict[str, float]:
        return {"inner.weight": 7.0, "table": (base_in_features or self.in_features) / self.in_features}


def test_any_module_may_say_its_own() -> None:
    assert isinstance(Scaled(4), Parametrized)
    model = nn.Sequential(Scaled(32), nn.Linear(32, 4))
    base = nn.Sequential(Scaled(8), nn.Linear(8, 4))
    plain = {"0.inner.bias": 1, "1.bias": 1}
    assert rates(model) == plain | {"0.inner.weight": 7, "0.table": 1, "1.weight": 1}
    # What it leaves out follows the general rule.
    assert rates(model, base=base) == plain | {"0.inner.weight": 7, "0.table": 1 / 4, "1.weight": 1 / 4}
    given = rates(model, base={"0": Fans(16, 16)}.get, optimizer="sgd")
    assert given == plain | {"0.inner.weight": 7, "0.table": 1 / 2, "1.weight": 1}


class Table(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(5, width))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: param_groups(nn.Linear(4, 4), 1, optimizer="adam"),
            "optimizer is 'adam'; known: adamw, sgd",
        ),
        (
            lambda: EinsumLinear(4, 4, "btt").learning_rate_multipliers(optimizer="lion"),
            "optimizer is 'lion'; known: adamw, sgd",
        ),
        (
            lambda: param_groups(nn.Sequential(nn.Linear(8, 4)), 1, base=nn.Sequential(nn.Linear(4, 4, bias=False))),
            "the base model has no 0.bias; give the same model at the width that was tuned",
        ),
        (
            lambda: param_groups(nn.Sequential(EinsumLinear(8, 4, "btt")), 1, base=nn.Sequential()),
            "the base model has no 0; give the same model at the width that was tuned",
        ),
        (
            lambda: param_groups(nn.Sequential(EinsumLinear(8, 4, "btt")), 1, base=nn.Sequential(nn.LayerNorm(4))),
            "0 is a LayerNorm in the base model, which has no in_features; give the same model at the "
            "width that was tuned",
        ),
        (
            lambda: param_groups(Table(8), 1, base=Table(4)),
            "positions of a Table grows with the width, but its fan-in is not known; give the module a method "
            "learning_rate_multipliers",
        ),
    ],
)
def test_what_has_no_rule_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        make()
    assert str(error.value) == message


def test_a_matrix_without_a_rule_that_keeps_its_shape_is_fine() -> None:
    assert rates(nn.Sequential(Table(8), nn.Linear(8, 2)), base=nn.Sequential(Table(8), nn.Linear(4, 2))) == {
        "0.positions": 1,
        "1.weight": 1 / 2,
        "1.bias": 1,
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_takes_the_same_part_off_every_matrix(optimizer: str) -> None:
    model, base = language(64, "btt"), language(16)
    found = {}
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group in param_groups(model, 0.01, base=base, optimizer=optimizer, weight_decay=0.1):
        assert group["lr"] == 0.01 * group["multiplier"]
        found |= {names[parameter]: group["lr"] * group["weight_decay"] for parameter in group["params"]}
    matrices = {"embedding.weight", "attention.in_proj_weight", "attention.out_proj.weight", "head.weight"}
    matrices |= {"up.factors.0", "up.factors.1", "down.weight"}
    assert found == pytest.approx({name: 0.001 if name in matrices else 0.0 for name in names.values()})


def test_without_a_weight_decay_that_of_the_optimizer_holds() -> None:
    model = language(16, "btt")
    for given, expected in ((None, {0.3}), (0.0, {0.0})):
        optimizer = torch.optim.AdamW(param_groups(model, 0.01, weight_decay=given), weight_decay=0.3)
        assert {group["weight_decay"] for group in optimizer.param_groups} == expected


def optimizer_of(kind: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups) if kind == "adamw" else torch.optim.SGD(groups, momentum=0.9)


@pytest.mark.parametrize(("kind", "rate"), [("adamw", 1e-2), ("sgd", 3e-2)])
def test_the_optimizers_take_the_groups_and_learn(kind: str, rate: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(EinsumLinear(16, 16, "btt"), nn.GELU(), EinsumLinear(16, 4, "kronecker", zero=True))
    optimizer = optimizer_of(kind, param_groups(model, lr=rate, optimizer=kind))
    x, target = torch.randn(64, 16), torch.randn(64, 4)
    losses = []
    for _ in range(30):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def first_step(structure: str, width: int, kind: str) -> float:
    """Root mean square change of a layer's outputs by a step on gradients as a wide model has them: of the order of
    1 / width at every output, and aligned with nothing."""
    generator = torch.Generator().manual_seed(0)
    layer = EinsumLinear(width, width, structure, bias=False, generator=generator)
    groups = param_groups(layer, 0.1, base=lambda name: Fans(64, 64), optimizer=kind)
    optimizer = torch.optim.AdamW(groups) if kind == "adamw" else torch.optim.SGD(groups)
    x = torch.randn(8, width, generator=generator)
    towards = torch.randn(8, width, generator=generator) / width
    before = layer(x)
    (before * towards).sum().backward()
    optimizer.step()
    change: Tensor = layer(x) - before
    return change.square().mean().sqrt().item()


@pytest.mark.parametrize("structure", ["dense", "btt", "kronecker", "monarch(factors=3)"])
def test_a_step_of_sgd_moves_outputs_as_far_at_every_width(structure: str) -> None:
    moved = [first_step(structure, width, "sgd") for width in (256, 1024, 4096)]
    assert max(moved) < 1.5 * min(moved)


def test_the_ratio_of_a_factors_fans_alone_would_make_wide_layers_lazy() -> None:
    """Without the number of blocks, sqrt(width) for BTT, the multiplier is too small by as much."""
    layer = EinsumLinear(1024, 1024, "btt")
    step = layer.operator.plan.step_of(0)
    assert layer.learning_rate_multipliers(optimizer="sgd")["factors.0"] == 32 * step.fan_out / step.fan_in / 2
