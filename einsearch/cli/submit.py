"""`einsearch submit`: a study as a job of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from einsearch.cli.follow import AddressOption, follow
from einsearch.job_order import Option, Order
from einsearch.jobs import ADDRESS, Jobs


def submit(
    context: typer.Context,
    address: AddressOption = ADDRESS,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the job's output.")] = False,
) -> None:
    """Send `einsearch run` with all further arguments to the head of a Ray cluster, and follow it.

    A study file, and files that --space and --data name, go along. Ctrl-C detaches: the job goes on. The study's files
    are in ~/einsearch-runs of the head, unless --runs is given.
    """
    asked = _parsed(context, "run")
    order = Order.of(list(_given(asked)), study_file=asked.params["study_file"])
    jobs = Jobs(address)
    job = jobs.submit(order)
    typer.echo(f"Job {job} at {jobs.address}")
    follow(jobs, job, detach=detach)


def _parsed(context: typer.Context, name: str) -> Any:
    """The arguments as the command reads them, which refuses what is wrong before anything is sent."""
    assert context.parent is not None
    commands: Any = context.parent.command
    command = commands.get_command(context.parent, name)
    return command.make_context(name, list(context.args), parent=context.parent)


def _given(asked: Any) -> Iterator[Option]:
    """The options that were written, each with its value."""
    for parameter in asked.command.params:
        if asked.get_parameter_source(parameter.name).name != "COMMANDLINE" or parameter.param_type_name != "option":
            continue
        value = asked.params[parameter.name]
        name = max(parameter.opts, key=len)
        if parameter.is_flag:
            yield name, None
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                yield name, str(each)
