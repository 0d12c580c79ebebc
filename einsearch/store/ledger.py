"""The ledger: FLOPs are reserved before a segment runs and settled or lost after, each in one transaction.

Always spent + lost + reserved <= budget, whatever crashes or runs in parallel.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from einsearch.store.books import book, charge_as_lost
from einsearch.store.column_types import utc_now
from einsearch.store.curves import write_points
from einsearch.store.engine import Database
from einsearch.store.errors import AlreadySettled
from einsearch.store.fence import enter_segment, enter_trial
from einsearch.store.outage import survives_outages
from einsearch.store.rows import Point, SegmentRow
from einsearch.store.schema import TRIAL_STATES, es_segment, es_trial
from einsearch.store.trials import finish_time

# Built once: building a statement costs several times what SQLite takes to run it.
_INSERT = insert(es_segment).returning(es_segment)
_UPDATE_SEGMENT = update(es_segment).where(es_segment.c.id == bindparam("segment"))
_UPDATE_TRIAL = update(es_trial).where(es_trial.c.id == bindparam("trial"))
_STANDING_OF_TRIAL = select(es_trial.c.state, es_trial.c.step, es_trial.c.reused_from).where(
    es_trial.c.id == bindparam("trial")
)
_SEGMENT_AND_TRIAL = (
    select(es_segment, es_trial.c.flops_done)
    .join(es_trial, es_trial.c.id == es_segment.c.trial_id)
    .where(es_segment.c.id == bindparam("segment"))
)


class Ledger(Database):
    """The segments of a study and what they cost."""

    @survives_outages
    def segments(self, study_id: int) -> list[SegmentRow]:
        """All segments of a study in the order of their reservation."""
        with self._read() as connection:
            return read_segments(connection, study_id)

    @survives_outages
    def reserve(
        self, trial_id: int, epoch: int, *, start_step: int, end_step: int, flops: int, worker: str
    ) -> SegmentRow | None:
        """Reserve the FLOPs of steps [start_step, end_step); the trial is 'running' from now on.

        Returns None, with nothing changed, where the budget does not hold them. ValueError (a bug of
        the caller) if the trial is not at `start_step`, runs already, is finished or is a reused one.
        """
        if end_step <= start_step or flops <= 0:
            raise ValueError(f"steps [{start_step}, {end_step}) with {flops} FLOPs are no work to reserve")
        with self._write() as connection:
            books = enter_trial(connection, trial_id, epoch)
            _check_can_run(connection, trial_id, start_step)
            if books.committed + flops > books.budget:
                return None
            reservation = {
                "study_id": books.id,
                "trial_id": trial_id,
                "epoch": epoch,
                "worker": worker,
                "start_step": start_step,
                "end_step": end_step,
                "flops": flops,
                "state": "reserved",
                "reserved_at": utc_now(),
            }
            row = connection.execute(_INSERT, reservation).one()
            book(connection, books, reserved=flops)
            connection.execute(_UPDATE_TRIAL, {"trial": trial_id, "state": "running"})
        return SegmentRow(**row._mapping)

    @survives_outages
    def settle(
        self,
        segment_id: int,
        epoch: int,
        *,
        end_step: int,
        flops: int,
        seconds: float,
        tokens: int,
        points: Sequence[Point],
        checkpoint: str | None,
        environment: dict[str, Any],
        peak_memory_bytes: int | None = None,
        state: str,
        rung: int,
        reason: str | None = None,
    ) -> None:
        """Book what a segment really did: `flops` up to the checkpoint at `end_step`, in `seconds`.

        The rest of the reservation is free again, and the trial moves to `end_step`, `state` (not
        'running'), `rung` and `reason`. A trial that diverged is settled as 'failed' with what it did.
        Raises LeaseLost for an older epoch, AlreadySettled for a segment that is done or lost, ValueError (a
        bug of the caller) for more work than was reserved.
        """
        if state not in TRIAL_STATES or state == "running":
            raise ValueError(f"a settled trial is one of {TRIAL_STATES} but 'running', not {state!r}")
        with self._write() as connection:
            books = enter_segment(connection, segment_id, epoch)
            segment = _reserved(connection, segment_id)
            _check_within(segment, end_step, flops, points)
            work = {
                "state": "done",
                "end_step": end_step,
                "flops": flops,
                "ended_at": utc_now(),
                "seconds": seconds,
                "tokens": tokens,
                "peak_memory_bytes": peak_memory_bytes,
            }
            connection.execute(_UPDATE_SEGMENT, {"segment": segment_id, **work})
            book(connection, books, spent=flops, reserved=-segment.flops)
            standing = {
                "state": state,
                "reason": reason,
                "rung": rung,
                "step": end_step,
                "flops_done": segment.flops_done + flops,
                "checkpoint": checkpoint,
                "environment": environment,
                "finished_at": finish_time(state),
            }
            connection.execute(_UPDATE_TRIAL, {"trial": segment.trial_id, **standing})
            write_points(connection, segment.trial_id, points)

    @survives_outages
    def lose(self, segment_id: int, epoch: int, reason: str) -> None:
        """Charge a segment whose worker died or hangs, whole; its trial is 'queued' again.

        Raises LeaseLost for an older epoch and AlreadySettled for a segment that is done or lost.
        """
        with self._write() as connection:
            books = enter_segment(connection, segment_id, epoch)
            _reserved(connection, segment_id)
            charge_as_lost(connection, books, es_segment.c.id == segment_id, reason)


def read_segments(connection: Connection, study_id: int) -> list[SegmentRow]:
    """A study's segments in the order of their reservation."""
    query = select(es_segment).where(es_segment.c.study_id == study_id).order_by(es_segment.c.id)
    return [SegmentRow(**row._mapping) for row in connection.execute(query)]


def _check_can_run(connection: Connection, trial_id: int, start_step: int) -> None:
    trial = connection.execute(_STANDING_OF_TRIAL, {"trial": trial_id}).one()
    if trial.state not in ("queued", "paused"):
        raise ValueError(f"trial {trial_id} is {trial.state}: only a queued or paused trial is reserved")
    if trial.reused_from is not None:
        raise ValueError(f"trial {trial_id} is reused: it cannot go on from another study's checkpoint")
    if trial.step != start_step:
        raise ValueError(f"trial {trial_id} stands at step {trial.step}: no segment begins at {start_step}")


def _reserved(connection: Connection, segment_id: int) -> Row[Any]:
    segment = connection.execute(_SEGMENT_AND_TRIAL, {"segment": segment_id}).one()
    if segment.state != "reserved":
        raise AlreadySettled(
            f"segment {segment_id} of trial {segment.trial_id} is already {segment.state}; a segment is booked once"
        )
    return segment


def _check_within(segment: Row[Any], end_step: int, flops: int, points: Sequence[Point]) -> None:
    if not 0 <= flops <= segment.flops:
        raise ValueError(f"segment {segment.id} settles {flops} FLOPs of {segment.flops} reserved")
    if not segment.start_step <= end_step <= segment.end_step:
        raise ValueError(
            f"segment {segment.id} ends at step {end_step}, outside [{segment.start_step}, {segment.end_step}]"
        )
    outside = [point.step for point in points if not segment.start_step <= point.step <= end_step]
    if outside:
        raise ValueError(
            f"segment {segment.id} has points at steps {outside}, outside [{segment.start_step}, {end_step}]"
        )
