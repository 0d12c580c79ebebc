"""`einsearch clean`: remove a study, or only its checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from einsearch.cli.options import RunsOption, StoreOption, console
from einsearch.errors import EinsearchError
from einsearch.proxy.location import parse_location, remove
from einsearch.search.mirror import delete_mirror
from einsearch.search.study import RUNS, default_store_url, is_alive, this_process
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
        what = "the checkpoints" if checkpoints else "all results, checkpoints and reports"
        if not yes and not typer.confirm(f"Remove {what} of study {study}?"):
            raise typer.Exit(1)
        # With the lease nobody runs the study meanwhile, and that of a driver that died is in nobody's way.
        epoch = opened.acquire_lease(row.id, owner=this_process(), alive=is_alive)
        try:
            _remove(folder / "checkpoints" if checkpoints else folder)
            for trial in opened.trials(row.id):
                # With --storage they lie elsewhere; those of another study, which a trial may name, stay.
                if trial.checkpoint and f"/{study}/checkpoints/" in trial.checkpoint:
                    remove(parse_location(trial.checkpoint))
        finally:
            opened.release_lease(row.id, epoch)
        if not checkpoints:
            opened.delete_study(study)
            delete_mirror(url, study)
    console().print(f"Removed {what} of {study}.")


def _remove(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise EinsearchError(f"cannot remove {folder}: {error.strerror}; remove it by hand") from error
