"""Workers that sleep instead of training and make their losses up: to measure the driver, never a structure.

A simulated study has a setting of its own (:func:`simulated_setting`), whose device is `simulated`. So its protocol
is never that of a real study: no dense run is reused across, a resume by real workers is refused, and reports say so.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from dataclasses import dataclass

import torch

import einsearch
from einsearch.proxy.device import code_digest
from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import Point, Progress, Segment, SegmentResult
from einsearch.search.executor import Advanced, Event, Finished
from einsearch.space.candidate import Candidate
from einsearch.space.taxonomy import taxonomy
from einsearch.store.rows import SIMULATED

PROGRESS_EVERY = 0.5
"""Seconds between two signs of life of a slot, as of a real worker."""

_JITTER = 0.25
_FLOOR, _SCALE, _POWER = 1.2, 60.0, 0.1
_NOISE = 0.003


def simulated_setting(protocol: Protocol) -> Setting:
    """The setting of a simulated study: no real one has its device."""
    return Setting(
        protocol=protocol,
        code=f"{einsearch.__version__}+{code_digest()}",
        data_name=SIMULATED,
        data_hash=SIMULATED,
        torch=torch.__version__,
        device=SIMULATED,
        precision=SIMULATED,
    )


def made_up_loss(talent: float, flops: int, noise: float = 0.0) -> float:
    """A power law of training FLOPs, in nats a token; a `talent` of 1 is dense, less is better."""
    return (_FLOOR + _SCALE * talent * flops**-_POWER) * math.exp(noise)


def made_up_talent(candidate: Candidate) -> float:
    """Worse for parameter sharing and for a low rank, as is known of real ones; better for a little less compute."""
    found = [taxonomy(einsum) for einsum in dict.fromkeys(candidate.einsums)]
    omega, psi, nu = (float(sum(getattr(t, name) for t in found) / len(found)) for name in ("omega", "psi", "nu"))
    return 1 + 0.15 * omega + 0.2 * (1 - psi) + 0.1 * (nu - 0.6) ** 2 - 0.016


@dataclass(frozen=True, slots=True)
class _Due:
    """What happens at a slot at a moment; a segment ends with a result."""

    slot: str
    event: Event


class SimulatedExecutor:
    """Slots whose segments take about `seconds` of real time each, and none of a processor's.

    With 0 seconds a segment is done as soon as it is submitted: the driver goes as fast as it can. Losses follow from
    the candidate, its seed and its FLOPs, so a deterministic study repeats.

    busy_seconds: of all slots, in segments. idle_seconds: of all slots, from the start or the end of a segment to the
    next one, so without what follows a slot's last one. load_seconds: of this process, spent on making results up.
    """

    def __init__(self, workers: int, protocol: Protocol, *, seconds: float, seed: int) -> None:
        self._names = tuple(f"simulated-{n}" for n in range(workers))
        self._protocol, self._seconds = protocol, seconds
        self._luck = random.Random(seed)
        self._due: list[tuple[float, int, _Due]] = []
        self._count = 0
        self._talents: dict[str, float] = {}
        self._free_since: dict[str, float] = {}
        self._stopping = False
        self.busy_seconds = self.idle_seconds = self.load_seconds = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return self._names

    def start(self) -> None:
        self._free_since = dict.fromkeys(self._names, time.perf_counter())

    def submit(self, slot: str, segment: Segment) -> None:
        began = time.perf_counter()
        self.idle_seconds += began - self._free_since.pop(slot)
        length = self._seconds * self._luck.uniform(1 - _JITTER, 1 + _JITTER)
        self.busy_seconds += length
        result = self._result(segment, length)
        step_flops = flops_per_step(segment.candidate, self._protocol.context, self._protocol.batch)
        steps = segment.end - segment.start
        for n in range(1, math.ceil(length / PROGRESS_EVERY)):
            share = n * PROGRESS_EVERY / length
            progress = Progress(
                step=segment.start + int(share * steps),
                loss=result.points[-1].train_loss if result.points else 0.0,
                flops_per_second=steps * step_flops / length,
            )
            self._push(began + n * PROGRESS_EVERY, slot, Advanced(slot, progress))
        self._push(began + length, slot, Finished(slot, result))
        self.load_seconds += time.perf_counter() - began

    def _push(self, at: float, slot: str, event: Event) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, _Due(slot, event)))

    def poll(self, timeout: float) -> list[Event]:
        if self._due:
            wait = min(timeout, self._due[0][0] - time.perf_counter())
            if wait > 0:
                time.sleep(wait)
        events: list[Event] = []
        now = time.perf_counter()
        while self._due and self._due[0][0] <= now:
            at, _, due = heapq.heappop(self._due)
            events.append(due.event)
            if isinstance(due.event, Finished):
                self._free_since[due.slot] = at
        return events

    def ask_to_stop(self) -> None:
        """Segments end as planned: they are short, and there is nothing to save."""

    def close(self) -> None:
        self._due.clear()

    def _result(self, segment: Segment, seconds: float) -> SegmentResult:
        candidate = segment.candidate
        key = candidate.key
        talent = self._talents.get(key)
        if talent is None:
            talent = self._talents[key] = made_up_talent(candidate)
        step_flops = flops_per_step(candidate, self._protocol.context, self._protocol.batch)
        luck = random.Random(f"{key} {segment.seed} {segment.end}")
        points = []
        for step in segment.evaluate_at:
            loss = made_up_loss(talent, step * step_flops, luck.gauss(0.0, _NOISE))
            points.append(
                Point(step=step, flops=step * step_flops, train_loss=loss, validation_loss=loss, seconds=float(step))
            )
        return SegmentResult(
            end=segment.end,
            points=tuple(points),
            seconds=seconds,
            evaluation_seconds=0.0,
            busy_seconds=seconds,
            tokens=(segment.end - segment.start) * self._protocol.tokens_per_step,
            checkpoint=None,
            failure=None,
            implementations=(SIMULATED,),
            activations=SIMULATED,
            statistics={},
            peak_memory_bytes=0,
            machine=SIMULATED,
        )
