"""`einsearch status`: all studies, or one with what runs now and its leaders."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from einsearch.cli.options import JsonOption, RunsOption, StoreOption, console, print_json
from einsearch.cli.tables import leader_table
from einsearch.report.study_data import StudyData, read_study
from einsearch.report.summary import summarize
from einsearch.search.config import write_flops
from einsearch.search.study import RUNS, default_store_url, is_alive
from einsearch.store import Store, StudyRow


def status(
    study: Annotated[str | None, typer.Argument(help="Name of a study.", show_default=False)] = None,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
    json: JsonOption = False,
) -> None:
    """Say how the studies of a store stand; with a name, what that one is doing."""
    url = store or default_store_url(runs)
    if study is None:
        with Store.open(url, create=False) as opened:
            studies = opened.studies()
            driven = {row.id: _is_driven(opened, row.id) for row in studies}
        if json:
            print_json([_study_json(row, driven[row.id]) for row in studies])
        else:
            console().print(_studies_table(studies, driven))
        return
    data = read_study(url, study)
    with Store.open(url, create=False) as opened:
        audit = opened.audit(data.study.id)
        held = _is_driven(opened, data.study.id)
    if json:
        running = [s.id for s in data.segments if s.state == "reserved"]
        print_json(_study_json(data.study, held) | {"running": running, "violations": audit.violations})
        return
    out = console()
    out.print(_studies_table([data.study], {data.study.id: held}))
    out.print()
    out.print(_running_table(data))
    summary = summarize(data)
    out.print(leader_table(summary.leaders[:10], title="Leaders", dense=summary.dense))
    for violation in audit.violations:
        out.print(f"books: {violation}")


def _is_driven(store: Store, study_id: int) -> bool:
    """Whether a process runs the study; one on another host is taken at its word."""
    lease = store.lease(study_id)
    return lease is not None and is_alive(lease.owner) is not False


def _study_json(row: StudyRow, driven: bool) -> dict[str, object]:
    names = ("name", "state", "budget", "spent", "lost", "reserved", "seconds")
    return {name: getattr(row, name) for name in names} | {"driven": driven, "simulated": row.simulated}


def _studies_table(studies: list[StudyRow], driven: dict[int, bool]) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("study", "state", "budget", "spent", "lost", "reserved", "seconds"):
        table.add_column(name, justify="left" if name in ("study", "state") else "right")
    for row in studies:
        # A driver that was killed leaves "running" behind; only a living one makes it true.
        state = "interrupted" if row.state == "running" and not driven[row.id] else row.state
        amounts = [write_flops(v) if v else "0" for v in (row.budget, row.spent, row.lost, row.reserved)]
        state += ", simulated" * row.simulated
        table.add_row(row.name, state, *amounts, f"{row.seconds:.0f}")
    return table


def _running_table(data: StudyData) -> Table:
    trials = {curve.trial.id: curve.trial for curve in data.curves}
    table = Table(title="Running", title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in ("worker", "structure", "width", "step", "loss"):
        table.add_column(name, justify="left" if name in ("worker", "structure") else "right")
    for segment in data.segments:
        if segment.state == "reserved":
            trial = trials[segment.trial_id]
            loss = f"{segment.progress_loss:.3f}" if segment.progress_loss is not None else "-"
            step = f"{segment.progress_step or segment.start_step}/{segment.end_step}"
            table.add_row(segment.worker, trial.label, str(trial.facts["width"]), step, loss)
    return table
