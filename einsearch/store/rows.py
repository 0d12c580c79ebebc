"""What the store returns: one frozen dataclass a table, its fields named as the columns."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

SIMULATED = "simulated"
"""The device, in the protocol, of studies whose losses are made up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A study: what was asked, under which protocol, and its books in FLOPs.

    `seconds` is the driver's wall-clock time so far, over all its runs.
    """

    id: int
    name: str
    created_at: datetime
    config: dict[str, Any]
    protocol: dict[str, Any]
    protocol_id: str
    budget: int
    spent: int
    lost: int
    reserved: int
    state: str
    seconds: float

    @property
    def simulated(self) -> bool:
        """Whether nothing was trained: the losses are made up, to measure the driver."""
        return bool(self.protocol.get("device") == SIMULATED)

    @property
    def free(self) -> int:
        """FLOPs that may still be reserved."""
        return self.budget - self.spent - self.lost - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """Who runs a study: `owner` is host:pid:start-time, `heartbeat_at` seconds since 1970 (UTC)."""

    study_id: int
    epoch: int
    owner: str
    heartbeat_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A candidate trained with a seed.

    `rung` is the highest completed rung (-1: none), `step` the last checkpointed step, `reused_from`
    the id of the trial of another study that did the work.
    """

    id: int
    study_id: int
    number: int
    key: str
    seed: int
    kind: str
    candidate: dict[str, Any]
    label: str
    state: str
    reason: str | None
    rung: int
    step: int
    flops_per_step: int
    flops_done: int
    parameters: int
    facts: dict[str, Any]
    suggestion: dict[str, Any] | None
    environment: dict[str, Any] | None
    checkpoint: str | None
    reused_from: int | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRow:
    """Work from checkpoint to checkpoint: steps [start_step, end_step) of one trial.

    `flops` and `end_step` are what was reserved and, once the state is 'done', what was really done.
    """

    id: int
    study_id: int
    trial_id: int
    epoch: int
    worker: str
    start_step: int
    end_step: int
    flops: int
    state: str
    reason: str | None
    reserved_at: datetime
    ended_at: datetime | None
    seconds: float | None
    tokens: int | None
    progress_step: int | None
    progress_loss: float | None
    progress_at: datetime | None
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a trial's curve: after `step` steps, `flops` FLOPs and `seconds` of training in all.

    A loss that was not measured, or is not finite, is None.
    """

    step: int
    flops: int
    train_loss: float | None
    validation_loss: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A trial with its points, and the tokens and training seconds of its settled segments."""

    trial: TrialRow
    points: tuple[Point, ...] = ()
    tokens: int = 0
    seconds: float = 0.0

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(FLOPs, validation loss in nats a token) of every point that was evaluated."""
        return [(p.flops, p.validation_loss) for p in self.points if p.validation_loss is not None]

    @property
    def tokens_per_second(self) -> float | None:
        """Measured training speed; None where nothing was trained here."""
        return self.tokens / self.seconds if self.seconds > 0 else None
