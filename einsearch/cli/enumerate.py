"""`einsearch enumerate`: every irreducible structure of k factors."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import count as numbers
from typing import Annotated, Any

import typer

from einsearch.cli.options import console
from einsearch.space.closed_forms import closed_forms
from einsearch.space.constraint import Constraint
from einsearch.space.contained import contained_families
from einsearch.space.einsum import Einsum
from einsearch.space.enumeration import count_structures, require_enumerable, structures, supports
from einsearch.space.feasible import NAMES, where
from einsearch.space.structure import Structure

_COLUMNS = ("number", "indices", "einsum", "kinds", "omega", "psi", "nu", "N", "F", "contains", "transpose")


class UpTo(StrEnum):
    """Which structures count as one."""

    renaming = "renaming"
    transpose = "transpose"


class Format(StrEnum):
    """How structures are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def enumerate(
    factors: Annotated[int, typer.Option(help="Number of factors k.")] = 2,
    max_indices: Annotated[int | None, typer.Option(help="Most indices of a structure.", show_default="all")] = None,
    up_to: Annotated[UpTo, typer.Option(help="One of all that are equal up to this.")] = UpTo.renaming,
    where: Annotated[
        str | None,
        typer.Option(
            help="Only structures with exponents, all positive, for which this holds: a condition on omega, psi, nu "
            "and indices, as 'omega == 0 and psi == 1 and nu < 1/2'. Such exponents are printed."
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="table, json or csv.")] = Format.table,
    count: Annotated[bool, typer.Option("--count", help="Only count them, by number of indices.")] = False,
) -> None:
    """List every irreducible structure of so many factors, each once."""
    require_enumerable(factors, max_indices)
    condition = None if where is None else Constraint.parse(where, NAMES)
    transpose = up_to is UpTo.transpose
    if count and condition is None:
        _print_counts(count_structures(factors, max_indices, transpose), factors, max_indices, format)
        return
    found = _found(structures(factors, max_indices, transpose), condition)
    if count:
        counts: dict[int, int] = {}
        for structure, _ in found:
            counts[len(structure.indices)] = counts.get(len(structure.indices), 0) + 1
        _print_counts(counts, factors, max_indices, format)
        return
    rows = (_row(number, structure, einsum) for number, (structure, einsum) in zip(numbers(1), found, strict=False))
    {Format.table: _print_table, Format.json: _print_json, Format.csv: _print_csv}[format](rows, condition is not None)


def _found(every: Iterator[Structure], condition: Constraint | None) -> Iterator[tuple[Structure, Einsum | None]]:
    if condition is None:
        return ((structure, None) for structure in every)
    return ((structure, einsum) for structure, einsum in where(every, condition))


def _row(number: int, structure: Structure, einsum: Einsum | None) -> dict[str, Any]:
    forms = closed_forms(structure).texts()
    transposed = structure.transpose().canonical()
    row: dict[str, Any] = {
        "number": number,
        "indices": len(structure.indices),
        "einsum": str(structure),
        "kinds": [index.name for index in structure.indices],
        "omega": forms["omega"],
        "psi": forms["psi"],
        "nu": forms["nu"],
        "N": forms["N"],
        "F": forms["F"],
        "contains": [family.value for family in contained_families(structure)],
        "transpose": "itself" if transposed == structure else str(transposed),
    }
    return row if einsum is None else row | {"exponents": einsum.equation().partition("; ")[2]}


def _print_table(rows: Iterable[dict[str, Any]], exponents: bool) -> None:
    """Plain lines, each printed as soon as it is known; columns are as wide as entries of two factors need."""
    widths = {"number": 6, "indices": 7, "einsum": 20, "kinds": 27, "contains": 51}
    heads = {"number": "#", "kinds": "kinds of index", "contains": "holds"}
    names = [*widths, *(("exponents",) if exponents else ()), "omega, psi, nu"]
    sys.stdout.write("  ".join(f"{heads.get(name, name):<{widths.get(name, 0)}}" for name in names).rstrip() + "\n")
    found = False
    for row in rows:
        found = True
        shown = row | {"kinds": " ".join(row["kinds"]), "contains": ", ".join(row["contains"]) or "-"}
        cells = [
            f"{shown[name]:{'>' if name in ('number', 'indices') else '<'}{width}}" for name, width in widths.items()
        ]
        if exponents:
            cells.append(row["exponents"])
        forms = f"ω = {row['omega']}; ψ = {row['psi']}; ν = {row['nu']}"
        sys.stdout.write("  ".join([*cells, forms]) + "\n")
    if not found:
        sys.stdout.write("none\n")


def _print_json(rows: Iterable[dict[str, Any]], exponents: bool) -> None:
    """One JSON array, an entry a line."""
    opened = False
    for row in rows:
        sys.stdout.write(("," if opened else "[") + "\n" + json.dumps(row, ensure_ascii=False))
        opened = True
    sys.stdout.write("\n]\n" if opened else "[]\n")


def _print_csv(rows: Iterable[dict[str, Any]], exponents: bool) -> None:
    writer = csv.DictWriter(sys.stdout, [*_COLUMNS, *(("exponents",) if exponents else ())], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "; ".join(value) if isinstance(value, list) else value for name, value in row.items()})


def _print_counts(counts: dict[int, int], factors: int, max_indices: int | None, format: Format) -> None:
    if format is Format.json:
        sys.stdout.write(json.dumps({"factors": factors, "structures": counts, "total": sum(counts.values())}) + "\n")
    elif format is Format.csv:
        sys.stdout.write("indices,structures\n" + "".join(f"{m},{n}\n" for m, n in counts.items()))
    else:
        out = console()
        for m, n in counts.items():
            out.print(f"{m:>3} indices  {n:>12,}")
        out.print(
            f"{'all':>3} {' ':7}  {sum(counts.values()):>12,}  (of {supports(factors, max_indices):,} sets of kinds)"
        )
