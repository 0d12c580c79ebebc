"""Where the FLOPs of a study went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from einsearch.report.rungs import study_rungs, towards
from einsearch.report.study_data import StudyData
from einsearch.store import SegmentRow, TrialRow


@dataclass(frozen=True, slots=True)
class BudgetPart:
    """A named part of the budget, in FLOPs."""

    name: str
    flops: int


def budget_parts(data: StudyData) -> tuple[BudgetPart, ...]:
    """The budget, part by part: ladder, search by the rung it was for, finals, in flight, lost, unused.

    They add up to the budget. Parts without FLOPs are left out but for lost and unused.
    """
    rungs = study_rungs(data)
    trials = {curve.trial.id: curve.trial for curve in data.curves}
    spent: Counter[str] = Counter()
    for segment in data.segments:
        if segment.state == "done":
            spent[purpose(trials[segment.trial_id], segment, rungs)] += segment.flops
        else:
            spent["lost" if segment.state == "lost" else "in flight"] += segment.flops
    parts = [BudgetPart(name, spent[name]) for name in (*purposes(rungs), "in flight") if spent[name]]
    unused = max(data.study.budget - spent.total(), 0)
    return (*parts, BudgetPart("lost", spent["lost"]), BudgetPart("unused", unused))


def purposes(rungs: tuple[int, ...]) -> tuple[str, ...]:
    """All that FLOPs are spent on, in the order of a study."""
    return ("dense ladder", *(f"search to rung {n}" for n in range(len(rungs) + 1)), "finals")


def purpose(trial: TrialRow, segment: SegmentRow, rungs: tuple[int, ...]) -> str:
    """Which part of the budget a settled segment belongs to."""
    if trial.kind == "ladder":
        return "dense ladder"
    if trial.kind == "final":
        return "finals"
    return f"search to rung {towards(rungs, segment.end_step, trial.flops_per_step)}"
