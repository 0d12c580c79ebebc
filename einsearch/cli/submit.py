"""`einsearch submit`: a study as a job of a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from einsearch.cli.follow import AddressOption, follow
from einsearch.jobs import ADDRESS, Jobs


def submit(
    context: typer.Context,
    address: AddressOption = ADDRESS,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the job's output.")] = False,
) -> None:
    """Send `einsearch run` with all further arguments to the head of a Ray cluster, and follow it.

    Ctrl-C detaches: the job goes on. The study's files are in ~/einsearch-runs of the head, unless --runs is given.
    """
    jobs = Jobs(address)
    job = jobs.submit(context.args)
    typer.echo(f"Job {job} at {address}")
    follow(jobs, job, detach=detach)
