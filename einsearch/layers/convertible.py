"""The dense linear layers of any model: where they are, under which names, and which cannot be replaced."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from einsearch.errors import EinsearchError

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights that a layer may have to be replaced."""

HEADS = ("lm_head", "head", "embed_out", "classifier", "score", "qa_outputs")
"""Last parts of names under which libraries keep a model's output layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseLayer:
    """A module that is a dense linear layer, once, with all names that it has in the model.

    unfit: why it cannot be replaced without breaking what uses it, or None. altered: what a replacement would
    silently lose (hooks, parametrizations), or None; then unfit is not looked into.
    """

    names: tuple[str, ...]
    module: nn.Module
    unfit: str | None
    altered: str | None

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]

    @property
    def is_head(self) -> bool:
        """Whether it is called as a model's output layer."""
        return any(name.rpartition(".")[2] in HEADS for name in self.names)

    @property
    def matrix(self) -> Tensor:
        """W of y = x W + b, (in_features, out_features)."""
        weight = self.module.get_parameter("weight")
        return weight if _is_conv1d(self.module) else weight.mT

    @property
    def d_in(self) -> int:
        return self.matrix.shape[0]

    @property
    def d_out(self) -> int:
        return self.matrix.shape[1]

    @property
    def bias(self) -> nn.Parameter | None:
        """b, or None; the very parameter."""
        bias: nn.Parameter | None = self.module.bias  # type: ignore[assignment]
        return bias

    @property
    def parameters(self) -> int:
        """Numbers in the weight and the bias."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def dense_layers(model: nn.Module) -> list[DenseLayer]:
    """Every `nn.Linear`, subclasses included, and `Conv1D` of Hugging Face transformers, in the order of the model.

    Raises EinsearchError for a model that is wrapped for several processes, has no such layer or is one itself.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.parallel.DistributedDataParallel):
            raise EinsearchError("the model is wrapped in DistributedDataParallel; convert it first, then wrap it")
        if isinstance(module, nn.Linear) or _is_conv1d(module):
            names.setdefault(module, []).append(name)
    if model in names:
        raise EinsearchError(
            f"the model is itself a {type(model).__name__}, which cannot be replaced in place; convert the module "
            "that holds it, or make an EinsumLinear"
        )
    if not names:
        raise EinsearchError(f"{type(model).__name__} has no linear layer (nn.Linear or Conv1D), so none to convert")
    holders = _holders(model)
    found = []
    for module, held in names.items():
        altered = _altered(module)
        unfit = None if altered else _unfit(module, holders)
        found.append(DenseLayer(names=tuple(held), module=module, unfit=unfit, altered=altered))
    return found


def _is_conv1d(module: nn.Module) -> bool:
    """Whether it is transformers' Conv1D; where that library was not imported, nothing is."""
    library: Any = sys.modules.get("transformers.pytorch_utils")
    return library is not None and type(module) is library.Conv1D


def _holders(model: nn.Module) -> dict[nn.Parameter, dict[nn.Module, str]]:
    """The modules that hold each parameter, with a name of it there."""
    holders: dict[nn.Parameter, dict[nn.Module, str]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            holders.setdefault(parameter, {}).setdefault(module, f"{prefix}.{name}".lstrip("."))
    return holders


def _unfit(module: nn.Module, holders: dict[nn.Parameter, dict[nn.Module, str]]) -> str | None:
    if type(module) is not nn.Linear and not _is_conv1d(module):
        kind = type(module).__name__
        return f"a {kind}, a subclass of nn.Linear: who uses it may read its weight"
    weight = module._parameters.get("weight")
    if type(weight) is not nn.Parameter:
        return f"its weight is a {type(module.weight).__name__}, not a plain parameter"
    if weight.dtype not in DTYPES:
        known = ", ".join(_short(dtype) for dtype in DTYPES)
        return f"its weight is {_short(weight.dtype)}; known are {known}"
    if 0 in weight.shape:
        return f"its weight is {' x '.join(map(str, weight.shape))}: a dimension is 0"
    if others := [name for holder, name in holders[weight].items() if holder is not module]:
        return f"its weight is tied to {others[0]}"
    return None


def _altered(module: nn.Module) -> str | None:
    if nn.utils.parametrize.is_parametrized(module):
        return "parametrizations"
    # Dictionaries of nn.Module without a public name; a new torch may add to them.
    hooks = [name for name, value in vars(module).items() if name.endswith(("_hooks", "_pre_hooks")) and value]
    if hooks:
        return "hooks"
    for parameter in module.parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return "hooks on its parameters"
    if "forward" in vars(module):
        return "a forward of its own"
    return None


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
