"""The diagram as text, for a terminal: which vertex carries which index."""

from __future__ import annotations

from collections.abc import Iterator

from einsearch.draw.diagram import Diagram, write_fraction
from einsearch.space.classify import Membership, families_of, label
from einsearch.space.operator import Operator
from einsearch.space.structure import Structure
from einsearch.space.taxonomy import taxonomy


def text_diagram(diagram: Diagram) -> str:
    """One line a vertex, in the order of contraction; one column an index, with exponent and size above it.

    ● where the vertex carries the index, │ where the index passes by. Without sizes there are letters alone.
    """
    operator = diagram.operator
    foot = [membership_reason(diagram)] if operator is None else [_costs(operator)]
    return "\n".join([headline(diagram), "", *_chart(diagram), "", *foot])


def headline(diagram: Diagram) -> str:
    """The family, and where the operator lies in the taxonomy.

    >>> from einsearch.space.parse import parse
    >>> headline(Diagram.of(parse("btt"), 64, 64))
    'BTT rank 1: ω 0, ψ 1, ν 1/2'
    """
    if diagram.operator is None:
        return _membership(diagram.structure).kind.value
    einsum = diagram.operator.einsum
    found = taxonomy(einsum)
    values = {"ω": found.omega, "ψ": found.psi, "ν": found.nu}
    return f"{label(einsum)}: " + ", ".join(f"{symbol} {write_fraction(value)}" for symbol, value in values.items())


def membership_reason(diagram: Diagram) -> str:
    """Why the structure is of its family; reasons are about the canonical form, so that is said where it is another."""
    structure = diagram.structure
    renamed = "" if structure == structure.canonical() else " (in the canonical names of the factors)"
    return _membership(structure).reason + renamed


def _membership(structure: Structure) -> Membership:
    return next(families_of(structure.canonical()))


def _chart(diagram: Diagram) -> Iterator[str]:
    letters, exponents, sizes = diagram.letters, diagram.exponents, diagram.sizes
    columns = []
    for index in diagram.structure.indices:
        held = diagram.columns(index)
        head = [letters[index]]
        if diagram.operator:
            head += [write_fraction(exponents[index]), str(sizes[index])]
        marks = ["●" if n in held else "│" if held[0] < n < held[-1] else "" for n in range(len(diagram.vertices))]
        width = max(map(len, head))
        columns.append([cell.ljust(width) for cell in (*head, *marks)])
    blank = [""] * (len(columns[0]) - len(diagram.vertices))
    for name, *row in zip([*blank, *diagram.vertices], *columns, strict=True):
        yield "  ".join([f"  {name:<3}", *row]).rstrip()


def _costs(operator: Operator) -> str:
    sizes = operator.sizes
    shape = f"{sizes.d_in} → {sizes.d_out}"
    if operator.padded:
        shape += f" (padded to {sizes.padded_in} → {sizes.padded_out})"
    counts = f"{operator.parameters:,} parameters, {operator.macs:,} MACs (dense {sizes.d_in * sizes.d_out:,})"
    return f"{shape}: {counts}, rank ≤ {operator.rank_bound:,}"
