"""`einsearch analyze EXPR`: what an einsum is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from einsearch.cli.options import console, print_json
from einsearch.errors import EinsearchError
from einsearch.space.analysis import BYTES, Analysis, Costs, costs
from einsearch.space.analysis import analyze as analysis_of
from einsearch.space.closed_forms import closed_forms
from einsearch.space.contained import contained_families
from einsearch.space.einsum import write_number
from einsearch.space.explicit import operator_at, parse_sizes
from einsearch.space.notation import parse_equation
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse, parse_structure
from einsearch.space.structure import Structure, factor_name
from einsearch.space.symbolic import greek_letters, latex_forms, symbolic_forms

_SIGNS = {"N": "N", "F": "F", "omega": "ω", "psi": "ψ", "nu": "ν"}


class Format(StrEnum):
    """How an analysis is printed."""

    table = "table"
    json = "json"


def analyze(
    expression: Annotated[
        str,
        typer.Argument(
            metavar="EXPR",
            help="A theta '(1/2|0|1/2|0|1/2|1/2|0)', a family 'btt(1/4, factors=3)', or an einsum string "
            "'ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2' (without exponents: closed forms only).",
        ),
    ],
    d_in: Annotated[list[int] | None, typer.Option(help="Input dimension; may be given several times.")] = None,
    d_out: Annotated[list[int] | None, typer.Option(help="Output dimensions; as many, or one; default: d_in.")] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Integer sizes of all indices, as 'a=24, g=32, e=48, f=64'.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Input vectors, for bytes and for the contraction tree.")] = 4096,
    dtype: Annotated[str, typer.Option(help=f"Type of the numbers, for bytes: {', '.join(BYTES)}.")] = "bf16",
    measure_rank: Annotated[
        bool, typer.Option("--measure-rank", help="Where no proof decides, measure the rank of random factors.")
    ] = False,
    symbolic: Annotated[
        bool, typer.Option("--symbolic", help="Closed forms for any exponents, also as LaTeX.")
    ] = False,
    format: Annotated[Format, typer.Option(help="table or json.")] = Format.table,
) -> None:
    """Say what an einsum is: taxonomy, families, costs, rank, exactly."""
    structure = parse_structure(expression)
    bare = "->" in expression and not parse_equation(expression.strip()).values
    found = None if bare else analysis_of(parse(expression))
    operators = _operators(expression, found, d_in or [], d_out or [], sizes)
    counted = [costs(each, batch, dtype, measure_rank) for each in operators]
    if found is None and operators:
        found = analysis_of(operators[0].einsum)
    if format is Format.json:
        print_json(_as_json(structure, found, counted, symbolic or found is None))
        return
    out = console()
    if found is not None:
        out.print(_facts_table(found, approximate=bare))
    if symbolic or found is None:
        if found is not None:
            out.print()
        _print_symbolic(out, structure)
    if counted:
        out.print()
        out.print(_costs_table(counted, dtype))


def _operators(
    expression: str, found: Analysis | None, d_in: list[int], d_out: list[int], sizes: str | None
) -> list[Operator]:
    if d_out and not d_in:
        raise EinsearchError(f"d-out {d_out[0]} without d-in; give --d-in too")
    if len(d_out) not in (0, 1, len(d_in)):
        raise EinsearchError(f"{len(d_in)} values of d-in and {len(d_out)} of d-out; give as many, or one d-out")
    if sizes is not None:
        if len(d_in) > 1:
            raise EinsearchError(f"sizes are those of one layer, but {len(d_in)} values of d-in are given; give one")
        first_in = d_in[0] if d_in else None
        return [operator_at(expression, parse_sizes(sizes), first_in, d_out[0] if d_out else None)]
    pairs = list(zip(d_in, d_out * len(d_in) if len(d_out) == 1 else d_out or d_in, strict=True))
    if pairs and found is None:
        raise EinsearchError(
            "an einsum string without exponents has no sizes; give exponents (`; a=1/2, ...`) or --sizes"
        )
    return [operator(found.einsum, *pair) for pair in pairs if found is not None]


def _facts_table(found: Analysis, approximate: bool) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    structure, point = found.einsum.structure, found.taxonomy
    letter = greek_letters(structure)
    exponents = ", ".join(f"{letter[index]} = {write_number(value)}" for index, value in found.einsum.exponents)
    table.add_row("einsum", str(structure))
    table.add_row("exponents", exponents + (" (logarithms of the sizes, to 1/1000)" if approximate else ""))
    if found.canonical != found.einsum:
        table.add_row("canonical", str(found.canonical))
    for n, membership in enumerate(found.classification.families):
        table.add_row("" if n else "family", f"[bold]{membership.kind.value}[/]: {membership.reason}")
    for n, membership in enumerate(found.classification.traits):
        table.add_row("" if n else "traits", f"{membership.kind.value}: {membership.reason}")
    table.add_row("ω sharing", f"{write_number(point.omega)}  = F - N")
    table.add_row("ψ rank", f"{write_number(point.psi)}  = the minimum cut: {_cut_text(found)}")
    table.add_row("ν compute", f"{write_number(point.nu)}  = F - 1; dense has 1")
    table.add_row("N", f"{write_number(point.parameters)}  parameters: d^N")
    order = " ".join(["x", *(factor_name(f) for f in found.order)])
    table.add_row("F", f"{write_number(point.macs)}  MACs per input vector: d^F, contracting in the order {order}")
    return table


def _cut_text(found: Analysis) -> str:
    letter = greek_letters(found.einsum.structure)
    crossed = " + ".join(letter[index] for index in found.cut.indices) or "no index"
    side = ", ".join(["x", *(factor_name(f) for f in found.cut.factors)])
    return f"{crossed} (between {side} and the rest)"


def _print_symbolic(out: Console, structure: Structure) -> None:
    forms = closed_forms(structure)
    texts = forms.texts(greek_letters(structure))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("einsum", str(structure))
    held = ", ".join(family.value for family in contained_families(structure)) or "none"
    table.add_row("holds", f"{held} (with some indices left out)")
    if reason := structure.reducible_because:
        table.add_row("reducible", reason)
    for name, text in texts.items():
        table.add_row(_SIGNS[name], text)
    for text in latex_forms(structure).values():
        table.add_row("LaTeX", text)
    out.print(table)


def _costs_table(counted: list[Costs], dtype: str) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for each in counted:
        table.add_column(f"{each.operator.sizes.d_in} -> {each.operator.sizes.d_out}", justify="right", overflow="fold")
    rows: list[tuple[str, list[str]]] = [
        ("sizes", [str(each.operator) for each in counted]),
        ("parameters", [f"{each.parameters:,}" for each in counted]),
        ("  of dense", [f"{each.parameters / each.dense_parameters:.4f}" for each in counted]),
        ("MACs per vector", [f"{each.macs:,}" for each in counted]),
        ("  of dense", [f"{each.macs / each.dense_parameters:.4f}" for each in counted]),
        ("rank", [_rank_text(each) for each in counted]),
        ("  because", [each.rank.reason for each in counted]),
        (f"bytes, {counted[0].batch} vectors, {dtype}", [f"{each.bytes:,}" for each in counted]),
        ("  of dense", [f"{each.bytes / each.dense_bytes:.4f}" for each in counted]),
        ("FLOPs per byte", [f"{each.intensity:.1f}  (dense {each.dense_intensity:.1f})" for each in counted]),
        ("cheapest tree", [_tree_text(each) for each in counted]),
        ("merging pays", [_merging_text(each) for each in counted]),
    ]
    for name, cells in rows:
        table.add_row(name, *cells)
    return table


def _rank_text(each: Costs) -> str:
    how = "proven" if each.rank.proven else "measured" if each.rank.exact else "bounds; --measure-rank decides"
    return f"{each.rank} of {min(each.operator.sizes.d_in, each.operator.sizes.d_out)} ({how})"


def _tree_text(each: Costs) -> str:
    return f"{each.tree}: {f'{each.tree.macs_per_vector:,.1f}'.removesuffix('.0')} MACs per vector"


def _merging_text(each: Costs) -> str:
    return "never" if each.merges_from is None else f"from {each.merges_from:,} vectors on"


def _as_json(structure: Structure, found: Analysis | None, counted: list[Costs], symbolic: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "einsum": str(structure),
        "kinds": {letter: index.name for index, letter in structure.letters().items()},
        "reducible": structure.reducible_because,
    }
    if found is not None:
        point = found.taxonomy
        data |= {
            "exponents": {structure_letter: str(value) for structure_letter, value in _exponents(found)},
            "canonical": str(found.canonical),
            "omega": str(point.omega),
            "psi": str(point.psi),
            "nu": str(point.nu),
            "N": str(point.parameters),
            "F": str(point.macs),
            "order": [factor_name(f) for f in found.order],
            "cut": {
                "indices": [index.name for index in found.cut.indices],
                "x_side": [factor_name(f) for f in found.cut.factors],
            },
            "families": {m.kind.value: m.reason for m in found.classification.families},
            "traits": {m.kind.value: m.reason for m in found.classification.traits},
        }
    if symbolic:
        data["symbolic"] = {
            "holds": [family.value for family in contained_families(structure)],
            "text": closed_forms(structure).texts(),
            "sympy": {name: str(form) for name, form in symbolic_forms(structure).items()},
            "latex": latex_forms(structure),
        }
    if counted:
        data["layers"] = [_costs_as_json(each) for each in counted]
    return data


def _exponents(found: Analysis) -> list[tuple[str, Any]]:
    letter = found.einsum.structure.letters()
    return [(letter[index], value) for index, value in found.einsum.exponents]


def _costs_as_json(each: Costs) -> dict[str, Any]:
    letter = each.operator.einsum.structure.letters()
    sizes = each.operator.sizes
    return {
        "d_in": sizes.d_in,
        "d_out": sizes.d_out,
        "padded_in": sizes.padded_in,
        "padded_out": sizes.padded_out,
        "sizes": {letter[index]: n for index, n in sizes.of},
        "parameters": each.parameters,
        "macs_per_vector": each.macs,
        "dense_macs_per_vector": each.dense_parameters,
        "rank": {
            "bound": each.rank.bound,
            "certified": each.rank.certified,
            "measured": each.rank.measured.rank if each.rank.measured else None,
            "exact": each.rank.exact,
            "proven": each.rank.proven,
            "reason": each.rank.reason,
        },
        "batch": each.batch,
        "bytes": each.bytes,
        "dense_bytes": each.dense_bytes,
        "flops_per_byte": each.intensity,
        "dense_flops_per_byte": each.dense_intensity,
        "tree": str(each.tree),
        "tree_macs_per_vector": each.tree.macs_per_vector,
        "merges_from": each.merges_from,
    }
