"""A study as its driver holds it in memory: trials with their curves, and what is in flight.

The store is the truth; all of this but the work in flight is read from it when a driver begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from einsearch.frontier import Frontier, dense_frontier
from einsearch.proxy.trainer import Progress
from einsearch.search.config import StudyConfig
from einsearch.search.driver_times import DriverTimes
from einsearch.search.plan import Plan
from einsearch.store import Curve, SegmentRow, Store, StudyRow, TrialRow


@dataclass(slots=True)
class Running:
    """A segment in flight; `target` is the step at which its trial next pauses or ends."""

    trial: TrialRow
    segment: SegmentRow
    target: int
    progress: Progress | None = None


class StudyState:
    """Trials by id, segments in flight by slot, and the FLOPs that are still free."""

    def __init__(self, store: Store, study: StudyRow, epoch: int, config: StudyConfig, plan: Plan) -> None:
        self.store, self.study, self.epoch, self.config, self.plan = store, study, epoch, config, plan
        self.running: dict[str, Running] = {}
        self.times = DriverTimes()
        self._curves = {curve.trial.id: curve for curve in store.curves(study.id)}

    @property
    def curves(self) -> list[Curve]:
        """All trials with their points, in the order of their numbers."""
        return list(self._curves.values())

    @property
    def frontier(self) -> Frontier:
        return dense_frontier(self._curves.values())

    def curve(self, trial_id: int) -> Curve:
        return self._curves[trial_id]

    def put(self, curve: Curve) -> None:
        """Add a trial, or replace what is known of it."""
        self._curves[curve.trial.id] = curve

    def change(self, trial: TrialRow, **changes: Any) -> None:
        """Change fields of a trial's row, as the store did."""
        curve = self._curves[trial.id]
        self.put(replace(curve, trial=replace(curve.trial, **changes)))

    def target(self, trial: TrialRow) -> int:
        """The step at which the trial next pauses or ends."""
        if trial.kind == "ladder":
            flops = next(r.flops for r in self.plan.ladder if r.width == trial.candidate["shape"]["width"])
        else:
            flops = self.plan.rungs[trial.rung + 1]
        return flops // trial.flops_per_step

    def fits(self, trial: TrialRow) -> bool:
        """Whether the budget holds all that is left to the trial's next pause."""
        return (self.target(trial) - trial.step) * trial.flops_per_step <= self.free(except_for=trial.id)

    def free(self, except_for: int | None = None) -> int:
        """FLOPs that are neither used nor needed to bring what is under way to its next pause."""
        promised = 0
        for run in self.running.values():
            promised += (run.target - run.segment.end_step) * run.trial.flops_per_step
        for curve in self._curves.values():
            trial = curve.trial
            if trial.state == "queued" and trial.id != except_for and (trial.step > 0 or trial.kind == "ladder"):
                promised += (self.target(trial) - trial.step) * trial.flops_per_step
        return self.store.study(self.study.name).free - promised
