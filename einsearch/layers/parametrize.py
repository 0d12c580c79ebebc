"""Adam parameter groups with the learning-rate multipliers of a model's einsum layers."""

from __future__ import annotations

from typing import Any

from torch import nn

from einsearch.layers.linear import EinsumLinear


def param_groups(model: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Groups for an Adam-like optimizer: `lr` for everything, scaled for the factors of EinsumLinear.

    A factor's multiplier is (d_in / n_in) / (number of factors) relative to the dense layer it
    replaces, so `lr` is the one that the dense model was tuned for.
    """
    multiplier: dict[nn.Parameter, float] = {}
    for module in model.modules():
        if isinstance(module, EinsumLinear):
            own = module.learning_rate_multipliers()
            multiplier |= {module.get_parameter(name): value for name, value in own.items()}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault(multiplier.get(parameter, 1.0), []).append(parameter)
    return [{"params": parameters, "lr": lr * value} for value, parameters in groups.items()]
