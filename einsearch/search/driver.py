"""The loop that runs a study: hand out segments, book their results.

The store is the truth: reservations are committed before work begins and results before anything
depends on them. What this process keeps in memory can be rebuilt from the store at any time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from einsearch.errors import EinsearchError
from einsearch.frontier import Frontier
from einsearch.proxy.location import Location, below, parse_location, remove
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Segment, SegmentResult
from einsearch.search.config import StudyConfig
from einsearch.search.decisions import Decisions
from einsearch.search.executor import Advanced, Event, Executor, Finished, Lost, Refused
from einsearch.search.plan import Plan
from einsearch.search.state import Running, StudyState
from einsearch.space.candidate import Candidate
from einsearch.store import Curve, Point, Store, StudyRow, TrialRow

_TICK = 0.5
_BEAT_EVERY = 2.0
_MIRROR_EVERY = 1.0
_TOGETHER, _TOGETHER_SECONDS = 64, 0.05
"""Results that are booked in one transaction, and seconds in which reservations are gathered for one."""
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
        checkpoints: Location,
        deterministic: bool,
        observer: Observer,
        mirror: Mirror,
    ) -> None:
        self.state = StudyState(store, study, epoch, config, plan)
        self.engine_seconds = 0.0  # of this process's CPU: decisions, books, the mirror, the display
        self.worker_time = WorkerTime()
        self._decisions = Decisions(self.state)
        self._setting, self._executor, self._checkpoints = setting, executor, checkpoints
        self._deterministic, self._observer, self._mirror = deterministic, observer, mirror
        self._losses: dict[tuple[int, int], int] = {}
        self._early: dict[str, Finished | Lost | Refused] = {}
        self._order: deque[str] = deque()
        self._obsolete: list[str] = []
        self._booked = 0
        self._stopping = False
        self._refusal: str | None = None
        self._began = time.monotonic()
        self._beat_at = self._mirror_at = 0.0
        self._decisions.add_ladder()

    # What observers may ask.

    @property
    def used_flops(self) -> int:
        """FLOPs spent and lost so far, and those that running segments have done by their last sign of life."""
        live = sum(
            (r.progress.step - r.segment.start_step) * r.trial.flops_per_step
            for r in self.state.running.values()
            if r.progress
        )
        return self.state.study.spent + self.state.study.lost + self._booked + live

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all drivers of this study so far."""
        return self.state.study.seconds + time.monotonic() - self._began

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
        self.state.store.set_study_state(
            self.state.study.id, self.state.epoch, "running", seconds=self.state.study.seconds
        )
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
            if not self.state.running and (self._stopping or self._executor.slots):
                break
            with self.state.times("waiting"):
                events = self._executor.poll(_TICK)
            began = time.process_time()
            self._book(events)
            self._tick()
            self.engine_seconds += time.process_time() - began
        finished = not self._stopping
        # Waits for the database, as the mirror does not.
        self.state.store.heartbeat(self.state.study.id, self.state.epoch)
        self._sync_mirror(final=finished)
        state = "finished" if finished else "stopped"
        self.state.store.set_study_state(self.state.study.id, self.state.epoch, state, seconds=self.seconds)
        self._observe()
        if self._refusal:
            raise EinsearchError(self._refusal)
        return finished

    def _dispatch(self) -> None:
        """Give work to every free slot: some reservations a transaction, submitted once that is committed."""
        free = deque(slot for slot in self._executor.slots if slot not in self.state.running)
        while free:
            reserved: list[tuple[str, Segment]] = []
            until = time.monotonic() + _TOGETHER_SECONDS
            with self._together():
                while free and (not reserved or time.monotonic() < until):
                    with self.state.times("decisions"):
                        trial = self._decisions.next_trial()
                    if trial is None:
                        free.clear()
                    else:
                        reserved.append(self._reserve(free.popleft(), trial))
            for slot, segment in reserved:
                self._executor.submit(slot, segment)
            if free:
                self._tick()

    def _book(self, events: list[Event]) -> None:
        """Book what came of one poll, some results a transaction; in order and one by one where that is promised."""
        if self._deterministic:
            for event in self._in_order(events):
                with self._together():
                    self._handle(event)
                if not self._stopping:
                    # Now, with what is committed: how many results wait is a matter of time.
                    self._dispatch()
            return
        for begin in range(0, len(events), _TOGETHER):
            with self._together():
                for event in events[begin : begin + _TOGETHER]:
                    self._handle(event)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """What the block writes to the store is committed at its end, as one."""
        with self.state.times("books"), self.state.store.together():
            yield
        # Only after the commit: until then a crash would continue from the older checkpoints.
        for checkpoint in self._obsolete:
            remove(parse_location(checkpoint))
        self._obsolete.clear()

    def _in_order(self, events: list[Event]) -> Iterator[Event]:
        """Results in the order of reservation, signs of life as they came."""
        for event in events:
            if isinstance(event, Advanced):
                yield event
            else:
                self._early[event.slot] = event
        while self._order and self._order[0] in self._early:
            yield self._early.pop(self._order[0])

    def _handle(self, event: Event) -> None:
        match event:
            case Advanced(slot, progress):
                if slot in self.state.running:
                    self.state.running[slot].progress = progress
                return
            case Finished(slot, result):
                self._settle(self._release(slot), result)
            case Lost(slot, reason, retry, checkpoint_gone):
                run = self._release(slot)
                self._lose(run, reason, retry)
                if checkpoint_gone:
                    self._begin_anew(run.trial, reason)
            case Refused(slot, reason):
                self._lose(self._release(slot), reason, retry=True)
                self._refusal = reason
                self._stopping = True

    def _release(self, slot: str) -> Running:
        self._order.remove(slot)
        return self.state.running.pop(slot)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= _BEAT_EVERY:
            self._beat_at = now
            updates = [
                (r.segment.id, r.progress.step, r.progress.loss) for r in self.state.running.values() if r.progress
            ]
            with self.state.times("books"):
                self.state.store.progress(self.state.study.id, self.state.epoch, updates)
        if now - self._mirror_at >= _MIRROR_EVERY:
            self._mirror_at = now
            self._sync_mirror(final=False)
        self._observe()

    def _sync_mirror(self, *, final: bool) -> None:
        with self.state.times("mirror"):
            self._mirror.sync(self.state.curves, self.state.frontier, final=final)

    def _observe(self) -> None:
        with self.state.times("display"):
            self._observer.update(self)

    # Work.

    def _reserve(self, slot: str, trial: TrialRow) -> tuple[str, Segment]:
        target = self.state.target(trial)
        end = min(target, trial.step + max(1, self.state.plan.segment // trial.flops_per_step))
        reserved = self.state.store.reserve(
            trial.id,
            self.state.epoch,
            start_step=trial.step,
            end_step=end,
            flops=(end - trial.step) * trial.flops_per_step,
            worker=slot,
        )
        if reserved is None:
            raise RuntimeError(f"trial {trial.id} was chosen although the budget does not hold its next rung")
        self.state.begin(slot, Running(trial, reserved, target))
        self._order.append(slot)
        evaluations = self.state.plan.evaluations(
            trial.flops_per_step, self.state.config.protocol.evaluations_per_octave, dense=trial.kind == "ladder"
        )
        return slot, Segment(
            candidate=Candidate.from_json(trial.candidate),
            seed=trial.seed,
            start=trial.step,
            end=end,
            evaluate_at=tuple(step for step in evaluations if trial.step < step <= end),
            folder=below(self._checkpoints, f"{trial.number:04d}-{trial.key}-{trial.seed}"),
            source=parse_location(trial.checkpoint) if trial.checkpoint else None,
            implementation=self.state.config.implementation,
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
            done = trial.kind == "ladder" or rung == len(self.state.plan.rungs) - 1
            state = "complete" if done else "paused"
        checkpoint = str(result.checkpoint) if result.checkpoint else trial.checkpoint
        environment: dict[str, Any] = {
            "torch": self._setting.torch,
            "device": self._setting.device,
            "activations": result.activations,
            "implementations": list(result.implementations),
            "statistics": result.statistics,
            "machine": result.machine,
        }
        if result.micro_batch is not None:
            environment["micro_batch"] = result.micro_batch
        self.state.store.settle(
            run.segment.id,
            self.state.epoch,
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
        if trial.checkpoint and checkpoint != trial.checkpoint:
            self._obsolete.append(trial.checkpoint)
        curve = self.state.curve(trial.id)
        # A trial that began anew comes to points that it has already.
        new = tuple(point for point in points if not curve.points or point.step > curve.points[-1].step)
        self.state.unspent(run.segment.flops - flops)
        self.state.put(
            replace(
                curve,
                trial=replace(
                    curve.trial,
                    state=state,
                    rung=rung,
                    reason=result.failure,
                    step=result.end,
                    flops_done=trial.flops_done + flops,
                    checkpoint=checkpoint,
                    environment=environment,
                ),
                points=(*curve.points, *new),
                tokens=curve.tokens + result.tokens,
                seconds=curve.seconds + result.seconds,
            )
        )

    def _lose(self, run: Running, reason: str, retry: bool) -> None:
        self.state.store.lose(run.segment.id, self.state.epoch, reason)
        self._booked += run.segment.flops
        self.state.change(run.trial, state="queued")
        at = (run.trial.id, run.segment.start_step)
        self._losses[at] = self._losses.get(at, 0) + 1
        if not retry or self._losses[at] >= _MOST_LOSSES:
            self.state.store.set_trial_state(run.trial.id, self.state.epoch, "failed", reason=reason)
            self.state.change(run.trial, state="failed", reason=reason)

    def _begin_anew(self, trial: TrialRow, reason: str) -> None:
        self.state.store.lose_checkpoint(trial.id, self.state.epoch, reason)
        self.state.change(trial, state="queued", reason=None, step=0, flops_done=0, checkpoint=None)
        self.state.put(replace(self.state.curve(trial.id), tokens=0, seconds=0.0))
        if trial.checkpoint:
            self._obsolete.append(trial.checkpoint)
