"""`einsearch attach`: follow a job that was submitted before."""

from __future__ import annotations

from typing import Annotated

import typer

from einsearch.cli.follow import AddressOption, follow
from einsearch.jobs import ADDRESS, Jobs


def attach(
    job: Annotated[str, typer.Argument(help="The job, as `einsearch submit` named it.")],
    address: AddressOption = ADDRESS,
) -> None:
    """Follow the output of a submitted study, from its beginning; Ctrl-C detaches."""
    follow(Jobs(address), job)
