"""`einsearch export KEY -o DIR`: a trial as a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from einsearch.cli.options import RunsOption, StoreOption, console
from einsearch.search.study import RUNS
from einsearch.trial_export import export_trial


def export(
    key: Annotated[str, typer.Argument(help="A trial's key, or the beginning of one.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write: new, empty, or an export that is replaced.")
    ],
    study: Annotated[str | None, typer.Option(help="Name of the study; by default the latest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the trials with that key, the one with this seed.")] = None,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
) -> None:
    """Write a trial to a folder: its structures, its trained weights and how to use them."""
    folder = export_trial(key, output, study=study, seed=seed, store=store, runs=runs)
    console().print(f"Export: {folder}", soft_wrap=True)
