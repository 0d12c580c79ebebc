"""Trials: added once per key and seed, looked up, reused from other studies."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from einsearch.errors import EinsearchError
from einsearch.store.books import Books
from einsearch.store.column_types import utc_now
from einsearch.store.curves import read_points, write_points
from einsearch.store.engine import Database
from einsearch.store.errors import DuplicateTrial
from einsearch.store.fence import enter, enter_trial
from einsearch.store.outage import survives_outages
from einsearch.store.rows import Point, TrialRow
from einsearch.store.schema import TRIAL_KINDS, TRIAL_STATES, es_study, es_trial

FINISHED = ("complete", "failed")
MATCHES_SHOWN = 10
# Built once: building a statement costs several times what SQLite takes to run it.
_INSERT = insert(es_trial).returning(es_trial)
_TWIN = select(es_trial.c.number).where(
    es_trial.c.study_id == bindparam("study"),
    es_trial.c.key == bindparam("key"),
    es_trial.c.seed == bindparam("seed"),
)
_LAST = select(func.max(es_trial.c.number)).where(es_trial.c.study_id == bindparam("study"))

NOT_COPIED = ("id", "study_id", "number", "created_at")


class Trials(Database):
    """The trials of a study and their curves."""

    @survives_outages
    def add_trial(
        self,
        study_id: int,
        epoch: int,
        *,
        key: str,
        seed: int,
        kind: str,
        candidate: dict[str, Any],
        label: str,
        flops_per_step: int,
        parameters: int,
        facts: dict[str, Any],
        suggestion: dict[str, Any] | None = None,
    ) -> TrialRow:
        """Queue a candidate; DuplicateTrial if the study has its key and seed already."""
        if kind not in TRIAL_KINDS:
            raise ValueError(f"a trial is one of {TRIAL_KINDS}, not {kind!r}")
        values = {
            "key": key,
            "seed": seed,
            "kind": kind,
            "candidate": candidate,
            "label": label,
            "state": "queued",
            "rung": -1,
            "step": 0,
            "flops_per_step": flops_per_step,
            "flops_done": 0,
            "parameters": parameters,
            "facts": facts,
            "suggestion": suggestion,
        }
        with self._write() as connection:
            return _insert(connection, enter(connection, study_id, epoch), values)

    @survives_outages
    def trials(self, study_id: int) -> list[TrialRow]:
        """All trials of a study in the order of their numbers."""
        with self._read() as connection:
            return read_trials(connection, study_id)

    @survives_outages
    def trial(self, study_id: int, key_prefix: str, *, seed: int | None = None) -> TrialRow:
        """The one trial whose key begins so; EinsearchError, listing what matches, if none or several."""
        begins_so = func.substr(es_trial.c.key, 1, len(key_prefix)) == key_prefix
        query = select(es_trial).where(es_trial.c.study_id == study_id, begins_so).order_by(es_trial.c.number)
        if seed is not None:
            query = query.where(es_trial.c.seed == seed)
        with self._read() as connection:
            found = _rows(connection, query)
        wanted = f"{key_prefix!r}" if seed is None else f"{key_prefix!r} and seed {seed}"
        if not found:
            raise EinsearchError(f"no trial of this study has a key that begins with {wanted}")
        if len(found) > 1:
            matches = [f"{trial.key} seed {trial.seed} ({trial.label})" for trial in found[:MATCHES_SHOWN]]
            more = f" and {len(found) - MATCHES_SHOWN} more" if len(found) > MATCHES_SHOWN else ""
            raise EinsearchError(
                f"{len(found)} trials have a key that begins with {wanted}: {', '.join(matches)}{more}; "
                "give more of the key or the seed"
            )
        return found[0]

    @survives_outages
    def points(self, study_id: int) -> dict[int, list[Point]]:
        """The curves of a study by trial id, each in the order of its steps."""
        with self._read() as connection:
            return read_points(connection, es_trial.c.study_id == study_id)

    @survives_outages
    def set_trial_state(
        self, trial_id: int, epoch: int, state: str, *, reason: str | None = None, rung: int | None = None
    ) -> None:
        """Set the state and its reason (None clears it) of a trial that is not running; `rung` if given.

        Only the ledger starts and ends 'running': it is the state of a trial with a reserved segment.
        """
        if state not in TRIAL_STATES or state == "running":
            raise ValueError(f"a trial is set to one of {TRIAL_STATES} but 'running', not to {state!r}")
        values: dict[str, Any] = {"state": state, "reason": reason, "finished_at": finish_time(state)}
        if rung is not None:
            values["rung"] = rung
        with self._write() as connection:
            enter_trial(connection, trial_id, epoch)
            changed = connection.execute(
                update(es_trial).where(es_trial.c.id == trial_id, es_trial.c.state != "running").values(**values)
            )
            if changed.rowcount != 1:
                raise ValueError(f"trial {trial_id} has a reserved segment; settle or lose it first")

    @survives_outages
    def reusable(self, protocol_id: str, key: str, seed: int, flops: int) -> TrialRow | None:
        """A complete ladder trial of any study with this protocol, trained for at least `flops` FLOPs.

        The shortest such one, or None.
        """
        query = (
            select(es_trial)
            .join(es_study, es_study.c.id == es_trial.c.study_id)
            .where(
                es_study.c.protocol_id == protocol_id,
                es_trial.c.kind == "ladder",
                es_trial.c.state == "complete",
                es_trial.c.key == key,
                es_trial.c.seed == seed,
            )
        )
        with self._read() as connection:
            long_enough = [trial for trial in _rows(connection, query) if trial.flops_done >= flops]
        return min(long_enough, key=lambda trial: (trial.flops_done, trial.id), default=None)

    @survives_outages
    def add_reused_trial(self, study_id: int, epoch: int, source: TrialRow) -> TrialRow:
        """Copy a complete trial of another study, and its points, into this one; it costs nothing here.

        `reused_from` names the trial that did the work, also where `source` is itself a copy.
        """
        if source.state != "complete":
            raise ValueError(f"trial {source.id} is {source.state}: only a complete trial is reused")
        values = {name: value for name, value in asdict(source).items() if name not in NOT_COPIED}
        values["reused_from"] = source.id if source.reused_from is None else source.reused_from
        with self._write() as connection:
            books = enter(connection, study_id, epoch)
            _check_same_protocol(connection, books, source)
            points = read_points(connection, es_trial.c.id == source.id).get(source.id, [])
            trial = _insert(connection, books, values)
            write_points(connection, trial.id, points)
        return trial


def finish_time(state: str) -> datetime | None:
    """The moment to store as `finished_at` of a trial that enters this state."""
    return utc_now() if state in FINISHED else None


def read_trials(connection: Connection, study_id: int) -> list[TrialRow]:
    """A study's trials in the order of their numbers."""
    return _rows(connection, select(es_trial).where(es_trial.c.study_id == study_id).order_by(es_trial.c.number))


def _rows(connection: Connection, query: Select[Any]) -> list[TrialRow]:
    return [TrialRow(**row._mapping) for row in connection.execute(query)]


def _check_same_protocol(connection: Connection, books: Books, source: TrialRow) -> None:
    columns = es_study.c
    rows = connection.execute(
        select(columns.id, columns.protocol_id).where(columns.id.in_([books.id, source.study_id]))
    )
    protocols = {row.id: row.protocol_id for row in rows}
    theirs = protocols.get(source.study_id)  # None: its study was deleted meanwhile
    if theirs != protocols[books.id]:
        raise ValueError(f"trial {source.id} of protocol {theirs!r} cannot stand for one of {protocols[books.id]!r}")


def _insert(connection: Connection, books: Books, values: dict[str, Any]) -> TrialRow:
    named = {"study": books.id, "key": values["key"], "seed": values["seed"]}
    twin = connection.execute(_TWIN, named).scalar_one_or_none()
    if twin is not None:
        raise DuplicateTrial(
            f"trial {twin} of study {books.name!r} has key {values['key']!r} and seed {values['seed']} "
            "already; a key is trained once per seed"
        )
    last = connection.execute(_LAST, {"study": books.id}).scalar_one()
    number = 0 if last is None else last + 1
    row = {"study_id": books.id, "number": number, "created_at": utc_now(), **values}
    return TrialRow(**connection.execute(_INSERT, row).one()._mapping)
