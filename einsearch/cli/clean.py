"""`einsearch clean`: remove a study, or only its checkpoints."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from einsearch.cli.options import RunsOption, StoreOption, console
from einsearch.errors import EinsearchError
from einsearch.search.mirror import delete_mirror
from einsearch.search.study import RUNS, default_store_url
from einsearch.store import Store


def clean(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Only the checkpoints: results stay, resuming does not.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
) -> None:
    """Remove a study from the store with its files; studies that run are refused."""
    url = store or default_store_url(runs)
    folder = runs / study
    with Store.open(url, create=False) as opened:
        row = opened.study(study)
        if checkpoints and opened.lease(row.id) is not None:
            raise EinsearchError(f"study {study!r} is being run; stop it first")
        what = "the checkpoints" if checkpoints else "all results, checkpoints and reports"
        if not yes and not typer.confirm(f"Remove {what} of study {study}?"):
            raise typer.Exit(1)
        if not checkpoints:
            opened.delete_study(study)
    if not checkpoints:
        delete_mirror(url, study)
    target = folder / "checkpoints" if checkpoints else folder
    if target.exists():
        shutil.rmtree(target)
    console().print(f"Removed {what} of {study}.")
