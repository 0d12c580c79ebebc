"""What a study needs of a place to train: submit segments to slots, hear what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from einsearch.proxy.trainer import Progress, Segment, SegmentResult
from einsearch.search.worker import Answer

SILENCE = 600.0
"""Seconds without a sign of life after which a worker counts as hung and is killed."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """A sign of life of the segment on a slot."""

    slot: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Finished:
    """The segment on a slot ended in order: at its end, stopped early or diverged."""

    slot: str
    result: SegmentResult


@dataclass(frozen=True, slots=True)
class Lost:
    """The segment on a slot is lost: its worker died or raised. Its work since the checkpoint is gone.

    retry: whether trying again may help (a worker that died) or not (an error that would repeat).
    checkpoint_gone: the checkpoint that it was to go on from cannot be read, so training begins anew.
    """

    slot: str
    reason: str
    retry: bool
    checkpoint_gone: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """No segment can run at all (the disk is full, the data changed): the study has to stop."""

    slot: str
    reason: str


Event = Advanced | Finished | Lost | Refused


def ending(slot: str, answer: Answer) -> Finished | Lost | Refused:
    """The event that a worker's answer is."""
    match answer:
        case ("finished", result):
            return Finished(slot, result)
        case ("refused", reason):
            return Refused(slot, reason)
        case ("checkpoint gone", reason):
            return Lost(slot, reason, retry=True, checkpoint_gone=True)
        case (_, reason):
            return Lost(slot, reason, retry=False)


class Executor(Protocol):
    """Runs one segment at a time on each of its slots. Every submitted segment ends in exactly one
    Finished, Lost or Refused event."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots that take segments now, stored with the segments that run there.

        Machines come and go: there may be none for a while, and the driver waits, polling.
        """
        ...

    def start(self) -> None:
        """Begin to bring up the workers; submit may be called at once after."""
        ...

    def submit(self, slot: str, segment: Segment) -> None:
        """Run a segment on a free slot."""
        ...

    def poll(self, timeout: float) -> list[Event]:
        """Events since the last poll, in the order they came; waits up to `timeout` seconds for one."""
        ...

    def ask_to_stop(self) -> None:
        """Ask the running segments to end after their current step, with a checkpoint."""
        ...

    def close(self) -> None:
        """End all workers; running segments are dropped without an event."""
        ...
