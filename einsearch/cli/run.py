"""`einsearch run`: begin a study, or continue the same one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

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
)
from einsearch.search.backend import Backend
from einsearch.search.config import DEFAULT_BUDGET, StudyConfig, parse_flops, read_study_file, write_flops
from einsearch.search.executor import SILENCE
from einsearch.search.ray_cluster import Needs
from einsearch.search.study import RUNS, Study


def run(
    study_file: Annotated[
        Path | None, typer.Argument(help="A study file (YAML); options override its fields.", show_default=False)
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(help="two-factor (default), paper, btt, three-factor, all-sites, moe, or a .yaml file."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study; by default made of space and budget.")] = None,
    budget: Annotated[
        str | None, typer.Option(help=f"Training FLOPs, never exceeded; default {write_flops(DEFAULT_BUDGET)}.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A text file or folder; default: Python's standard library.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of proposals, initialisation and batches.")] = None,
    sampler: Annotated[str | None, typer.Option(help="tpe (default), random, gp or nsga2.")] = None,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Search for structures that beat dense, within a FLOP budget. The same command continues its study."""
    config = read_study_file(study_file) if study_file else StudyConfig()
    changes: dict[str, Any] = {
        "space": space,
        "budget": parse_flops(budget) if budget is not None else None,
        "data": str(data.expanduser().absolute()) if data is not None else None,
        "seed": seed,
        "sampler": sampler,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if study is not None or (changes and study_file is None):
        changes["name"] = study or ""
    config = replace(config, **changes)
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
        Study.open(config, store=store, runs=runs, device=place.device(device), here=place.here),
        backend=place,
        storage=storage,
        deterministic=deterministic,
        dry_run=dry_run,
        quiet=quiet,
        as_json=json,
    )
