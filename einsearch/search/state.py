"""A study as its driver holds it in memory: trials with their curves, and what is in flight.

The store is the truth; all of this but the work in flight is read from it when a driver begins. Sums and orders over
all trials are kept up to date trial by trial, so that a decision costs the same at any number of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from einsearch.frontier import Frontier, dense_frontier
from einsearch.proxy.trainer import Progress
from einsearch.search.config import StudyConfig
from einsearch.search.driver_times import DriverTimes
from einsearch.search.history import History
from einsearch.search.plan import Plan
from einsearch.search.rungs import Halving
from einsearch.search.trials import observation, standing
from einsearch.store import Curve, SegmentRow, Store, StudyRow, TrialRow


@dataclass(slots=True)
class Running:
    """A segment in flight; `target` is the step at which its trial next pauses or ends."""

    trial: TrialRow
    segment: SegmentRow
    target: int
    progress: Progress | None = None


class StudyState:
    """Trials by id, segments in flight by slot, and the FLOPs that are still free.

    ended: ids of the trials that are complete or failed, in the order in which they ended. counts: trials by kind and
    state. dearest_step: most FLOPs of one step of any of them.
    """

    def __init__(self, store: Store, study: StudyRow, epoch: int, config: StudyConfig, plan: Plan) -> None:
        self.store, self.study, self.epoch, self.config, self.plan = store, study, epoch, config, plan
        self.running: dict[str, Running] = {}
        self.times = DriverTimes()
        self.halving = Halving(len(plan.rungs) - 1, plan.reduction)
        self.ended: list[int] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.dearest_step = 0
        self._curves: dict[int, Curve] = {}
        self._ladder: dict[int, Curve] = {}
        self._queued: dict[int, TrialRow] = {}
        self._promises: dict[int, int] = {}
        self._promised = 0
        self._unreserved = study.free
        self._frontier: Frontier | None = None
        self._history: History | None = None
        for curve in store.curves(study.id):
            self.put(curve)

    @property
    def curves(self) -> list[Curve]:
        """All trials with their points, in the order of their numbers."""
        return list(self._curves.values())

    @property
    def frontier(self) -> Frontier:
        """The dense frontier, the same object until a dense run goes on."""
        if self._frontier is None:
            self._frontier = dense_frontier(self._ladder.values())
        return self._frontier

    @property
    def history(self) -> History:
        """What a sampler may learn from, by the present frontier."""
        if self._history is None:
            found = (observation(curve, self.plan.rungs, self.frontier) for curve in self._curves.values())
            self._history = History(one for one in found if one is not None)
        return self._history

    def curve(self, trial_id: int) -> Curve:
        return self._curves[trial_id]

    def put(self, curve: Curve) -> None:
        """Add a trial, or replace what is known of it."""
        trial, before = curve.trial, self._curves.get(curve.trial.id)
        self._curves[trial.id] = curve
        self.dearest_step = max(self.dearest_step, trial.flops_per_step)
        if before is not None:
            self.counts[before.trial.kind, before.trial.state] -= 1
        self.counts[trial.kind, trial.state] += 1
        if trial.state in ("complete", "failed") and (before is None or before.trial.state != trial.state):
            self.ended.append(trial.id)
        if trial.state == "queued":
            self._queued[trial.id] = trial
        else:
            self._queued.pop(trial.id, None)
        self._promise(trial.id, self._left(trial))
        if trial.kind == "ladder":
            self._ladder[trial.id] = curve
            self._frontier = self._history = None
        elif trial.kind == "search":
            self._put_search(curve)

    def _put_search(self, curve: Curve) -> None:
        at = standing(curve, self.plan.rungs)
        if at is None:
            self.halving.drop(curve.trial.id)
        else:
            self.halving.put(at)
        if self._history is not None:
            found = observation(curve, self.plan.rungs, self.frontier)
            if found is not None:
                self._history.put(found)

    def change(self, trial: TrialRow, **changes: Any) -> None:
        """Change fields of a trial's row, as the store did."""
        curve = self._curves[trial.id]
        self.put(replace(curve, trial=replace(curve.trial, **changes)))

    def begin(self, slot: str, run: Running) -> None:
        """A segment was reserved: it runs from now on."""
        self.running[slot] = run
        self._unreserved -= run.segment.flops
        self.change(run.trial, state="running")
        self._promise(run.trial.id, (run.target - run.segment.end_step) * run.trial.flops_per_step)

    def unspent(self, flops: int) -> None:
        """So much of a reservation was not used."""
        self._unreserved += flops

    def queued(self) -> Iterator[TrialRow]:
        """What is under way or waits to begin, in the order in which it should go on."""
        return iter(sorted(self._queued.values(), key=lambda t: (t.kind != "ladder", t.step == 0, t.number)))

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
        own = self._promises.get(except_for, 0) if except_for is not None else 0
        return self._unreserved - self._promised + own

    def _left(self, trial: TrialRow) -> int:
        """FLOPs that are promised to a trial of which no segment runs."""
        if trial.state != "queued" or (trial.step == 0 and trial.kind != "ladder"):
            return 0
        return (self.target(trial) - trial.step) * trial.flops_per_step

    def _promise(self, trial_id: int, flops: int) -> None:
        self._promised += flops - self._promises.pop(trial_id, 0)
        if flops:
            self._promises[trial_id] = flops
