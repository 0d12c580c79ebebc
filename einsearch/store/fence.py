"""The first statements of every writing transaction: lock the study, check the caller's lease.

The locked study row puts all writers of one study in line: on PostgreSQL by FOR UPDATE, on SQLite
because the transaction began as BEGIN IMMEDIATE. The epoch is the fence: a driver that was taken over
can no longer write, however late its results come in.
"""

import time
from dataclasses import fields

from sqlalchemy import Connection, bindparam, func, select

from einsearch.store.books import Books, entered, remember
from einsearch.store.errors import LeaseLost
from einsearch.store.rows import LeaseRow
from einsearch.store.schema import es_lease, es_segment, es_study, es_trial

# Built once: building a statement costs several times what SQLite takes to run it.
_BOOKS = (
    select(*(es_study.c[field.name] for field in fields(Books)))
    .where(es_study.c.id == bindparam("study"))
    .with_for_update()
)
_STUDY_OF_TRIAL = select(es_trial.c.study_id).where(es_trial.c.id == bindparam("trial"))
_STUDY_OF_SEGMENT = select(es_segment.c.study_id).where(es_segment.c.id == bindparam("segment"))
_LEASE = select(es_lease).where(es_lease.c.study_id == bindparam("study"), es_lease.c.owner.is_not(None))


def lock_study(connection: Connection, study_id: int) -> Books | None:
    """Lock the study's row until the transaction ends and read its books; None if there is no study."""
    row = connection.execute(_BOOKS, {"study": study_id}).one_or_none()
    return None if row is None else Books(**row._mapping)


def enter(connection: Connection, study_id: int | None, epoch: int) -> Books:
    """Lock the study and check that `epoch` is its current lease; LeaseLost if not, or if it is gone.

    A transaction of several calls does so once: the lock keeps both as they are.
    """
    held = entered(connection)
    if held is not None and (held[0], held[1].id) == (epoch, study_id):
        return held[1]
    books = None if study_id is None else lock_study(connection, study_id)
    if books is None:
        raise LeaseLost(f"the study of this driver (epoch {epoch}) was deleted; its results are refused")
    # A second statement, not a join: PostgreSQL would answer from before it waited for the lock.
    lease = read_lease(connection, books.id)
    if lease is None:
        raise LeaseLost(f"the lease of study {books.name!r} was released; results of epoch {epoch} are refused")
    if lease.epoch != epoch:
        raise LeaseLost(
            f"study {books.name!r} was taken over by {process_of(lease.owner)} (epoch {lease.epoch}); "
            f"results of epoch {epoch} are refused"
        )
    remember(connection, epoch, books)
    return books


def enter_trial(connection: Connection, trial_id: int, epoch: int) -> Books:
    """`enter` the study of a trial."""
    study_id = connection.execute(_STUDY_OF_TRIAL, {"trial": trial_id}).scalar_one_or_none()
    return enter(connection, study_id, epoch)


def enter_segment(connection: Connection, segment_id: int, epoch: int) -> Books:
    """`enter` the study of a segment."""
    study_id = connection.execute(_STUDY_OF_SEGMENT, {"segment": segment_id}).scalar_one_or_none()
    return enter(connection, study_id, epoch)


def read_lease(connection: Connection, study_id: int) -> LeaseRow | None:
    """The lease of a study, None where nobody holds it."""
    row = connection.execute(_LEASE, {"study": study_id}).one_or_none()
    return None if row is None else LeaseRow(**row._mapping)


def process_of(owner: str) -> str:
    """The host:pid of an owner written host:pid:start-time."""
    return ":".join(owner.split(":")[:2])


def clock(connection: Connection) -> float:
    """Seconds since 1970 (UTC): of the server, where hosts with clocks of their own share it."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
    return time.time()
