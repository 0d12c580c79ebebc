"""Studies moved between stores, whatever databases hold them: rows as they are, ids as the target gives them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from einsearch.errors import EinsearchError
from einsearch.store.fence import clock, read_lease
from einsearch.store.leases import LEASE_TIMEOUT, refuse_if_live
from einsearch.store.schema import es_lease, es_point, es_segment, es_study, es_trial
from einsearch.store.store import Store

_CHUNK = 1000


def copy_studies(
    source: Store, target: Store, names: Sequence[str] | None, *, alive: Callable[[str], bool | None]
) -> list[str]:
    """Copy studies (None: all), in one transaction, and return their names; the source stays as it is.

    `alive` is that of `Store.acquire_lease`: a study that is being run is refused, one whose driver died is copied
    as it was left, and whoever resumes it there books what was lost. A reused trial names the copy of the trial that
    did the work; where the target has none, `reused_from` is minus its id in the source.

    Raises EinsearchError for a study that is missing, being run, or whose name the target has.
    """
    with source._read() as reading, target._write() as writing:
        studies = _select_studies(reading, names, source.url)
        _check_names_are_free(writing, [study["name"] for study in studies], target.url)
        for study in studies:
            _check_is_at_rest(reading, study, alive)
        trial_ids: dict[int, int] = {}
        for study in studies:
            trial_ids |= _copy_one(reading, writing, study)
        for study in studies:
            _name_reused(reading, writing, study["id"], trial_ids)
    return [study["name"] for study in studies]


def _select_studies(reading: Connection, names: Sequence[str] | None, url: str) -> list[dict[str, Any]]:
    rows = reading.execute(select(es_study).order_by(es_study.c.id))
    studies = {row.name: dict(row._mapping) for row in rows}
    wanted = list(studies) if names is None else names
    if missing := [name for name in wanted if name not in studies]:
        there = "it has " + ", ".join(map(repr, studies)) if studies else "it has no study yet"
        raise EinsearchError(f"there is no study {missing[0]!r} in {url}; {there}")
    return [study for name, study in studies.items() if name in wanted]


def _check_names_are_free(writing: Connection, names: Sequence[str], url: str) -> None:
    taken = writing.execute(select(es_study.c.name).where(es_study.c.name.in_(names))).scalars().all()
    if taken:
        raise EinsearchError(
            f"study {taken[0]!r} already exists in {url}; remove that one (einsearch clean), or copy others by --study"
        )


def _check_is_at_rest(reading: Connection, study: dict[str, Any], alive: Callable[[str], bool | None]) -> None:
    held = read_lease(reading, study["id"])
    if held is not None:
        refuse_if_live(study["name"], held, clock(reading), alive(held.owner), LEASE_TIMEOUT)


def _copy_one(reading: Connection, writing: Connection, study: dict[str, Any]) -> dict[int, int]:
    """Copy a study's rows; returns the new id of every trial by its old one."""
    old = study["id"]
    writing.execute(insert(es_study).values(_without(study, "id")))
    new: int = writing.execute(select(es_study.c.id).where(es_study.c.name == study["name"])).scalar_one()
    # Epochs only grow, also here: those of the segments are older than that of the next driver.
    for rows in _rows(reading, es_lease, old):
        writing.execute(insert(es_lease), [row | {"study_id": new, "owner": None} for row in rows])
    numbers: dict[int, int] = {}
    for rows in _rows(reading, es_trial, old):
        numbers |= {row["number"]: row["id"] for row in rows}
        writing.execute(insert(es_trial), [_without(row, "id") | {"study_id": new} for row in rows])
    made = writing.execute(select(es_trial.c.number, es_trial.c.id).where(es_trial.c.study_id == new))
    trial_ids = {numbers[row.number]: row.id for row in made}
    for rows in _rows(reading, es_segment, old):
        moved = [{"study_id": new, "trial_id": trial_ids[row["trial_id"]]} for row in rows]
        writing.execute(insert(es_segment), [_without(row, "id") | ids for row, ids in zip(rows, moved, strict=True)])
    for rows in _rows(reading, es_point, old):
        writing.execute(insert(es_point), [row | {"trial_id": trial_ids[row["trial_id"]]} for row in rows])
    return trial_ids


def _name_reused(reading: Connection, writing: Connection, study_id: int, trial_ids: dict[int, int]) -> None:
    """Let the copies of a study's reused trials name a trial of the target."""
    columns = es_trial.c
    reused = reading.execute(
        select(columns.id, columns.reused_from).where(columns.study_id == study_id, columns.reused_from > 0)
    ).all()
    for trial in reused:
        origin = trial_ids.get(trial.reused_from) or _same_trial(reading, writing, trial.reused_from)
        values = {"reused_from": -trial.reused_from if origin is None else origin}
        writing.execute(update(es_trial).where(columns.id == trial_ids[trial.id]).values(values))


def _same_trial(reading: Connection, writing: Connection, trial_id: int) -> int | None:
    """The copy in the target, made by an earlier call, of a trial of the source."""
    columns = es_trial.c
    identity = (es_study.c.name, columns.key, columns.seed, columns.created_at)
    query = select(columns.id, *identity).join(es_study, es_study.c.id == columns.study_id)
    there = reading.execute(query.where(columns.id == trial_id)).one_or_none()
    if there is None:  # its study was deleted
        return None
    same = [column == value for column, value in zip(identity, there[1:], strict=True)]
    return writing.execute(query.where(*same)).scalars().one_or_none()


def _rows(reading: Connection, table: Table, study_id: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table that belong to a study, in the order of their ids, in chunks."""
    query = select(table).order_by(*table.primary_key.columns)
    if "study_id" in table.c:
        query = query.where(table.c.study_id == study_id)
    else:
        query = query.join(es_trial, es_trial.c.id == table.c.trial_id).where(es_trial.c.study_id == study_id)
    for chunk in reading.execute(query, execution_options={"yield_per": _CHUNK}).partitions():
        yield [dict(row._mapping) for row in chunk]


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
