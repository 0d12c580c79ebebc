"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from einsearch.errors import EinsearchError

if TYPE_CHECKING:
    from einsearch.store import StudyRow

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="URL of the SQL store; EINSEARCH_STORE, else sqlite in the runs folder."),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder for the store, data cache, checkpoints and reports.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Training processes; by default one a core, or one a GPU.")
]
BackendOption = Annotated[str, typer.Option("--backend", help="Where trials train: local, ray or tune.")]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT; by default Ray is started on this machine."),
]
CpusPerTrialOption = Annotated[float, typer.Option(help="Cores that a trial occupies on a Ray cluster.")]
GpusPerTrialOption = Annotated[
    float, typer.Option(help="GPUs that a trial occupies on a Ray cluster; 0.25: four on one.")
]
StorageOption = Annotated[
    str | None, typer.Option(help="Where checkpoints are written: a folder that all nodes see, or s3://...")
]
TimeoutOption = Annotated[
    float, typer.Option("--worker-timeout", help="Seconds without progress after which a worker is given up.")
]
LoggerOption = Annotated[
    list[str] | None,
    typer.Option("--logger", help="Of Ray Tune, with --backend tune: wandb or mlflow; may be repeated."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
DeterministicOption = Annotated[
    bool,
    typer.Option("--deterministic", help="Commit results in order, so that the whole study repeats."),
]

_WIDE = 170


def console(quiet: bool = False) -> Console:
    """Where people read: the terminal, or wide plain lines where there is none."""
    if sys.stdout.isatty():
        return Console(quiet=quiet, highlight=False)
    return Console(quiet=quiet, highlight=False, width=_WIDE)


def print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def latest_study(url: str) -> StudyRow:
    """The study that was begun last; EinsearchError where there is none."""
    from einsearch.store import Store

    with Store.open(url, create=False) as store:
        studies = store.studies()
        if not studies:
            raise EinsearchError(f"there is no study in {store.url} yet; begin one with `einsearch run`")
        return studies[-1]
