"""Dense linear layers of any model replaced by einsum layers, in place."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from einsearch.errors import EinsearchError
from einsearch.layers.conversion import Conversion, Replaced, Skipped
from einsearch.layers.convertible import DenseLayer, dense_layers
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.project import project_into
from einsearch.space.einsum import Einsum
from einsearch.space.notation import from_theta
from einsearch.space.parse import parse

StructureLike = str | Einsum | Sequence[float]
"""A family's name, a theta or an einsum string; an Einsum; the seven numbers of a theta."""

Where = str | Sequence[str] | Callable[[str, nn.Module], bool]
"""Patterns of qualified names, as `*.mlp.*` (fnmatch: `*` also stands for dots), or a function of name and module."""

_NAMES_SHOWN = 6


def convert(
    model: nn.Module,
    structure: StructureLike | Mapping[str, StructureLike],
    where: Where | None = None,
    *,
    exclude: str | Sequence[str] = (),
    zero: str | Sequence[str] = (),
    project: bool = False,
    normalize: bool | None = None,
    gain: bool = True,
    implementation: str = "auto",
    generator: torch.Generator | None = None,
) -> Conversion:
    """Replace linear layers of a model by `EinsumLinear`, in place, and say what was done.

    structure: of every layer that is replaced, or a mapping from pattern to structure (the first pattern that
    matches a layer counts; `dense` leaves it). where: the layers to replace, by default every linear layer but
    output heads (HEADS in :mod:`einsearch.layers.convertible`). exclude: patterns of layers to leave. zero:
    patterns of layers that start at zero, for the outputs of residual branches.

    project: start from the dense weights, at their best structured approximation, instead of at random by
    the layer's rules. normalize: weight normalization; by default only where layers start at random, since
    the gains that make up for it would only repeat the norms of trained weights. gain, implementation,
    generator: as in :class:`EinsumLinear`.

    A layer keeps its bias (the very parameter), dtype, device, training flag and whether it is trained; one
    that the model has under several names is replaced once and stays shared. Layers whose weight is tied
    (an LM head to an embedding), subclasses of nn.Linear and weights that are not plain floating-point
    parameters are left, with the reason in the result. Make the optimizer, and wrap for several processes,
    after converting; :func:`einsearch.param_groups` has the learning-rate multipliers.

    Nothing is changed where EinsearchError is raised: for a pattern that matches no linear layer, a layer
    named without wildcards that cannot be replaced, a layer with hooks or parametrizations, which would be
    lost, no layer to replace, dense as the only structure, a structure that is none.
    """
    chosen = _assign(dense_layers(model), structure, where, _patterns(exclude))
    taken = [choice for choice in chosen if choice.einsum is not None]
    if not taken:
        raise EinsearchError(f"no layer is converted: {chosen[0].layer.name}: {chosen[0].reason}")
    zeros = _zeros(taken, _patterns(zero), project)
    made: list[tuple[DenseLayer, EinsumLinear, float | None]] = []
    for choice in taken:
        assert choice.einsum is not None
        dense = choice.layer
        try:
            layer = EinsumLinear(
                dense.d_in,
                dense.d_out,
                choice.einsum,
                bias=dense.bias is not None,
                normalize=not project if normalize is None else normalize,
                gain=gain,
                zero=dense.name in zeros,
                implementation=implementation,
                generator=generator,
                device=generator.device if generator is not None else dense.matrix.device,
                dtype=dense.matrix.dtype,
            ).to(dense.matrix.device)
            error = project_into(layer, dense.matrix) if project else None
        except EinsearchError as problem:
            raise EinsearchError(f"layer {dense.name}: {problem}") from None
        made.append((dense, layer, error))
    replaced = tuple(replace_layer(model, *each) for each in made)
    skipped = tuple(Skipped(name=c.layer.name, reason=c.reason) for c in chosen if c.einsum is None)
    return Conversion(replaced=replaced, skipped=skipped)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What becomes of a layer: its structure, or the reason to leave it."""

    layer: DenseLayer
    einsum: Einsum | None
    reason: str = ""


def _assign(
    layers: Sequence[DenseLayer],
    structure: StructureLike | Mapping[str, StructureLike],
    where: Where | None,
    exclude: Sequence[str],
) -> list[_Choice]:
    """A choice for every linear layer that is matched, or left by default."""
    rules = _rules(structure, where)
    by_default = where is None and not isinstance(structure, Mapping)
    first: dict[str, int] = {}
    for number, (pattern, _) in enumerate(rules):
        matched = [layer for layer in layers if _matches(layer, pattern)]
        if not matched:
            raise EinsearchError(_no_match(pattern, layers))
        for layer in matched:
            first.setdefault(layer.name, number)
        if isinstance(structure, Mapping) and number not in first.values():
            raise EinsearchError(f"pattern {pattern!r} matches only layers that an earlier pattern takes; put it first")
    choices: dict[str, _Choice] = {}
    for layer in layers:
        if layer.name not in first or (callable(where) and not any(where(name, layer.module) for name in layer.names)):
            continue
        exactly = any(not _is_broad(pattern) and _matches(layer, pattern) for pattern, _ in rules)
        choices[layer.name] = _choose(layer, rules[first[layer.name]][1], exactly=exactly, by_default=by_default)
    if not choices:
        raise EinsearchError(f"where chose none of the {len(layers)} linear layers: {_listed(layers)}")
    for pattern in exclude:
        excluded = [layer for layer in layers if _matches(layer, pattern)]
        if not excluded:
            raise EinsearchError(_no_match(pattern, layers))
        for layer in excluded:
            if layer.name in choices:
                choices[layer.name] = _Choice(layer, None, f"excluded by {pattern!r}")
    _refuse_altered(choices.values())
    return list(choices.values())


def _rules(structure: StructureLike | Mapping[str, StructureLike], where: Where | None) -> list[tuple[str, Einsum]]:
    """Patterns with their structures, in the order in which they count."""
    if isinstance(structure, Mapping):
        if where is not None:
            raise EinsearchError("the patterns are given in the mapping of structures and in where; give them once")
        if not structure:
            raise EinsearchError("the mapping of structures is empty; give a pattern and a structure, as {'*': 'btt'}")
        rules = [(pattern, as_einsum(value)) for pattern, value in structure.items()]
    else:
        patterns = ["*"] if where is None or callable(where) else _patterns(where)
        if not patterns:
            raise EinsearchError("where is empty; give a pattern, as '*.mlp.*', or leave it out for every linear layer")
        rules = [(pattern, as_einsum(structure)) for pattern in patterns]
    if all(einsum.factors == 1 for _, einsum in rules):
        raise EinsearchError("every structure is dense, which the layers are already; give another, as 'btt'")
    return rules


def _choose(layer: DenseLayer, einsum: Einsum, *, exactly: bool, by_default: bool) -> _Choice:
    if layer.unfit and exactly:
        raise EinsearchError(f"layer {layer.name} cannot be converted: {layer.unfit}; leave it out")
    if layer.unfit:
        return _Choice(layer, None, layer.unfit)
    if by_default and layer.is_head:
        return _Choice(layer, None, "an output head by its name; name it in `where` to convert it")
    return _Choice(layer, None, "dense is asked for") if einsum.factors == 1 else _Choice(layer, einsum)


def _refuse_altered(choices: Iterable[_Choice]) -> None:
    for choice in choices:
        if choice.einsum is not None and choice.layer.altered:
            raise EinsearchError(
                f"layer {choice.layer.name} has {choice.layer.altered}, which would be lost; remove them first, or "
                f"leave it out: exclude={choice.layer.name!r}"
            )


def _zeros(taken: Sequence[_Choice], patterns: Sequence[str], project: bool) -> set[str]:
    """Names of the layers that start at zero."""
    if patterns and project:
        raise EinsearchError("project starts layers from the dense weights and zero at zero; give one of the two")
    layers = [choice.layer for choice in taken]
    found: set[str] = set()
    for pattern in patterns:
        matched = {layer.name for layer in layers if _matches(layer, pattern)}
        if not matched:
            raise EinsearchError(f"zero: {_no_match(pattern, layers)}")
        found |= matched
    return found


@torch.no_grad()
def replace_layer(model: nn.Module, dense: DenseLayer, layer: EinsumLinear, error: float | None = None) -> Replaced:
    """Put a new layer at every place of the dense one in the model, with its bias and modes."""
    layer.requires_grad_(dense.module.get_parameter("weight").requires_grad)
    layer.bias = dense.bias
    layer.train(dense.module.training)
    before = dense.parameters
    for name in dense.names:
        parent_name, _, own = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        parent.register_module(own, layer)
        if isinstance(parent, nn.TransformerEncoderLayer):
            # Its fused inference reads the weights of its linears; this is how it is told to call them.
            parent.activation_relu_or_gelu = 0
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(layer is held for held in module.modules()):
            module.use_nested_tensor = False
    return Replaced(
        names=dense.names,
        operator=layer.operator,
        parameters_before=before,
        parameters=sum(parameter.numel() for parameter in layer.parameters()),
        relative_error=error,
    )


def as_einsum(structure: StructureLike) -> Einsum:
    """An einsum from any way to write one. Raises EinsearchError where it is none."""
    if isinstance(structure, str):
        return parse(structure)
    if isinstance(structure, Einsum):
        return structure
    if isinstance(structure, Sequence):
        return from_theta(*structure)
    raise EinsearchError(
        f"structure is a {type(structure).__name__}; give a family's name, a theta, an einsum string or an Einsum"
    )


def _patterns(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _is_broad(pattern: str) -> bool:
    """Whether a pattern may match several names; one that does not is a name."""
    return any(character in pattern for character in "*?[")


def _matches(layer: DenseLayer, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in layer.names)


def _no_match(pattern: str, layers: Sequence[DenseLayer]) -> str:
    hint = ""
    inside = [layer for layer in layers if any(name.startswith(f"{pattern}.") for name in layer.names)]
    if inside:
        hint = f"; {pattern!r} holds linear layers: write '{pattern}.*'"
    elif anywhere := [layer for layer in layers if _matches(layer, f"*.{pattern}")]:
        hint = f"; '*.{pattern}' matches {len(anywhere)} of them"
    return f"pattern {pattern!r} matches no linear layer; there are {_listed(layers)}{hint}"


def _listed(layers: Sequence[DenseLayer]) -> str:
    names = [layer.name for layer in layers]
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
