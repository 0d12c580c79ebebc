"""`einsearch resume`: continue a stored study, with more budget if wanted."""

from __future__ import annotations

from typing import Annotated

import typer

from einsearch.cli.conduct import conduct
from einsearch.cli.options import (
    AddressOption,
    BackendOption,
    CpusPerTrialOption,
    DeterministicOption,
    DeviceOption,
    GpusPerTrialOption,
    JsonOption,
    LoggerOption,
    QuietOption,
    RunsOption,
    StorageOption,
    StoreOption,
    TimeoutOption,
    WorkersOption,
    latest_study,
)
from einsearch.search.backend import Backend
from einsearch.search.config import parse_flops
from einsearch.search.executor import SILENCE
from einsearch.search.ray_cluster import Needs
from einsearch.search.study import RUNS, Study, default_store_url


def resume(
    study: Annotated[
        str | None, typer.Argument(help="Name of the study; by default the latest.", show_default=False)
    ] = None,
    budget: Annotated[str | None, typer.Option(help="A new total budget in FLOPs.")] = None,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "local",
    address: AddressOption = None,
    cpus_per_trial: CpusPerTrialOption = 1.0,
    gpus_per_trial: GpusPerTrialOption = 0.0,
    storage: StorageOption = None,
    worker_timeout: TimeoutOption = SILENCE,
    logger: LoggerOption = None,
    deterministic: DeterministicOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Continue a stopped study from its checkpoints; with --budget, extend it."""
    url = store or default_store_url(runs)
    name = study or latest_study(url).name
    place = Backend(
        name=backend,
        workers=workers,
        address=address,
        needs=Needs(cpus=cpus_per_trial, gpus=gpus_per_trial),
        silence=worker_timeout,
        loggers=tuple(logger or ()),
    )
    place.require_answer()
    conduct(
        Study.load(name, store=url, runs=runs, device=place.device(device), here=place.here),
        backend=place,
        storage=storage,
        deterministic=deterministic,
        budget=parse_flops(budget) if budget is not None else None,
        quiet=quiet,
        as_json=json,
    )
