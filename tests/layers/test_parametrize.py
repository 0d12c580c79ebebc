"""Optimizer groups of a model that has einsum layers among others."""

import pytest
import torch
from torch import nn

from einsearch.layers.linear import EinsumLinear
from einsearch.layers.parametrize import param_groups


def test_factors_have_their_multipliers_and_all_else_the_learning_rate() -> None:
    model = nn.Sequential(nn.Embedding(10, 256), EinsumLinear(256, 256, "low-rank"), nn.Linear(256, 10))
    groups = param_groups(model, lr=0.01)
    rate = {parameter: group["lr"] for group in groups for parameter in group["params"]}
    assert len(rate) == sum(len(group["params"]) for group in groups)
    assert {name: rate[parameter] for name, parameter in model.named_parameters()} == pytest.approx(
        {
            "0.weight": 0.01,
            # d_in / n_in / factors: rank 16.
            "1.factors.0": 0.01 * 256 / 256 / 2,
            "1.factors.1": 0.01 * 256 / 16 / 2,
            "1.gain": 0.01,
            "1.bias": 0.01,
            "2.weight": 0.01,
            "2.bias": 0.01,
        }
    )


def test_a_parameter_that_is_shared_is_given_once() -> None:
    layer = EinsumLinear(16, 16, "btt")
    model = nn.Sequential(layer, nn.GELU(), layer)
    parameters = [p for group in param_groups(model, lr=0.1) for p in group["params"]]
    assert len(parameters) == len(set(parameters)) == len(list(layer.parameters()))


def test_adam_takes_the_groups_and_learns() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(EinsumLinear(16, 16, "btt"), nn.GELU(), EinsumLinear(16, 4, "kronecker", zero=True))
    optimizer = torch.optim.AdamW(param_groups(model, lr=1e-2))
    x, target = torch.randn(64, 16), torch.randn(64, 4)
    losses = []
    for _ in range(30):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
