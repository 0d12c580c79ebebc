"""`einsearch stop`: end a submitted job in order."""

from __future__ import annotations

from typing import Annotated

import typer

from einsearch.cli.follow import AddressOption
from einsearch.jobs import ADDRESS, Jobs


def stop(
    job: Annotated[str, typer.Argument(help="The job, as `einsearch submit` named it.")],
    address: AddressOption = ADDRESS,
) -> None:
    """Ask a submitted study to stop: running trials write checkpoints, and submitting it again continues it."""
    jobs = Jobs(address)
    if jobs.stop(job):
        typer.echo(f"Job {job} was asked to stop; `einsearch attach {job} --address {jobs.address}` shows it end.")
    else:
        typer.echo(f"Job {job} had ended already: {jobs.status(job)}.")
