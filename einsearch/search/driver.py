"""The loop that runs a study: hand out segments, book their results.

The store is the truth: reservations are committed before work begins and results before anything
depends on them. What this process keeps in memory can be rebuilt from the store at any time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from einsearch.errors import EinsearchError
from einsearch.frontier import Frontier
from einsearch.proxy.location import Location, below, parse_location
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Segment
from einsearch.search.bookkeeper import Bookkeeper, WorkerTime
from einsearch.search.config import StudyConfig
from einsearch.search.decisions import Decisions
from einsearch.search.executor import Advanced, Event, Executor, Finished, Lost, Refused
from einsearch.search.plan import Plan
from einsearch.search.speeds import Speeds
from einsearch.search.state import Running, StudyState
from einsearch.space.candidate import Candidate
from einsearch.store import Curve, Store, StudyRow, TrialRow

_TICK = 0.5
_BEAT_EVERY = 2.0
_MIRROR_EVERY = 1.0
_TOGETHER, _TOGETHER_SECONDS = 64, 0.05
"""Results that are booked in one transaction, and seconds in which reservations are gathered for one."""


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
        self._books, self._speeds = Bookkeeper(self.state, setting), Speeds()
        self._decisions = Decisions(self.state)
        self._executor, self._checkpoints = executor, checkpoints
        self._deterministic, self._observer, self._mirror = deterministic, observer, mirror
        self._early: dict[str, Finished | Lost | Refused] = {}
        self._order: deque[str] = deque()
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
        return self.state.study.spent + self.state.study.lost + self._books.booked + live

    @property
    def worker_time(self) -> WorkerTime:
        """What workers did with their time, of the segments that this driver booked."""
        return self._books.worker_time

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
            if not self.state.running and (self._stopping or self._executor.slots):
                break
            # Now that the workers are busy.
            self._tick()
            events = self._wait()
            self._book(events)
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

    def _wait(self) -> list[Event]:
        """What happens next; while nothing does, a new candidate is thought of for the worker that is free first."""
        if len(self.state.running) > 1 and not (self._deterministic or self._stopping):
            if events := self._executor.poll(0):
                return events
            with self.state.times("decisions"):
                self._decisions.think_ahead()
        began = time.process_time()
        with self.state.times("waiting"):
            events = self._executor.poll(_TICK)
        self.engine_seconds -= time.process_time() - began
        return events

    def _dispatch(self) -> None:
        """Give work to every free slot: some reservations a transaction, submitted once that is committed."""
        idle = [slot for slot in self._executor.slots if slot not in self.state.running]
        # What was measured differs from run to run.
        free = deque(idle if self._deterministic else self._speeds.fastest_first(idle))
        while free:
            reserved: list[tuple[str, Segment]] = []
            until = time.monotonic() + (_TOGETHER_SECONDS if self.state.store.gathers else 0)
            with self._books.together():
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
                with self._books.together():
                    self._handle(event)
                if not self._stopping:
                    # Now, with what is committed: how many results wait is a matter of time.
                    self._dispatch()
            return
        for begin in range(0, len(events), _TOGETHER):
            with self._books.together():
                for event in events[begin : begin + _TOGETHER]:
                    self._handle(event)

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
                run = self._release(slot)
                self._speeds.note(
                    slot, (result.end - run.segment.start_step) * run.trial.flops_per_step, result.seconds
                )
                self._books.settle(run, result)
            case Lost(slot, reason, retry, checkpoint_gone):
                self._speeds.forget(slot)
                run = self._release(slot)
                self._books.lose(run, reason, retry)
                if checkpoint_gone:
                    self._books.begin_anew(run.trial, reason)
            case Refused(slot, reason):
                self._books.lose(self._release(slot), reason, retry=True)
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
        flops = self.state.plan.segment * (1.0 if self._deterministic else self._speeds.share(slot))
        end = min(target, trial.step + max(1, int(flops) // trial.flops_per_step))
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
