"""What `submit` and `attach` share."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from einsearch.jobs import Jobs

AddressOption = Annotated[
    str, typer.Option("--address", envvar="RAY_API_SERVER_ADDRESS", help="Job server of the cluster's head.")
]


def follow(jobs: Jobs, job: str, *, detach: bool = False) -> None:
    """Print the job's output until it ends, and exit with its code. Ctrl-C leaves it running."""
    again = f"einsearch attach {job} --address {jobs.address}"
    if detach:
        typer.echo(f"Follow it: {again}")
        return
    try:
        code = jobs.follow(job, _write)
    except KeyboardInterrupt:
        typer.echo(
            f"\nDetached; the job goes on. Follow it: {again}\nStop it: einsearch stop {job} --address {jobs.address}"
        )
        return
    if code:
        raise typer.Exit(code)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
