"""What a study found, in two or three sentences that claim no more than it measured."""

from __future__ import annotations

from collections.abc import Sequence

from einsearch.frontier import Bound, Multiplier
from einsearch.report.ranking import Leader
from einsearch.report.rungs import study_rungs
from einsearch.report.study_data import StudyData
from einsearch.report.text import flops_text, percent_text

_SIMULATED = "Simulated: nothing was trained, the losses are made up, and what follows says nothing about structures. "


def finding(data: StudyData, leaders: Sequence[Leader]) -> str:
    """The finding of a study from all its leaders, best first; of a simulated one it says that first."""
    return _SIMULATED * data.study.simulated + _finding(data, leaders)


def _finding(data: StudyData, leaders: Sequence[Leader]) -> str:
    still = " The study is still running." if data.study.state == "running" else ""
    if not leaders:
        used = percent_text((data.study.spent + data.study.lost) / data.study.budget)
        tried = sum(curve.trial.kind != "ladder" for curve in data.curves)
        candidates = "1 candidate was" if tried == 1 else f"{tried} candidates were"
        return f"No candidate completed a rung: {candidates} begun, {used} of the budget is used.{still}"
    best = leaders[0]
    return (
        f"{best.label} {best.theta} at width {best.width} reached validation loss {best.loss:.3f} with "
        f"{flops_text(best.flops)} FLOPs; {_against_dense(best.multiplier)}. "
        f"{_stands(data, best)}{_certainty(best, len(leaders))}{still}"
    )


def _against_dense(multiplier: Multiplier | None) -> str:
    if multiplier is None:
        return "there is no dense run to compare it with"
    times = f"{multiplier.value:.2f} times that"
    if multiplier.bound is Bound.AT_LEAST:
        return f"no dense run reached that loss, so dense needs at least {times}"
    if multiplier.bound is Bound.AT_MOST:
        return f"dense was better at its first evaluation, so it needs at most {times}"
    return f"dense needs {times}" if multiplier.value >= 1 else f"dense needs only {times}"


def _stands(data: StudyData, best: Leader) -> str:
    rungs = study_rungs(data)
    if best.rung >= len(rungs) - 1:
        return ""
    return f"It completed rung {best.rung} of 0 to {len(rungs) - 1}: longer runs may reverse the order. "


def _certainty(best: Leader, ranked: int) -> str:
    of = "The only candidate" if ranked == 1 else f"The best of {ranked} candidates"
    if best.seeds == 1:
        return f"{of}, one seed: no interval, treat it as a lead, not a result."
    return f"{of}, mean of {best.seeds} seeds; no interval was computed."
