"""Studies: made, listed, changed by their driver, deleted."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from einsearch.errors import EinsearchError
from einsearch.store.books import remember
from einsearch.store.column_types import utc_now
from einsearch.store.engine import Database
from einsearch.store.fence import clock, enter, lock_study, process_of, read_lease
from einsearch.store.leases import LEASE_TIMEOUT
from einsearch.store.outage import survives_outages
from einsearch.store.rows import StudyRow
from einsearch.store.schema import STUDY_STATES, es_study


class Studies(Database):
    """The table of studies."""

    @survives_outages
    def create_study(
        self, *, name: str, config: dict[str, Any], protocol: dict[str, Any], protocol_id: str, budget: int
    ) -> StudyRow:
        """Make a study in state 'new' with a budget in FLOPs; EinsearchError if the name is taken."""
        values = {
            "name": name,
            "created_at": utc_now(),
            "config": config,
            "protocol": protocol,
            "protocol_id": protocol_id,
            "budget": budget,
            "spent": 0,
            "lost": 0,
            "reserved": 0,
            "state": "new",
            "seconds": 0.0,
        }
        try:
            with self._write() as connection:
                connection.execute(insert(es_study).values(**values))
        except IntegrityError as error:
            raise EinsearchError(
                f"study {name!r} already exists in {self.url}; resume it or choose another name"
            ) from error
        return self.study(name)

    @survives_outages
    def study(self, name: str) -> StudyRow:
        """The study of this name; EinsearchError, with the names there are, if it is missing."""
        with self._read() as connection:
            row = connection.execute(select(es_study).where(es_study.c.name == name)).one_or_none()
            if row is not None:
                return StudyRow(**row._mapping)
            names = connection.execute(select(es_study.c.name).order_by(es_study.c.id)).scalars().all()
        there = "it has " + ", ".join(map(repr, names)) if names else "it has no study yet"
        raise EinsearchError(f"there is no study {name!r} in {self.url}; {there}")

    @survives_outages
    def studies(self) -> list[StudyRow]:
        """All studies, oldest first."""
        with self._read() as connection:
            rows = connection.execute(select(es_study).order_by(es_study.c.id))
            return [StudyRow(**row._mapping) for row in rows]

    @survives_outages
    def set_budget(self, study_id: int, epoch: int, budget: int) -> None:
        """Change the budget (FLOPs); EinsearchError if it is below what is already used or promised."""
        with self._write() as connection:
            books = enter(connection, study_id, epoch)
            if budget < books.committed:
                raise EinsearchError(
                    f"budget {budget} of study {books.name!r} is below the {books.committed} FLOPs already "
                    f"spent, lost or reserved; give at least {books.committed}"
                )
            connection.execute(update(es_study).where(es_study.c.id == books.id).values(budget=budget))
            remember(connection, epoch, replace(books, budget=budget))

    @survives_outages
    def set_study_state(self, study_id: int, epoch: int, state: str, *, seconds: float) -> None:
        """Set the state and the driver's wall-clock seconds so far (the total over all its runs)."""
        if state not in STUDY_STATES:
            raise ValueError(f"a study is one of {STUDY_STATES}, not {state!r}")
        with self._write() as connection:
            enter(connection, study_id, epoch)
            connection.execute(update(es_study).where(es_study.c.id == study_id).values(state=state, seconds=seconds))

    @survives_outages
    def delete_study(self, name: str) -> None:
        """Delete a study with its trials, segments and points; EinsearchError while a driver runs it."""
        study_id = self.study(name).id
        with self._write() as connection:
            lock_study(connection, study_id)
            lease = read_lease(connection, study_id)
            if lease is not None:
                age = abs(clock(connection) - lease.heartbeat_at)
                if age < LEASE_TIMEOUT:
                    raise EinsearchError(
                        f"study {name!r} is being run by {process_of(lease.owner)} (last sign of life "
                        f"{age:.0f} s ago); stop it, or wait until it has been silent for "
                        f"{LEASE_TIMEOUT:.0f} s"
                    )
            connection.execute(delete(es_study).where(es_study.c.id == study_id))


def read_study(connection: Connection, study_id: int, url: str) -> StudyRow:
    """The study with this id; EinsearchError, which names the store's `url`, if it is missing."""
    row = connection.execute(select(es_study).where(es_study.c.id == study_id)).one_or_none()
    if row is None:
        raise EinsearchError(f"there is no study with id {study_id} in {url}")
    return StudyRow(**row._mapping)
