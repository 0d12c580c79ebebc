"""Workers on a Ray cluster: an actor for each slot, on whatever node has room for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RaySystemError

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.location import Location
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment
from einsearch.search.executor import SILENCE, Advanced, Event, Lost, ending
from einsearch.search.failed_starts import FailedStarts
from einsearch.search.ray_cluster import Needs
from einsearch.search.ray_worker import About, Text, actor_class, end, line_of, marker_in, require_same

_ASK_EVERY = 1.0
"""Seconds between two questions for a slot's progress; more where there are hundreds of slots."""

_ASKS_A_SECOND = 200

NO_WORKER = 600.0
"""Seconds that the driver waits for a cluster without any worker."""


@dataclass(slots=True)
class _Slot:
    """An actor, and what is asked of it. about: None until it has come up. segment: submitted; work: begun."""

    name: str
    actor: Any
    coming: Any
    about: About | None = None
    segment: Segment | None = None
    work: Any = None
    question: Any = None
    asked_at: float = 0.0
    heard_at: float = 0.0
    progress: Progress | None = None


class RayExecutor:
    """Ray actors that each train one segment at a time. Ray has to be connected (:mod:`ray_cluster`).

    workers: slots; actors that the cluster has no room for wait until it has. folder: where checkpoints are
    written; where it is a path every node has to see it. fixed: all slots take segments at any time, so that a study
    repeats exactly; else those without a live actor are left out. silence: seconds without progress after which an
    actor is killed. An actor that dies, or whose node does, is replaced and its segment reported Lost; one that was
    not up yet has lost nothing.
    """

    def __init__(
        self,
        *,
        workers: int,
        needs: Needs,
        setting: Setting,
        corpus: Corpus,
        folder: Location,
        fixed: bool = False,
        silence: float = SILENCE,
    ) -> None:
        self._names = tuple(f"ray-{n}" for n in range(workers))
        self._needs, self._setting, self._corpus = needs, setting, corpus
        self._fixed, self._silence = fixed, silence
        self._marker = marker_in(folder)
        self._slots: dict[str, _Slot] = {}
        self._failed_starts = FailedStarts()
        self._text: Any = None
        self._class: Any = None
        self._stopping = False
        self._alone_since: float | None = None

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(name for name in self._names if self._fixed or self._slots[name].about is not None)

    def start(self) -> None:
        if self._slots:
            return
        if self._marker is not None:
            self._marker.parent.mkdir(parents=True, exist_ok=True)
            self._marker.touch()
        self._text = ray.put(Text.of(self._corpus))
        self._class = actor_class().options(
            num_cpus=self._needs.cpus,
            num_gpus=self._needs.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        for name in self._names:
            self._slots[name] = self._new(name)

    def _new(self, name: str, segment: Segment | None = None) -> _Slot:
        actor = self._class.remote(self._setting, self._text, self._marker, self._needs)
        if self._stopping:
            actor.stop.remote()
        return _Slot(name=name, actor=actor, coming=actor.about.remote(), segment=segment)

    def about(self, slot: str) -> About | None:
        """Who trains on a slot; None while nobody does."""
        return self._slots[slot].about

    def submit(self, slot: str, segment: Segment) -> None:
        held = self._slots[slot]
        if held.segment is not None:
            raise ValueError(f"slot {slot} is busy")
        held.segment = segment
        if held.about is not None:
            self._begin(held)

    def _begin(self, slot: _Slot) -> None:
        """Train the slot's segment; not before its actor is up: with one that never was, nothing is lost."""
        slot.work, slot.progress, slot.heard_at = slot.actor.train.remote(slot.segment), None, time.monotonic()

    def poll(self, timeout: float) -> list[Event]:
        self._ask()
        waiting = {ref: slot for slot in self._slots.values() for ref in (slot.coming, slot.work, slot.question) if ref}
        if not waiting:
            time.sleep(timeout)
            return []
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        events: list[Event] = []
        for ref in ready:
            slot = waiting[ref]
            if self._slots[slot.name] is slot and ref in (slot.coming, slot.work, slot.question):
                events += self._answered(slot, ref)
        for slot in list(self._slots.values()):
            if slot.work and time.monotonic() - slot.heard_at > self._silence:
                events += self._replace(slot, f"worker gave no sign of life for {self._silence:g} s")
        self._require_workers()
        return events

    def _ask(self) -> None:
        """For the progress of the slots that train."""
        now, busy = time.monotonic(), [slot for slot in self._slots.values() if slot.work]
        pause = max(_ASK_EVERY, len(busy) / _ASKS_A_SECOND)
        for slot in busy:
            if slot.question is None and now - slot.asked_at > pause:
                slot.question, slot.asked_at = slot.actor.progress.remote(), now

    def _answered(self, slot: _Slot, ref: Any) -> Iterator[Event]:
        try:
            answer = ray.get(ref, timeout=self._silence)
        except (RayError, GetTimeoutError) as error:
            if isinstance(error, RayActorError) and error.actor_init_failed:
                self._failed_starts.failed(slot.name, str(error))
            yield from self._replace(slot, f"worker died: {line_of(str(error))}")
            return
        if ref == slot.coming:  # not `is`: through a Ray client refs come back as copies
            require_same(answer, self._setting)
            slot.coming, slot.about = None, answer
            self._failed_starts.came_up(slot.name)
            if slot.segment is not None:
                self._begin(slot)
        elif ref == slot.question:
            slot.question = None
            if answer is not None and answer != slot.progress:
                slot.progress, slot.heard_at = answer, time.monotonic()
                yield Advanced(slot.name, answer)
        else:
            slot.segment = slot.work = slot.question = None
            yield ending(slot.name, answer)

    def _replace(self, slot: _Slot, reason: str) -> Iterator[Event]:
        self._end(slot)
        self._slots[slot.name] = self._new(slot.name, None if slot.work else slot.segment)
        if slot.work and slot.about:
            yield Lost(slot.name, reason.replace("worker", f"worker on {slot.about.host}", 1), retry=True)

    def _end(self, slot: _Slot) -> None:
        _kill(slot)
        if slot.about is not None:
            end(slot.about)  # one that is stopped or hangs does not hear Ray

    def _require_workers(self) -> None:
        """EinsearchError where the cluster has had no worker for long, or none for a segment that has to come next."""
        missing = [slot for slot in self._slots.values() if slot.about is None]
        if len(missing) < len(self._slots) and not (self._fixed and any(slot.segment for slot in missing)):
            self._alone_since = None
            return
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since > NO_WORKER:
            which = "no worker" if len(missing) == len(self._slots) else f"{len(missing)} workers too few"
            raise EinsearchError(
                f"the Ray cluster has had {which} for {NO_WORKER:.0f} s; add nodes and resume the study"
            )

    def ask_to_stop(self) -> None:
        self._stopping = True
        for slot in self._slots.values():
            slot.actor.stop.remote()

    def close(self) -> None:
        if ray.is_initialized():  # else the cluster is gone, and Ray would start one
            for slot in self._slots.values():
                _kill(slot)
        self._slots.clear()
        if self._marker is not None:
            self._marker.unlink(missing_ok=True)


def _kill(slot: _Slot) -> None:
    try:
        ray.kill(slot.actor, no_restart=True)
    except RaySystemError:
        return  # "actor creation cancelled": it was not there yet, and never will be
