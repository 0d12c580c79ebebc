"""What the page of a study says: Markdown, which optuna-dashboard shows."""

from __future__ import annotations

from einsearch.dashboard.trial_note import table
from einsearch.report.facts import study_facts
from einsearch.report.markdown import cell, plain
from einsearch.report.study_data import StudyData
from einsearch.report.summary import Summary
from einsearch.report.text import count_text, flops_text, speed_text

MOST_TRIALS = 2000
"""Candidates up to which the pages are quick enough to work with (measured: docs/dashboard.md)."""

_LEADERS = 10

_HOW_TO_READ = (
    "The objective value is the **compute multiplier**: the FLOPs that dense needs for the same validation loss, "
    "divided by the candidate's. Intermediate values are multipliers at the rungs. Trials have the numbers of the "
    "report; dense runs are no candidates, so their numbers are missing. While the study runs, *Running* includes "
    "trials that are paused at a rung: their notes and the attribute `state` say so. These pages only show; nothing "
    "can be changed here."
)


def study_note(data: StudyData, summary: Summary, silent: float | None) -> str:
    """The finding, the state of the books, the leaders, the dense runs.

    silent: seconds since the driver's last sign of life, where it should be running.
    """
    parts = [f"**{plain(summary.finding)}**"]
    if silent is not None:
        goes_on = f"`einsearch resume {data.study.name}` goes on."
        parts.append(f"**Interrupted:** its driver has been silent for {silent:.0f} s; {goes_on}")
    if too_many := beyond_limit(data):
        parts.append(f"**{too_many}**")
    parts.append(table(("", ""), [(name, cell(value)) for name, value in study_facts(data, summary)]))
    if summary.leaders:
        parts += ["### Leaders", _leaders(data, summary)]
    if any(curve.trial.kind != "search" for curve in data.curves):
        parts += ["### Dense runs and finals", _baselines(data)]
    parts += ["### How to read these pages", _HOW_TO_READ]
    return "\n\n".join(parts) + "\n"


def beyond_limit(data: StudyData) -> str | None:
    """What to say of a study with more candidates than the dashboard shows well."""
    candidates = sum(curve.trial.kind == "search" for curve in data.curves)
    if candidates <= MOST_TRIALS:
        return None
    return (
        f"{data.study.name} has {count_text(candidates)} candidates; beyond {count_text(MOST_TRIALS)} these pages are "
        f"slow. Its report stays quick: einsearch report {data.study.name}"
    )


def _leaders(data: StudyData, summary: Summary) -> str:
    numbers: dict[str, int] = {}
    for curve in data.curves:
        if curve.trial.kind == "search":
            numbers.setdefault(curve.trial.key, curve.trial.number)
    rows = [
        (
            str(leader.rank),
            _trial_link(data.study.id, numbers.get(leader.key)),
            cell(leader.label),
            cell(leader.theta),
            str(leader.width),
            str(leader.rung),
            f"{leader.loss:.4f}",
            "no dense run" if leader.multiplier is None else str(leader.multiplier),
        )
        for leader in summary.leaders[:_LEADERS]
    ]
    return table(("rank", "trial", "structure", "θ", "width", "rung", "validation loss", "multiplier"), rows)


def _trial_link(study_id: int, number: int | None) -> str:
    return "" if number is None else f"[{number}](/dashboard/studies/{study_id}/trials?numbers={number})"


def _baselines(data: StudyData) -> str:
    rows = [
        (
            str(curve.trial.number),
            cell(curve.trial.label),
            str(curve.trial.facts["width"]),
            curve.trial.state + (", reused" if curve.trial.reused_from is not None else ""),
            flops_text(curve.trial.flops_done),
            f"{curve.losses[-1][1]:.4f}" if curve.losses else "",
            speed_text(curve.tokens_per_second),
        )
        for curve in data.curves
        if curve.trial.kind != "search"
    ]
    return table(("trial", "structure", "width", "state", "FLOPs", "validation loss", "tokens/s"), rows)
