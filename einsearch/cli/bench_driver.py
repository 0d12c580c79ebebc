"""`einsearch bench driver`: how many workers one driver can keep busy."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from einsearch.bench.machine import Machine
from einsearch.bench.record import check_file, write_record
from einsearch.cli.display import PlainDisplay
from einsearch.cli.options import console
from einsearch.errors import EinsearchError
from einsearch.search.driver import Driver
from einsearch.search.load import Load, Measured, delete_load, run_load
from einsearch.store.engine import parse_url, shown

SIMULATED = (
    "Simulated: nothing is trained, and losses are made up. Only the driver, the store and the sampler are real."
)


def bench_driver(
    workers: Annotated[int, typer.Option(help="Simulated workers.")] = 16,
    trials: Annotated[int, typer.Option(help="About as many candidates as the budget holds.")] = 500,
    segment_seconds: Annotated[
        float, typer.Option(help="Of a segment, on average, in real time; 0: as fast as the driver goes.")
    ] = 0.0,
    store: Annotated[
        str | None, typer.Option("--store", help="URL of the SQL store; by default a SQLite file that is removed.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the simulated study in the store; needs --store.")
    ] = False,
    space: Annotated[str, typer.Option(help="A shipped search space, or a .yaml file.")] = "two-factor",
    sampler: Annotated[str, typer.Option(help="tpe, random, gp or nsga2.")] = "tpe",
    seed: Annotated[int, typer.Option(help="Of the proposals and of the made-up losses.")] = 0,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Commit results in order.")] = False,
    json: Annotated[Path | None, typer.Option(help="File to write all results to.")] = None,
) -> None:
    """Time the driver of a study under workers that sleep instead of training: a simulated load."""
    load = Load(
        workers=workers,
        trials=trials,
        segment_seconds=segment_seconds,
        space=space,
        sampler=sampler,
        seed=seed,
        deterministic=deterministic,
    )
    if keep and store is None:
        raise EinsearchError("--keep leaves the study in a store; give --store too")
    if json is not None:
        check_file(json, "results")
    torch.set_num_threads(1)
    out, machine = console(), Machine.of(torch.device("cpu"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="einsearch-bench-")))
        url = store or f"sqlite:///{folder}/einsearch.db"
        where = shown(parse_url(url))
        for line in (str(machine), f"Store: {where}", SIMULATED):
            out.print(line, soft_wrap=True)
        if machine.busy:
            out.print("Other processes run on this machine: the numbers scatter, a quiet one gives better ones.")
        display = stack.enter_context(_Progress(out))
        measured = run_load(load, url, folder, display)
        if store is not None and not keep:
            delete_load(load, url)
    _print(out, load, measured)
    if not measured.finished:
        out.print("\nStopped: these are the figures up to here.")
    if json is not None:
        document = _document(load, measured, machine, where)
        out.print(f"\nResults: {write_record(json, document)}", soft_wrap=True)
    if measured.audit.violations:
        for violation in measured.audit.violations:
            out.print(f"books: {violation}")
        raise typer.Exit(1)


class _Progress(PlainDisplay):
    """The plain lines of a run, but for the trials that end: there are thousands."""

    def _tell_ended(self, driver: Driver) -> None:
        return None


def _print(out: Console, load: Load, measured: Measured) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    rows = {
        "load": f"{load.workers} simulated workers, segments of {load.segment_seconds:g} s; "
        f"sampler {load.sampler}, space {load.space}",
        "done": f"{measured.trials} trials, {measured.segments} segments in {measured.seconds:.1f} s "
        f"({measured.cpu_seconds:.1f} s of this process's CPU)",
        "throughput": f"{measured.segments_per_second:.1f} segments/s; "
        f"{measured.segments / measured.cpu_seconds:.1f} a second of CPU",
        "workers idle": f"{measured.idle_share:.1%} of their time, waiting for the driver"
        if load.segment_seconds
        else "always: their segments take no time",
        "time": ", ".join(f"{part} {seconds / measured.seconds:.1%}" for part, seconds in measured.parts.items()),
        "database": f"{measured.database_bytes / 1e6:.1f} MB",
        "peak memory": f"{measured.peak_memory_bytes / 1e6:.0f} MB",
        "books": "right" if not measured.audit.violations else f"{len(measured.audit.violations)} violations",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    out.print()
    out.print(table)
    asks = Table(title="Suggestions", title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in ("from trial", "count", "median ms", "p99 ms"):
        asks.add_column(column, justify="right")
    for row in measured.suggestions:
        asks.add_row(str(row.begin), str(row.count), f"{row.median * 1e3:.1f}", f"{row.p99 * 1e3:.1f}")
    out.print()
    out.print(asks)


def _document(load: Load, measured: Measured, machine: Machine, store: str) -> dict[str, Any]:
    return {
        "simulated": True,
        "load": asdict(load),
        "store": store,
        "machine": asdict(machine) | {"load_at_end": round(os.getloadavg()[0], 2)},
        **asdict(measured),
        "segments_per_second": measured.segments_per_second,
    }
