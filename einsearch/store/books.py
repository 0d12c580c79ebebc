"""A study's FLOP counters, and the only two ways in which they change."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from einsearch.store.column_types import utc_now
from einsearch.store.schema import es_segment, es_study, es_trial

_BOOK = update(es_study).where(es_study.c.id == bindparam("study"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The counters of a locked study, in FLOPs."""

    id: int
    name: str
    budget: int
    spent: int
    lost: int
    reserved: int

    @property
    def committed(self) -> int:
        """FLOPs that are gone or promised: at most the budget."""
        return self.spent + self.lost + self.reserved


def book(connection: Connection, books: Books, *, spent: int = 0, lost: int = 0, reserved: int = 0) -> None:
    """Add to the counters of the study that this transaction has locked."""
    connection.execute(
        _BOOK,
        {
            "study": books.id,
            "spent": books.spent + spent,
            "lost": books.lost + lost,
            "reserved": books.reserved + reserved,
        },
    )


def charge_as_lost(connection: Connection, books: Books, which: ColumnElement[bool], reason: str) -> None:
    """Turn the study's reserved segments that match `which` into lost ones, charged whole.

    What a dead worker really did is unknown, so the whole reservation counts as used. The trials go
    back to 'queued': they continue from their last checkpoint in a new segment.
    """
    columns = es_segment.c
    segments = connection.execute(
        select(columns.id, columns.trial_id, columns.flops).where(
            columns.study_id == books.id, columns.state == "reserved", which
        )
    ).all()
    if not segments:
        return
    flops = sum(segment.flops for segment in segments)
    ended: dict[str, Any] = {"state": "lost", "reason": reason, "ended_at": utc_now()}
    connection.execute(update(es_segment).where(columns.id.in_([segment.id for segment in segments])).values(**ended))
    connection.execute(
        update(es_trial).where(es_trial.c.id.in_([segment.trial_id for segment in segments])).values(state="queued")
    )
    book(connection, books, lost=flops, reserved=-flops)
