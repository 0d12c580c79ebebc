"""The points of a trial's curve."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from einsearch.store.losses import finite
from einsearch.store.rows import Point
from einsearch.store.schema import es_point, es_trial


def _upsert(insert: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    new = {name: insert.excluded[name] for name in ("flops", "train_loss", "validation_loss", "seconds")}
    return insert.on_conflict_do_update(index_elements=["trial_id", "step"], set_=new)


_UPSERT = {
    "sqlite": _upsert(sqlite.insert(es_point)),
    "postgresql": _upsert(postgresql.insert(es_point)),
}


def write_points(connection: Connection, trial_id: int, points: Sequence[Point]) -> None:
    """Write points of a trial; a step that is already there is overwritten, so writing twice is safe."""
    if not points:
        return
    connection.execute(
        _UPSERT[connection.dialect.name],
        [
            {
                "trial_id": trial_id,
                "step": point.step,
                "flops": point.flops,
                "train_loss": finite(point.train_loss),
                "validation_loss": finite(point.validation_loss),
                "seconds": point.seconds,
            }
            for point in points
        ],
    )


def read_points(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[Point]]:
    """The curves of the trials that match `which` by trial id, each in the order of its steps."""
    rows = connection.execute(
        select(es_point)
        .join(es_trial, es_trial.c.id == es_point.c.trial_id)
        .where(which)
        .order_by(es_point.c.trial_id, es_point.c.step)
    )
    curves: dict[int, list[Point]] = {}
    for row in rows:
        values = dict(row._mapping)
        curves.setdefault(values.pop("trial_id"), []).append(Point(**values))
    return curves
