"""A study's FLOP counters, and the only two ways in which they change."""

from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Connection, Transaction, bindparam, select, update

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
    now = replace(books, spent=books.spent + spent, lost=books.lost + lost, reserved=books.reserved + reserved)
    connection.execute(_BOOK, {"study": now.id, "spent": now.spent, "lost": now.lost, "reserved": now.reserved})
    if (held := entered(connection)) is not None:
        remember(connection, held[0], now)


_ENTERED: WeakKeyDictionary[Transaction, tuple[int, Books]] = WeakKeyDictionary()
"""What transactions found when they locked a study: until they end nobody else can change its books or its lease."""


def entered(connection: Connection) -> tuple[int, Books] | None:
    """The epoch that this transaction checked and the books as they are by now; None where it locked no study yet."""
    transaction = connection.get_transaction()
    return None if transaction is None else _ENTERED.get(transaction)


def remember(connection: Connection, epoch: int, books: Books) -> None:
    """Note that this transaction locked a study and checked the epoch."""
    transaction = connection.get_transaction()
    if transaction is not None:
        _ENTERED[transaction] = epoch, books


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
