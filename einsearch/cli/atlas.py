"""`einsearch atlas`: a page on which to look around in the space of two factors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from einsearch.cli.options import console
from einsearch.draw.atlas import FEWEST, MOST, SAMPLES


def atlas(
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("atlas.html"),
    samples: Annotated[int, typer.Option(help=f"How many points to show; {FEWEST} to {MOST}.")] = SAMPLES,
    seed: Annotated[int, typer.Option(help="Of the choice among the points of large structures.")] = 0,
) -> None:
    """Write an interactive page of the (omega, psi, nu) space of two factors."""
    from einsearch.draw.atlas_page import write_atlas  # Plotly, which help and bad options do not need

    console().print(f"Atlas: {write_atlas(output, samples, seed)}", soft_wrap=True)
