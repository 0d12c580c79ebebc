"""`einsearch doctor`: what is wrong with a machine, a store and a cluster, and how it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from einsearch.cli.options import JsonOption, RunsOption, StoreOption, console, print_json
from einsearch.doctor.finding import Finding
from einsearch.search.whereabouts import RUNS, default_store_url

_COLOURS = {"ok": "green", "warning": "yellow", "wrong": "red"}


def doctor(
    study: Annotated[str | None, typer.Argument(help="Look at this study only.", show_default=False)] = None,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
    address: Annotated[
        str | None, typer.Option(help="Look at a Ray cluster too: auto, HOST:PORT or ray://HOST:PORT.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Where checkpoints would be written; by default the runs folder.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check this machine, the store with its studies and a cluster, and say how to mend what is wrong.

    Exit code 1 where something stops studies or makes results doubtful. It changes nothing.
    """
    found = list(_findings(study, store or default_store_url(runs), runs, address, storage))
    if json:
        print_json([asdict(finding) for finding in found])
    else:
        _print(found)
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(1)


def _findings(study: str | None, url: str, runs: Path, address: str | None, storage: str | None) -> Iterator[Finding]:
    from einsearch.doctor.machine import machine_findings
    from einsearch.doctor.store import store_findings
    from einsearch.proxy.location import parse_location

    place = parse_location(storage) if storage else runs.absolute()
    yield from machine_findings(runs)
    yield from store_findings(url, study)
    if address is not None:
        from einsearch.doctor.cluster import cluster_findings

        yield from cluster_findings(address, place)


def _print(found: list[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        state = f"[{_COLOURS[finding.state]}]{finding.state}[/]"
        table.add_row(state, Text(finding.subject), Text(finding.text))
        if finding.mend:
            table.add_row("", "", Text(f"-> {finding.mend}"))
    out = console()
    out.print(table)
    wrong, warnings = (sum(finding.state == state for finding in found) for state in ("wrong", "warning"))
    out.print("all in order" if not wrong + warnings else f"{wrong} wrong, {warnings} worth a look")
