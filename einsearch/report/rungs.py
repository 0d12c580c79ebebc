"""The training FLOPs at which a study compares its trials."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from einsearch.report.study_data import StudyData
from einsearch.store import Curve

RESTING = ("paused", "complete")
"""States of a trial whose last point is at its highest completed rung."""


def rung_flops(curves: Iterable[Curve]) -> dict[int, int]:
    """Training FLOPs of the rungs that trials rest at, ascending; a rung that no trial rests at is absent.

    Trials stop at the last whole step within a rung, so the greatest of them is nearest to it.
    """
    found: dict[int, int] = {}
    for curve in curves:
        trial = curve.trial
        if trial.kind != "ladder" and trial.rung >= 0 and trial.state in RESTING:
            found[trial.rung] = max(found.get(trial.rung, 0), trial.flops_done)
    return dict(sorted(found.items()))


def study_rungs(data: StudyData) -> tuple[int, ...]:
    """Training FLOPs of the planned rungs, ascending; those that trials rest at where no plan is stored."""
    config = data.study.config
    planned = config.get("plan", {}).get("rungs") or config.get("rungs")
    return tuple(planned) if planned else tuple(rung_flops(data.curves).values())


def towards(rungs: Sequence[int], end_step: int, flops_per_step: int) -> int:
    """Index of the first rung that a trial has not passed at `end_step`; len(rungs) beyond the last."""
    return bisect_left(rungs, end_step, key=lambda rung: rung // flops_per_step)
