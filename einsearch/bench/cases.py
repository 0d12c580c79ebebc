"""What is measured: layers, widths, tokens, and the ways to compute each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch

from einsearch.bench.place import Place
from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS, Activations
from einsearch.space.execution import execution_plan
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a layer is computed. transposed: activations are turned before and after, as a drop-in has to."""

    implementation: str
    activations: Activations
    transposed: bool = False

    def __str__(self) -> str:
        return f"{self.implementation}, {self.activations}" + (", transposed before and after" * self.transposed)


LINEAR = Way(implementation="nn.Linear", activations="row-major")
"""The baseline: torch's own layer."""

DENSE = Way(implementation="dense", activations="feature-major")
"""W @ X, the same product on feature-major activations."""


def chosen_implementations(names: Sequence[str], known: Mapping[str, object] = IMPLEMENTATIONS) -> tuple[str, ...]:
    """The implementations to compare: those named, or all that are known. Raises EinsearchError for an unknown one."""
    for name in names:
        if name not in known:
            raise EinsearchError(f"unknown implementation {name!r}; known: {', '.join(known)}")
    return tuple(dict.fromkeys(names)) or tuple(known)


def ways(names: Iterable[str]) -> tuple[Way, ...]:
    """Every implementation on the activations that it is made for, and on row-major ones, as most models have."""
    found = []
    for name in names:
        implementation = IMPLEMENTATIONS[name]
        native: list[Activations] = []
        if implementation.row_major is not None:
            native.append("row-major")
        if implementation.feature_major is not None:
            native.append("feature-major")
        found += [Way(implementation=name, activations=layout) for layout in native]
        if "row-major" not in native:
            found.append(Way(implementation=name, activations="row-major", transposed=True))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Layers of one width at one number of tokens: they are timed in turn, with dense among them.

    layers: texts that :func:`einsearch.space.parse.parse` reads.
    """

    layers: tuple[str, ...]
    d: int
    tokens: int

    def __post_init__(self) -> None:
        for name in ("d", "tokens"):
            if getattr(self, name) < 1:
                raise EinsearchError(f"{name} is {getattr(self, name)}; it must be at least 1")

    def operators(self) -> dict[str, Operator]:
        """The operator of every layer."""
        return {layer: operator(parse(layer), self.d, self.d) for layer in self.layers}

    def require_memory(self, place: Place) -> None:
        """EinsearchError where the tensors of the largest layer need more memory than there is."""
        if place.device.type == "cuda":
            free = torch.cuda.mem_get_info(place.device)[0]
        else:
            free = psutil.virtual_memory().available
        needed = place.dtype.itemsize * (6 * self.d**2 + 8 * self.tokens * self.d)
        if needed <= free:  # a layer is planned only where dense fits
            values = max(execution_plan(each).values_moved for each in self.operators().values())
            needed += place.dtype.itemsize * 2 * self.tokens * values
        if needed > free:
            raise EinsearchError(
                f"d {self.d} with {self.tokens} tokens needs about {needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are "
                "free; give a smaller d or fewer tokens"
            )


def cases(layers: Sequence[str], widths: Sequence[int], tokens: Sequence[int]) -> tuple[Case, ...]:
    """Every width with every number of tokens. Raises EinsearchError for text that is no layer and sizes below 1."""
    for layer in layers:
        parse(layer)
    named = tuple(dict.fromkeys(layers))
    return tuple(
        Case(layers=named, d=d, tokens=count) for d in dict.fromkeys(widths) for count in dict.fromkeys(tokens)
    )
