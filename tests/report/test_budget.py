"""Where the FLOPs went adds up."""

from einsearch.report.budget import budget_parts
from einsearch.report.rungs import study_rungs, towards

from .conftest import BUDGET, CONFIG, RUNGS


def test_the_parts_add_up_to_the_budget(full):
    parts = {part.name: part.flops for part in budget_parts(full)}
    assert sum(parts.values()) == BUDGET
    assert list(parts) == [
        "dense ladder", "search to rung 0", "search to rung 1", "search to rung 2", "lost", "unused",
    ]  # fmt: skip
    assert parts["lost"] == full.study.lost > 0
    assert parts["unused"] == full.study.free
    dense = sum(curve.trial.flops_done for curve in full.curves if curve.trial.kind == "ladder")
    assert parts["dense ladder"] == dense


def test_what_runs_is_in_flight(recorder):
    trial = recorder.add()
    segment = recorder.reserve(trial, RUNGS[0])
    parts = {part.name: part.flops for part in budget_parts(recorder.data())}
    assert parts == {"in flight": segment.flops, "lost": 0, "unused": BUDGET - segment.flops}


def test_a_study_without_anything_is_unused(recorder):
    assert [(part.name, part.flops) for part in budget_parts(recorder.data())] == [("lost", 0), ("unused", BUDGET)]


def test_the_rung_that_work_was_for():
    assert [towards((100, 300), step, 10) for step in (1, 10, 11, 30, 31)] == [0, 0, 1, 1, 2]


def test_rungs_are_the_planned_ones_or_those_that_trials_rest_at(full, new_recorder):
    assert study_rungs(full) == RUNGS
    unplanned = new_recorder("unplanned", {name: value for name, value in CONFIG.items() if name != "plan"})
    unplanned.search(rungs=2)
    (curve,) = unplanned.data().curves
    assert study_rungs(unplanned.data()) == (curve.trial.flops_done,)
