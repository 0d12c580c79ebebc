"""Learning-rate multipliers and optimizer groups by muP, for models with einsum layers among others.

The rules and where they come from: docs/parametrization.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from einsearch.errors import EinsearchError
from einsearch.space.operator import Operator

T = TypeVar("T")

OPTIMIZERS = ("adamw", "sgd")
"""The kinds of optimizer that have a rule: `adamw` for all that divide a gradient by its size, `sgd` for the rest."""

_NEVER_DECAYED = ("gain", "bias")


@dataclass(frozen=True, slots=True)
class Fans:
    """How many numbers an output of a map sums over, and how many outputs there are.

    An entry of a bias, a norm's weight or an embedding is a sum of one: their fan_in is 1.
    """

    fan_in: int
    fan_out: int

    def changed(self, fan_in: int | None, fan_out: int | None) -> Fans:
        """These with what is given."""
        return Fans(self.fan_in if fan_in is None else fan_in, self.fan_out if fan_out is None else fan_out)


Base = nn.Module | Callable[[str], Fans | None]
"""The model that a learning rate was tuned for: itself, or the fans of a layer or parameter there, by its name in the
model at hand (None where they are the same)."""


@runtime_checkable
class Parametrized(Protocol):
    """A module that knows the multipliers of its own parameters, by name.

    base_in_features, base_out_features: of the dense layer in its place, in the model that the learning rate was
    tuned for; left out, those of the module itself.
    """

    def learning_rate_multipliers(
        self, base_in_features: int | None = None, base_out_features: int | None = None, optimizer: str = "adamw"
    ) -> dict[str, float]: ...


def require_optimizer(name: str) -> None:
    """EinsearchError for an optimizer without a rule."""
    if name not in OPTIMIZERS:
        raise EinsearchError(f"optimizer is {name!r}; known: {', '.join(OPTIMIZERS)}")


def dense_multiplier(here: Fans, base: Fans, optimizer: str) -> float:
    """Of a dense matrix or a vector: base fan-in over fan-in, and for SGD also fan-out over base fan-out."""
    require_optimizer(optimizer)
    multiplier = base.fan_in / here.fan_in
    return multiplier if optimizer == "adamw" else multiplier * here.fan_out / base.fan_out


def factor_multipliers(operator: Operator, base: Fans, optimizer: str) -> dict[str, float]:
    """Of the factors of an einsum layer, as `factors.N`, n_in and step as in the reference plan.

    Adam: base fan-in / (n_in k) of k factors (arXiv 2410.02117). SGD: (numbers that the step makes / (n_in k)) over
    the base's fan-out / fan-in: the gradient of a factor is as small as the intermediate behind it is large. For
    one factor both are the dense rule.
    """
    require_optimizer(optimizer)
    factors = len(operator.plan.steps)
    found = {}
    for factor in range(factors):
        step = operator.plan.step_of(factor)
        multiplier = base.fan_in / (step.fan_in * factors)
        found[f"factors.{factor}"] = (
            multiplier if optimizer == "adamw" else multiplier * (step.macs // step.fan_in) / base.fan_out
        )
    return found


def learning_rate_multipliers(model: nn.Module, base: Base | None = None, optimizer: str = "adamw") -> dict[str, float]:
    """The multiplier of every parameter of a model, by name.

    A module with a method as :class:`Parametrized` says its own. Of all else the multiplier is 1 without `base`, and
    that of muP with it. A matrix that is also an embedding (a tied head) has the embedding's.

    Raises EinsearchError for an unknown optimizer, and for a base model that lacks a layer or parameter, or has one of
    another shape whose fans are not known (of matrices: those outside nn.Linear, nn.MultiheadAttention, nn.Embedding
    and Conv1D).
    """
    require_optimizer(optimizer)
    at_base = _fans_in(base, model) if isinstance(base, nn.Module) else base or _as_here
    found: dict[nn.Parameter, float] = {}
    for name, module in model.named_modules():
        if isinstance(module, Parametrized):
            fans = at_base(name)
            fan_in, fan_out = (None, None) if fans is None else (fans.fan_in, fans.fan_out)
            for key, value in module.learning_rate_multipliers(fan_in, fan_out, optimizer).items():
                found.setdefault(model.get_parameter(_joined(name, key)), value)
    # Embeddings first: of a tied matrix theirs is the rule.
    for name, module in sorted(model.named_modules(), key=lambda item: not isinstance(item[1], nn.Embedding)):
        for key, parameter in module.named_parameters(recurse=False):
            if parameter not in found and (fans := at_base(_joined(name, key))) is not None:
                found[parameter] = dense_multiplier(_fans(module, key, parameter), fans, optimizer)
    return {name: found.get(parameter, 1.0) for name, parameter in model.named_parameters()}


def param_groups(
    model: nn.Module,
    lr: float,
    *,
    base: Base | None = None,
    optimizer: str = "adamw",
    weight_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer, one for every multiplier: params, lr (multiplied), multiplier.

    Without `base`, `lr` is that of the same model with dense layers: the factors of einsum layers, mixtures and
    routers have multipliers relative to the dense layer in their place, all else has `lr`. With `base`, the same
    model at the width that `lr` was tuned at (dense or not; the meta device is enough), every parameter follows
    muP. A schedule sets a group's lr to its own times the group's multiplier.

    optimizer: `adamw` for Adam and its kin, `sgd` with or without momentum. weight_decay: of matrices and
    embeddings, not of gains, norms and biases; divided by the multiplier, so that lr * weight_decay, the part of
    a weight that a step of AdamW takes off, is the same for all and at every width. Where it is left out the groups
    have none, and the optimizer's own holds for all parameters alike.

    >>> from einsearch import EinsumLinear
    >>> model = nn.Sequential(EinsumLinear(256, 256, "btt"), nn.Linear(256, 10))
    >>> [(len(group["params"]), group["lr"]) for group in param_groups(model, lr=0.01)]
    [(4, 0.01), (2, 0.08)]

    Raises EinsearchError as :func:`learning_rate_multipliers`.
    """
    multipliers = learning_rate_multipliers(model, base, optimizer)
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decayed = bool(weight_decay) and _is_decayed(name, parameter)
        found.setdefault((multipliers[name], decayed), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for (multiplier, decayed), parameters in found.items():
        groups.append({"params": parameters, "lr": lr * multiplier, "multiplier": multiplier})
        if weight_decay is not None:
            groups[-1]["weight_decay"] = weight_decay / multiplier if decayed else 0.0
    return groups


def _is_decayed(name: str, parameter: nn.Parameter) -> bool:
    return parameter.dim() >= 2 and name.rpartition(".")[2] not in _NEVER_DECAYED


def _joined(module: str, parameter: str) -> str:
    return f"{module}.{parameter}" if module else parameter


def _as_here(name: str) -> Fans | None:
    return None


def _fans(module: nn.Module, key: str, parameter: Tensor) -> Fans:
    """Of a parameter that a module of torch holds."""
    if parameter.dim() < 2:
        return Fans(1, parameter.numel())
    rows, columns = parameter.shape[0], parameter.shape[-1]
    if isinstance(module, nn.Embedding):
        return Fans(1, columns)
    if isinstance(module, nn.Linear | nn.MultiheadAttention):
        return Fans(columns, rows)
    if type(module).__name__ == "Conv1D":  # of transformers, which need not be installed
        return Fans(rows, columns)
    raise EinsearchError(
        f"{key} of a {type(module).__name__} grows with the width, but its fan-in is not known; give the module a "
        "method learning_rate_multipliers"
    )


def _fans_in(base: nn.Module, model: nn.Module) -> Callable[[str], Fans | None]:
    """Fans in a base model of layers that answer for themselves, and of other parameters whose shape differs there."""
    layers = dict(base.named_modules(remove_duplicate=False))
    there = dict(base.named_parameters(remove_duplicate=False))
    here = dict(model.named_parameters(remove_duplicate=False))

    def at_base(name: str) -> Fans | None:
        if name not in here:
            return _layer_fans(name, _named(layers, name))
        parameter = _named(there, name)
        if parameter.shape == here[name].shape:
            return None
        holder, _, key = name.rpartition(".")
        return _fans(layers[holder], key, parameter)

    return at_base


def _layer_fans(name: str, layer: nn.Module) -> Fans:
    fan_in = getattr(layer, "in_features", None)
    if isinstance(fan_in, int):
        # A router has a fixed number of outputs, which its rule does not ask for.
        return Fans(fan_in, getattr(layer, "out_features", 1))
    if type(layer).__name__ == "Conv1D":
        return Fans(*layer.get_parameter("weight").shape)
    raise EinsearchError(
        f"{name} is a {type(layer).__name__} in the base model, which has no in_features; give the same model at the "
        "width that was tuned"
    )


def _named(held: Mapping[str, T], name: str) -> T:
    if name not in held:
        raise EinsearchError(f"the base model has no {name}; give the same model at the width that was tuned")
    return held[name]
