"""`einsearch draw EXPR`: what a structure looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from einsearch.cli.options import console
from einsearch.draw.diagram import Diagram
from einsearch.draw.file import check_path, write_picture
from einsearch.draw.picture import picture_dimension
from einsearch.draw.text import text_diagram
from einsearch.errors import EinsearchError
from einsearch.space.parse import parse, parse_structure

_DIMENSION = 64


def draw(
    expression: Annotated[
        str,
        typer.Argument(
            metavar="EXPR",
            help="A family, a theta, or an einsum string; without exponents only the network is drawn.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to draw to: .svg, .png or .html; by default text.")
    ] = None,
    d_in: Annotated[
        int | None,
        typer.Option(
            help="Input dimension; by default 64, in a picture what shows the structure best.", show_default=False
        ),
    ] = None,
    d_out: Annotated[int | None, typer.Option(help="Output dimension; by default d_in.", show_default=False)] = None,
) -> None:
    """Draw a structure: as text, or as a picture of its diagram and its matrices."""
    if output is not None:
        check_path(output)
    diagram = _diagram(expression, d_in, d_out, picture=output is not None)
    if output is None:
        typer.echo(text_diagram(diagram))
    else:
        console().print(f"Picture: {write_picture(diagram, output)}", soft_wrap=True)


def _diagram(expression: str, d_in: int | None, d_out: int | None, picture: bool) -> Diagram:
    if "->" in expression and ";" not in expression:
        if d_in is not None or d_out is not None:
            raise EinsearchError(
                f"{expression!r} has no exponents, so dimensions give no sizes; add exponents, as `; a=1/2, b=1/2`, "
                "or leave out --d-in and --d-out"
            )
        return Diagram(parse_structure(expression))
    einsum = parse(expression)
    given = d_in if d_in is not None else d_out
    if given is None:
        given = picture_dimension(einsum) if picture else _DIMENSION
    return Diagram.of(einsum, given if d_in is None else d_in, given if d_out is None else d_out)
