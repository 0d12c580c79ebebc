"""The loop that runs a study: hand out segments, book results, decide what comes next.

The store is the truth: reservations are committed before work begins and results before anything
depends on them. What this process keeps in memory can be rebuilt from the store at any time.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from einsearch.errors import EinsearchError
from einsearch.frontier import Frontier, dense_frontier
from einsearch.proxy.flops import flops_per_step, parameter_count
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment, SegmentResult
from einsearch.search.config import StudyConfig
from einsearch.search.executor import Advanced, Event, Executor, Finished, Lost, Refused
from einsearch.search.facts import facts_of
from einsearch.search.plan import Plan
from einsearch.search.rungs import Standing, best_paused, promotable
from einsearch.search.suggest import Suggester, Suggestion
from einsearch.search.trials import observations, rung_losses
from einsearch.space.candidate import Candidate
from einsearch.store import Curve, Point, SegmentRow, Store, StudyRow, TrialRow

_TICK = 0.5
_BEAT_EVERY = 2.0
_MIRROR_EVERY = 15.0
_MOST_LOSSES = 3
"""Segments of one trial that may be lost from one checkpoint before the trial is given up."""


@dataclass(slots=True)
class WorkerTime:
    """Seconds of all workers: in training steps, in validation, and in the rest of their segments."""

    training: float = 0.0
    evaluation: float = 0.0
    rest: float = 0.0

    def __str__(self) -> str:
        total = self.training + self.evaluation + self.rest
        if total == 0:
            return "nothing was trained"
        parts = {"training": self.training, "evaluation": self.evaluation, "models and checkpoints": self.rest}
        return ", ".join(f"{seconds / total:.1%} {name}" for name, seconds in parts.items())


@dataclass(slots=True)
class Running:
    """A segment in flight."""

    trial: TrialRow
    segment: SegmentRow
    target: int
    progress: Progress | None = None


class Mirror(Protocol):
    """Something that shows the trials elsewhere and may lag."""

    def sync(self, curves: list[Curve], frontier: Frontier, final: bool) -> None: ...


class Observer(Protocol):
    """Who watches a run: called between events, never from another thread."""

    def update(self, driver: Driver) -> None: ...


class Driver:
    """Runs one study until its budget is used, nothing is left to try, or it is asked to stop."""

    def __init__(
        self,
        *,
        store: Store,
        study: StudyRow,
        epoch: int,
        config: StudyConfig,
        plan: Plan,
        setting: Setting,
        executor: Executor,
        folder: Path,
        deterministic: bool,
        observer: Observer,
        mirror: Mirror,
    ) -> None:
        self.store, self.study, self.plan, self.setting = store, study, plan, setting
        self.running: dict[str, Running] = {}
        self.engine_seconds = 0.0  # of this process's CPU: decisions, books, the mirror, the display
        self.worker_time = WorkerTime()
        self._epoch, self._config, self._executor, self._folder = epoch, config, executor, folder
        self._deterministic, self._observer, self._mirror = deterministic, observer, mirror
        ladder_keys = frozenset(Candidate.dense(plan.space.shape(run.width)).key for run in plan.ladder)
        self._suggester = Suggester(plan.space, config.sampler, config.seed, elsewhere=ladder_keys)
        self._curves = {curve.trial.id: curve for curve in store.curves(study.id)}
        self._losses: dict[tuple[int, int], int] = {}
        self._early: dict[str, Finished | Lost | Refused] = {}
        self._order: deque[str] = deque()
        self._space_exhausted = False
        self._booked = 0
        self._stopping = False
        self._refusal: str | None = None
        self._began = time.monotonic()
        self._beat_at = self._mirror_at = 0.0

    # What observers may ask.

    @property
    def curves(self) -> list[Curve]:
        """All trials with their points, in the order of their numbers."""
        return list(self._curves.values())

    @property
    def frontier(self) -> Frontier:
        return dense_frontier(self._curves.values())

    @property
    def used_flops(self) -> int:
        """FLOPs spent and lost so far, and those that running segments have done by their last sign of life."""
        live = sum(
            (r.progress.step - r.segment.start_step) * r.trial.flops_per_step
            for r in self.running.values()
            if r.progress
        )
        return self.study.spent + self.study.lost + self._booked + live

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all drivers of this study so far."""
        return self.study.seconds + time.monotonic() - self._began

    @property
    def stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Ask for an orderly end: running segments end after their current step, with a checkpoint."""
        self._stopping = True

    # The loop.

    def run(self) -> bool:
        """Run to the end; True where the study is finished, False where it was stopped.

        Raises EinsearchError where no work can be done at all (disk full, data changed) and LeaseLost
        where another driver took over. Whatever happens the books are right: a segment in flight is
        charged as lost by the next driver.
        """
        self.store.set_study_state(self.study.id, self._epoch, "running", seconds=self.study.seconds)
        self._executor.start()
        asked = False
        while True:
            began = time.process_time()
            if not self._stopping:
                self._dispatch()
            elif not asked:
                self._executor.ask_to_stop()
                asked = True
            self.engine_seconds += time.process_time() - began
            if not self.running:
                break
            events = self._executor.poll(_TICK)
            began = time.process_time()
            for event in self._in_order(events):
                self._handle(event)
                if self._deterministic and not self._stopping:
                    # Now, with what is committed: how many results wait is a matter of time.
                    self._dispatch()
            self._tick()
            self.engine_seconds += time.process_time() - began
        finished = not self._stopping
        self._mirror.sync(self.curves, self.frontier, final=finished)
        state = "finished" if finished else "stopped"
        self.store.set_study_state(self.study.id, self._epoch, state, seconds=self.seconds)
        self._observer.update(self)
        if self._refusal:
            raise EinsearchError(self._refusal)
        return finished

    def _dispatch(self) -> None:
        for slot in self._executor.slots:
            if slot in self.running:
                continue
            trial = self._next_trial()
            if trial is None:
                break
            self._begin(slot, trial)

    def _in_order(self, events: list[Event]) -> Iterator[Event]:
        """Events as they are to be handled: as they came, or results in the order of reservation."""
        for event in events:
            if isinstance(event, Advanced) or not self._deterministic:
                yield event
            else:
                self._early[event.slot] = event
        while self._order and self._order[0] in self._early:
            yield self._early.pop(self._order[0])

    def _handle(self, event: Event) -> None:
        match event:
            case Advanced(slot, progress):
                if slot in self.running:
                    self.running[slot].progress = progress
                return
            case Finished(slot, result):
                self._settle(self._release(slot), result)
            case Lost(slot, reason, retry):
                self._lose(self._release(slot), reason, retry)
            case Refused(slot, reason):
                self._lose(self._release(slot), reason, retry=True)
                self._refusal = reason
                self._stopping = True

    def _release(self, slot: str) -> Running:
        self._order.remove(slot)
        return self.running.pop(slot)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= _BEAT_EVERY:
            self._beat_at = now
            updates = [(r.segment.id, r.progress.step, r.progress.loss) for r in self.running.values() if r.progress]
            self.store.progress(self.study.id, self._epoch, updates)
        if now - self._mirror_at >= _MIRROR_EVERY:
            self._mirror_at = now
            self._mirror.sync(self.curves, self.frontier, final=False)
        self._observer.update(self)

    # Work.

    def _target(self, trial: TrialRow) -> int:
        """The step at which the trial next pauses or ends."""
        if trial.kind == "ladder":
            flops = next(r.flops for r in self.plan.ladder if r.width == trial.candidate["shape"]["width"])
        else:
            flops = self.plan.rungs[trial.rung + 1]
        return flops // trial.flops_per_step

    def _begin(self, slot: str, trial: TrialRow) -> None:
        target = self._target(trial)
        end = min(target, trial.step + max(1, self.plan.segment // trial.flops_per_step))
        reserved = self.store.reserve(
            trial.id,
            self._epoch,
            start_step=trial.step,
            end_step=end,
            flops=(end - trial.step) * trial.flops_per_step,
            worker=slot,
        )
        if reserved is None:
            raise RuntimeError(f"trial {trial.id} was chosen although the budget does not hold its next rung")
        self._set(trial, state="running")
        self.running[slot] = Running(trial, reserved, target)
        self._order.append(slot)
        candidate = Candidate.from_json(trial.candidate)
        evaluations = self.plan.evaluations(
            trial.flops_per_step, self._config.protocol.evaluations_per_octave, dense=trial.kind == "ladder"
        )
        self._executor.submit(
            slot,
            Segment(
                candidate=candidate,
                seed=trial.seed,
                start=trial.step,
                end=end,
                evaluate_at=tuple(step for step in evaluations if trial.step < step <= end),
                folder=self._folder / "checkpoints" / f"{trial.number:04d}-{trial.key}-{trial.seed}",
                implementation=self._config.implementation,
            ),
        )

    def _settle(self, run: Running, result: SegmentResult) -> None:
        trial = run.trial
        flops = (result.end - run.segment.start_step) * trial.flops_per_step
        points = tuple(Point(**asdict(point)) for point in result.points)
        self._booked += flops
        self.worker_time.training += result.seconds
        self.worker_time.evaluation += result.evaluation_seconds
        self.worker_time.rest += result.busy_seconds - result.seconds - result.evaluation_seconds
        rung, state = trial.rung, "queued"
        if result.failure:
            state = "failed"
        elif result.end == run.target:
            rung = trial.rung if trial.kind == "ladder" else trial.rung + 1
            done = trial.kind == "ladder" or rung == len(self.plan.rungs) - 1
            state = "complete" if done else "paused"
        checkpoint = str(result.checkpoint) if result.checkpoint else trial.checkpoint
        environment = {"torch": self.setting.torch, "device": self.setting.device}
        environment["implementations"] = list(result.implementations)  # type: ignore[assignment]
        self.store.settle(
            run.segment.id,
            self._epoch,
            end_step=result.end,
            flops=flops,
            seconds=result.seconds,
            tokens=result.tokens,
            points=points,
            checkpoint=checkpoint,
            environment=environment,
            peak_memory_bytes=result.peak_memory_bytes,
            state=state,
            rung=rung,
            reason=result.failure,
        )
        self._set(
            trial,
            state=state,
            rung=rung,
            reason=result.failure,
            step=result.end,
            flops_done=trial.flops_done + flops,
            checkpoint=checkpoint,
            environment=environment,
        )
        if trial.checkpoint and checkpoint != trial.checkpoint:
            # Only after the commit: until then a crash would continue from the older one.
            shutil.rmtree(trial.checkpoint, ignore_errors=True)
        curve = self._curves[trial.id]
        self._curves[trial.id] = replace(
            curve,
            points=(*curve.points, *points),
            tokens=curve.tokens + result.tokens,
            seconds=curve.seconds + result.seconds,
        )

    def _lose(self, run: Running, reason: str, retry: bool) -> None:
        self.store.lose(run.segment.id, self._epoch, reason)
        self._booked += run.segment.flops
        self._set(run.trial, state="queued")
        at = (run.trial.id, run.segment.start_step)
        self._losses[at] = self._losses.get(at, 0) + 1
        if not retry or self._losses[at] >= _MOST_LOSSES:
            self.store.set_trial_state(run.trial.id, self._epoch, "failed", reason=reason)
            self._set(run.trial, state="failed", reason=reason)

    def _set(self, trial: TrialRow, **changes: Any) -> None:
        self._curves[trial.id] = replace(self._curves[trial.id], trial=replace(self._curves[trial.id].trial, **changes))

    # Decisions.

    def _next_trial(self) -> TrialRow | None:
        """What to train next: what is under way, the ladder, promotions, new candidates, the leftovers."""
        queued = [c.trial for c in self._curves.values() if c.trial.state == "queued"]
        for trial in sorted(queued, key=lambda t: (t.kind != "ladder", t.step == 0, t.number)):
            if self._fits(trial):
                return trial
        standings = [
            Standing(
                trial_id=curve.trial.id,
                losses=rung_losses(curve, self.plan.rungs),
                paused=curve.trial.state == "paused",
            )
            for curve in self._curves.values()
            if curve.trial.kind == "search" and curve.trial.state != "failed"
        ]
        top = len(self.plan.rungs) - 1
        promoted = promotable(standings, top, self.plan.reduction)
        if promoted and self._fits(self._curves[promoted.trial_id].trial):
            return self._curves[promoted.trial_id].trial
        if new := self._new_trial():
            return new
        for standing in best_paused(standings, top):
            if self._fits(self._curves[standing.trial_id].trial):
                return self._curves[standing.trial_id].trial
        return None

    def _fits(self, trial: TrialRow) -> bool:
        """Whether the budget holds all that is left to the trial's next pause."""
        return (self._target(trial) - trial.step) * trial.flops_per_step <= self._free(except_for=trial.id)

    def _free(self, except_for: int | None = None) -> int:
        """FLOPs that are neither used nor needed to bring what is under way to its next pause."""
        books = self.store.study(self.study.name)
        promised = 0
        for run in self.running.values():
            promised += (run.target - run.segment.end_step) * run.trial.flops_per_step
        for curve in self._curves.values():
            trial = curve.trial
            if trial.state == "queued" and trial.id != except_for and (trial.step > 0 or trial.kind == "ladder"):
                promised += (self._target(trial) - trial.step) * trial.flops_per_step
        return books.free - promised

    def _new_trial(self) -> TrialRow | None:
        if self._space_exhausted or self._free() < self.plan.rungs[0]:
            return None
        proposal = self._suggester.next(observations(self.curves, self.plan.rungs, self.frontier))
        if proposal is None:
            self._space_exhausted = True
            return None
        candidate, suggestion = proposal
        return self._add(candidate, "search", suggestion)

    def _add(self, candidate: Candidate, kind: str, suggestion: Suggestion | None) -> TrialRow:
        protocol = self._config.protocol
        trial = self.store.add_trial(
            self.study.id,
            self._epoch,
            key=candidate.key,
            seed=self._config.seed,
            kind=kind,
            candidate=candidate.to_json(),
            label=candidate.label,
            flops_per_step=flops_per_step(candidate, protocol.context, protocol.batch),
            parameters=parameter_count(candidate, protocol.context),
            facts=facts_of(candidate, protocol.context),
            suggestion=suggestion.to_json() if suggestion else None,
        )
        self._curves[trial.id] = Curve(trial=trial)
        return trial

    def add_ladder(self) -> None:
        """Queue the dense runs that the study does not have yet, or take them over from another study.

        A complete dense run of another study in the same store, under the same protocol and long enough,
        is copied and costs nothing.
        """
        have = {c.trial.candidate["shape"]["width"] for c in self._curves.values() if c.trial.kind == "ladder"}
        for run in self.plan.ladder:
            if run.width in have:
                continue
            candidate = Candidate.dense(self.plan.space.shape(run.width))
            steps = run.flops // flops_per_step(candidate, self._config.protocol.context, self._config.protocol.batch)
            trial_flops = steps * flops_per_step(candidate, self._config.protocol.context, self._config.protocol.batch)
            source = self.store.reusable(self.study.protocol_id, candidate.key, self._config.seed, trial_flops)
            if source is None:
                self._add(candidate, "ladder", None)
            else:
                trial = self.store.add_reused_trial(self.study.id, self._epoch, source)
                copied = tuple(self.store.points(self.study.id)[trial.id])
                self._curves[trial.id] = Curve(trial=trial, points=copied)
