"""What a conversion did to a model: layers replaced with their costs before and after, layers left with reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from einsearch.space.classify import label
from einsearch.space.operator import Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A layer that is an EinsumLinear now.

    names: all that the module has in the model. parameters: of the layer with bias and gains. MACs are per
    input vector. relative_error: Frobenius norm of what the layer's matrix is off the dense one, over that
    one's; None where it did not start from it.
    """

    names: tuple[str, ...]
    operator: Operator
    parameters_before: int
    parameters: int
    relative_error: float | None

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def d_in(self) -> int:
        return self.operator.sizes.d_in

    @property
    def d_out(self) -> int:
        return self.operator.sizes.d_out

    @property
    def macs_before(self) -> int:
        return self.d_in * self.d_out

    @property
    def macs(self) -> int:
        return self.operator.macs


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A linear layer that stays dense, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What :func:`einsearch.convert` did; `str()` is a table, with layers that differ in numbers alone in one line."""

    replaced: tuple[Replaced, ...]
    skipped: tuple[Skipped, ...]

    @property
    def parameters_before(self) -> int:
        """Of the replaced layers, when they were dense."""
        return sum(layer.parameters_before for layer in self.replaced)

    @property
    def parameters(self) -> int:
        """Of the replaced layers now."""
        return sum(layer.parameters for layer in self.replaced)

    @property
    def macs_before(self) -> int:
        """Per input vector of every replaced layer, when they were dense."""
        return sum(layer.macs_before for layer in self.replaced)

    @property
    def macs(self) -> int:
        """Per input vector of every replaced layer now."""
        return sum(layer.macs for layer in self.replaced)

    def __str__(self) -> str:
        projected = any(layer.relative_error is not None for layer in self.replaced)
        rows: list[tuple[str, ...]] = [
            ("layer", "", "x to y", "structure", "sizes", "parameters", "of dense", "MACs", "of dense", "error")
        ]
        groups: dict[tuple[str, str], list[Replaced]] = {}
        for layer in self.replaced:
            groups.setdefault((_pattern(layer.name), str(layer.operator)), []).append(layer)
        rows += [_row(name, layers) for (name, _), layers in groups.items()]
        rows.append(
            (
                f"{len(self.replaced)} layer{'s' if len(self.replaced) != 1 else ''}",
                *("", "", "", ""),
                f"{self.parameters:,}",
                f"{self.parameters / self.parameters_before:.3f}",
                f"{self.macs:,}",
                f"{self.macs / self.macs_before:.3f}",
                "",
            )
        )
        lines = _aligned(rows if projected else [row[:-1] for row in rows])
        return "\n".join([*lines, *self._left_dense()])

    def _left_dense(self) -> list[str]:
        reasons: dict[tuple[str, str], list[str]] = {}
        for layer in self.skipped:
            reasons.setdefault((_pattern(layer.name), _pattern(layer.reason)), []).append(layer.name)
        return [f"left dense: {name}{_times(names)}: {reason}" for (name, reason), names in reasons.items()]


def _row(name: str, layers: Sequence[Replaced]) -> tuple[str, ...]:
    first = layers[0]
    errors = [layer.relative_error for layer in layers if layer.relative_error is not None]
    shown = ""
    if errors:
        least, most = f"{min(errors):.4f}", f"{max(errors):.4f}"
        shown = least if least == most else f"{least} to {most}"
    return (
        name if len(layers) > 1 else first.name,
        _times(layers).strip(),
        f"{first.d_in} to {first.d_out}",
        label(first.operator.einsum),
        str(first.operator),
        f"{first.parameters:,}",
        f"{first.parameters / first.parameters_before:.3f}",
        f"{first.macs:,}",
        f"{first.macs / first.macs_before:.3f}",
        shown,
    )


def _times(layers: Sequence[object]) -> str:
    return f" x{len(layers)}" if len(layers) > 1 else ""


def _pattern(name: str) -> str:
    """A name with `*` for every part that is a number."""
    return re.sub(r"(?<![^.])\d+(?=\.|$)", "*", name)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = 5
    lines = []
    for row in rows:
        cells = [c.ljust(w) if n < words else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cell for cell, width in zip(cells, widths, strict=True) if width).rstrip())
    return lines
