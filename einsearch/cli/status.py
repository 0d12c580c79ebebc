"""`einsearch status`: all studies, or one with what runs now and its leaders."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from einsearch.cli.options import JsonOption, RunsOption, StoreOption, console, print_json
from einsearch.cli.tables import leader_table
from einsearch.doctor.study import is_driven, lost_work, stuck_segments
from einsearch.report.study_data import StudyData, read_study
from einsearch.report.summary import summarize
from einsearch.search.config import write_flops
from einsearch.search.study import RUNS, default_store_url
from einsearch.store import SegmentRow, Store, StudyRow


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
            driven = {row.id: is_driven(opened.lease(row.id)) for row in studies}
        if json:
            print_json([_study_json(row, driven[row.id]) for row in studies])
        else:
            console().print(_studies_table(studies, driven))
        return
    data = read_study(url, study)
    with Store.open(url, create=False) as opened:
        audit = opened.audit(data.study.id)
        held = is_driven(opened.lease(data.study.id))
    if json:
        running = [s.id for s in data.segments if s.state == "reserved"]
        stuck = [segment.id for segment, _ in stuck_segments(data.segments)]
        lost = [
            {"reason": reason, "segments": count, "flops": flops} for reason, count, flops in lost_work(data.segments)
        ]
        found = {"running": running, "stuck": stuck, "lost_work": lost, "violations": audit.violations}
        print_json(_study_json(data.study, held) | found)
        return
    out = console()
    out.print(_studies_table([data.study], {data.study.id: held}))
    out.print()
    out.print(_running_table(data))
    out.print(_workers_table(data.segments))
    for line in _trouble(data, held):
        out.print(Text(line))
    summary = summarize(data)
    out.print(leader_table(summary.leaders[:10], title="Leaders", dense=summary.dense))
    for violation in audit.violations:
        out.print(f"books: {violation}")


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


def _workers_table(segments: tuple[SegmentRow, ...] | list[SegmentRow]) -> Table:
    """What each worker trained, and how fast."""
    table = Table(title="Workers", title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in ("worker", "segments", "lost", "FLOP/s"):
        table.add_column(name, justify="left" if name == "worker" else "right")
    by_worker: dict[str, list[SegmentRow]] = {}
    for segment in segments:
        by_worker.setdefault(segment.worker, []).append(segment)
    for worker, own in sorted(by_worker.items(), key=lambda item: (len(item[0]), item[0])):
        speeds = [s.flops / s.seconds for s in own if s.state == "done" and s.seconds]
        lost = sum(s.state == "lost" for s in own)
        table.add_row(worker, str(len(own)), str(lost), write_flops(round(median(speeds))) if speeds else "-")
    return table


def _trouble(data: StudyData, held: bool) -> Iterator[str]:
    """Work that is stuck or was lost, a line each."""
    if data.study.state == "running" and not held:
        yield f"interrupted: no driver runs it; `einsearch resume {data.study.name}` goes on"
    for segment, silence in stuck_segments(data.segments) if held else []:
        yield f"stuck: worker {segment.worker} has been silent for {silence:.0f} s; given up after --worker-timeout"
    for reason, count, flops in lost_work(data.segments)[:5]:
        yield f"lost: {write_flops(flops)} FLOPs in {count} {'segment' if count == 1 else 'segments'}: {reason}"
