"""The driver's lease on a study: one driver at a time, and a growing epoch that tells them apart."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, bindparam, insert, select, true, update

from einsearch.errors import EinsearchError
from einsearch.store.books import charge_as_lost
from einsearch.store.column_types import utc_now
from einsearch.store.engine import Database
from einsearch.store.fence import clock, enter, lock_study, process_of, read_lease
from einsearch.store.losses import finite
from einsearch.store.outage import survives_outages
from einsearch.store.rows import LeaseRow
from einsearch.store.schema import es_lease, es_segment

LEASE_TIMEOUT = 30.0
# A process that answers "alive" but has not written for this many timeouts hangs: it may be replaced.
HANGING = 4

_LEASE = update(es_lease).where(es_lease.c.study_id == bindparam("study"))
_PROGRESS = update(es_segment).where(
    es_segment.c.id == bindparam("segment"),
    es_segment.c.study_id == bindparam("study"),
    es_segment.c.state == "reserved",
)


class Leases(Database):
    """Who may write to a study."""

    @survives_outages
    def lease(self, study_id: int) -> LeaseRow | None:
        """Who holds the lease, alive or not; None where it was released or never taken."""
        with self._read() as connection:
            return read_lease(connection, study_id)

    @survives_outages
    def acquire_lease(
        self,
        study_id: int,
        *,
        owner: str,
        alive: Callable[[str], bool | None],
        timeout: float = LEASE_TIMEOUT,
    ) -> int:
        """Become the study's driver; returns the epoch that every write must name.

        `owner` is host:pid:start-time. A lease held by another owner blocks (EinsearchError) while its
        last heartbeat is younger than `timeout` seconds; `alive(owner)` shortens that to nothing for
        a process known dead (False) and stretches it fourfold for one seen alive (True); None is unknown.

        In the same transaction the reserved segments of the former driver become lost, charged whole,
        and their trials 'queued'.
        """
        with self._write() as connection:
            books = lock_study(connection, study_id)
            if books is None:
                raise EinsearchError(f"there is no study with id {study_id} in {self.url}")
            now = clock(connection)
            held = read_lease(connection, study_id)
            if held is not None:
                refuse_if_live(books.name, held, now, alive(held.owner), timeout)
            epoch = _next_epoch(connection, study_id, owner, now)
            reason = f"driver {process_of(held.owner)} ended" if held else "driver ended"
            charge_as_lost(connection, books, true(), reason)
        return epoch

    @survives_outages
    def heartbeat(self, study_id: int, epoch: int) -> None:
        """Give a sign of life; LeaseLost if `epoch` is not the current lease."""
        with self._write() as connection:
            enter(connection, study_id, epoch)
            _beat(connection, study_id)

    @survives_outages
    def progress(self, study_id: int, epoch: int, updates: Sequence[tuple[int, int, float | None]]) -> None:
        """Record (segment id, step, training loss) of running segments, and a heartbeat with them.

        An update for a segment that is no longer reserved came too late and is dropped.
        """
        with self._write() as connection:
            enter(connection, study_id, epoch)
            _beat(connection, study_id)
            at = utc_now()
            rows = [
                {
                    "segment": segment_id,
                    "study": study_id,
                    "progress_step": step,
                    "progress_loss": finite(loss),
                    "progress_at": at,
                }
                for segment_id, step, loss in updates
            ]
            if rows:
                connection.execute(_PROGRESS, rows)

    @survives_outages
    def release_lease(self, study_id: int, epoch: int) -> None:
        """Stop being the driver. Segments still reserved are lost when the next driver begins."""
        with self._write() as connection:
            enter(connection, study_id, epoch)
            connection.execute(_LEASE, {"study": study_id, "owner": None})


def refuse_if_live(name: str, held: LeaseRow, now: float, is_alive: bool | None, timeout: float) -> None:
    """EinsearchError while the owner of a lease may still run its study; see `Leases.acquire_lease`."""
    # Whichever clock was wrong, a heartbeat from the far future is no sign of life either: abs.
    age = abs(now - held.heartbeat_at)
    patience = timeout * HANGING if is_alive else timeout
    if is_alive is not False and age < patience:
        raise EinsearchError(
            f"study {name!r} is being run by {process_of(held.owner)} (last sign of life {age:.0f} s ago); "
            f"stop it, or wait until it has been silent for {patience:.0f} s"
        )


def _next_epoch(connection: Connection, study_id: int, owner: str, now: float) -> int:
    last = connection.execute(select(es_lease.c.epoch).where(es_lease.c.study_id == study_id)).scalar_one_or_none()
    epoch = 1 if last is None else last + 1
    values = {"epoch": epoch, "owner": owner, "heartbeat_at": now}
    if last is None:
        connection.execute(insert(es_lease).values(study_id=study_id, **values))
    else:
        connection.execute(_LEASE, {"study": study_id, **values})
    return epoch


def _beat(connection: Connection, study_id: int) -> None:
    connection.execute(_LEASE, {"study": study_id, "heartbeat_at": clock(connection)})
