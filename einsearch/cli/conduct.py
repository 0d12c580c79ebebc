"""What `run` and `resume` share: say the plan, run with progress, end with the table and the report."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import torch
import typer
from rich.console import Console

from einsearch.cli.display import LiveDisplay, PlainDisplay
from einsearch.cli.options import console, print_json
from einsearch.cli.plan_text import describe_plan, plan_json
from einsearch.cli.tables import leader_table
from einsearch.proxy.device import describe
from einsearch.report.html import write_html
from einsearch.report.markdown import to_json
from einsearch.report.study_data import read_study
from einsearch.report.summary import summarize
from einsearch.search.backend import Backend
from einsearch.search.calibration import calibrate
from einsearch.search.config import write_flops
from einsearch.search.study import Study

_ROWS = 10


def conduct(
    study: Study,
    *,
    backend: Backend,
    storage: str | None,
    deterministic: bool,
    budget: int | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Run a study to its end or to a stop, and print what a person or a script wants to know.

    A stop by Ctrl-C exits with 130 after the running segments wrote their checkpoints.
    """
    out = console(quiet=quiet or as_json)
    row = study.row()
    places = backend.places(study.setting)
    if row is not None and row.state == "finished" and budget is None:
        out.print(f"Study {row.name} is finished; this is its result.\n")
    else:
        known = backend.here or study.setting.device == "cpu"  # the GPUs of a cluster are not at hand
        device = torch.device(places[0])
        speed = calibrate(study.plan, study.setting, study.corpus, device, len(places)) if known else None
        where = describe(device) if backend.here else f"Ray cluster, {study.setting.device}"
        describe_plan(out, study, f"{where}; {len(places)} workers", speed, row, budget)
        if dry_run:
            if as_json:
                print_json({"plan": plan_json(study, len(places), speed)})
            return
        with _display(out, study, quiet or as_json) as display:
            finished = study.run(
                backend=backend, storage=storage, deterministic=deterministic, budget=budget, observer=display
            )
        if display is not None:
            out.print(f"\n{display.closing}\n", soft_wrap=True)
        if not finished:
            out.print(
                f"\nStopped; every running trial wrote a checkpoint. "
                f"The same command continues, as does: einsearch resume {study.config.name}"
            )
            raise typer.Exit(130)
    _conclude(study, console(quiet=as_json), quiet=quiet, as_json=as_json)


def _display(out: Console, study: Study, silent: bool) -> Any:
    if silent:
        return nullcontext(None)
    return LiveDisplay(out, study) if out.is_terminal else PlainDisplay(out)


def _conclude(study: Study, out: Console, *, quiet: bool, as_json: bool) -> None:
    data = read_study(study.store_url, study.config.name)
    page = write_html(data, study.folder / "report.html")
    if as_json:
        print_json(to_json(data) | {"report": str(page)})
        return
    summary = summarize(data)
    leaders = summary.leaders
    out.print(leader_table(leaders[:_ROWS], title=f"Study {data.study.name}", dense=summary.dense))
    if len(leaders) > _ROWS:
        out.print(f"... and {len(leaders) - _ROWS} more in the report")
    out.print(f"\n{summary.finding}", soft_wrap=True)
    if quiet:
        return
    name = study.config.name
    out.print(f"\nReport: {page}", soft_wrap=True)
    out.print("Next:")
    if leaders:
        out.print(f"  einsearch show {leaders[0].key[:8]} --study {name}    # the leader's sizes, costs and curve")
    larger = write_flops(study.plan.budget * 10)
    out.print(f"  einsearch run --space {study.config.space} --budget {larger}    # ten times the budget")
    out.print("  einsearch run --space paper    # the 23 structures of arXiv 2410.02117")
    sys.stdout.flush()
