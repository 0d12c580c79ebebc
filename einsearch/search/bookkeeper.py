"""What becomes of segments, in the books and in the state: done, lost, begun anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from einsearch.proxy.location import parse_location, remove
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import SegmentResult
from einsearch.search.state import Running, StudyState
from einsearch.store import Point, TrialRow

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


class Bookkeeper:
    """Writes what workers say to the store, and to the state that the driver decides on."""

    def __init__(self, state: StudyState, setting: Setting) -> None:
        self.worker_time = WorkerTime()
        self.booked = 0
        """FLOPs spent and lost since this driver began."""
        self._state, self._setting = state, setting
        self._losses: dict[tuple[int, int], int] = {}
        self._obsolete: list[str] = []

    @contextmanager
    def together(self) -> Iterator[None]:
        """What the block writes to the store is committed at its end, as one."""
        with self._state.times("books"), self._state.store.together():
            yield
        # Only after the commit: until then a crash would continue from the older checkpoints.
        for checkpoint in self._obsolete:
            remove(parse_location(checkpoint))
        self._obsolete.clear()

    def settle(self, run: Running, result: SegmentResult) -> None:
        """A segment ended in order: its trial goes on, pauses at a rung, is complete or failed."""
        trial = run.trial
        flops = (result.end - run.segment.start_step) * trial.flops_per_step
        points = tuple(Point(**asdict(point)) for point in result.points)
        self.booked += flops
        self.worker_time.training += result.seconds
        self.worker_time.evaluation += result.evaluation_seconds
        self.worker_time.rest += result.busy_seconds - result.seconds - result.evaluation_seconds
        rung, state = trial.rung, "queued"
        if result.failure:
            state = "failed"
        elif result.end == run.target:
            rung = trial.rung if trial.kind == "ladder" else trial.rung + 1
            done = trial.kind == "ladder" or rung == len(self._state.plan.rungs) - 1
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
        self._state.store.settle(
            run.segment.id,
            self._state.epoch,
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
        curve = self._state.curve(trial.id)
        # A trial that began anew comes to points that it has already.
        new = tuple(point for point in points if not curve.points or point.step > curve.points[-1].step)
        self._state.unspent(run.segment.flops - flops)
        self._state.put(
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

    def lose(self, run: Running, reason: str, retry: bool) -> None:
        """A segment is lost: its trial goes on from its checkpoint, or fails where that would not help."""
        self._state.store.lose(run.segment.id, self._state.epoch, reason)
        self.booked += run.segment.flops
        self._state.change(run.trial, state="queued")
        at = (run.trial.id, run.segment.start_step)
        self._losses[at] = self._losses.get(at, 0) + 1
        if not retry or self._losses[at] >= _MOST_LOSSES:
            self._state.store.set_trial_state(run.trial.id, self._state.epoch, "failed", reason=reason)
            self._state.change(run.trial, state="failed", reason=reason)

    def begin_anew(self, trial: TrialRow, reason: str) -> None:
        """The checkpoint of a trial cannot be read: all its work is lost."""
        self._state.store.lose_checkpoint(trial.id, self._state.epoch, reason)
        self._state.change(trial, state="queued", reason=None, step=0, flops_done=0, checkpoint=None)
        self._state.put(replace(self._state.curve(trial.id), tokens=0, seconds=0.0))
        if trial.checkpoint:
            self._obsolete.append(trial.checkpoint)
