"""Whether a database holds what this einsearch expects: revision, tables, the database's own integrity."""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from einsearch.store.migrate import revisions
from einsearch.store.schema import VERSION_TABLE, is_ours, metadata
from einsearch.store.store import Store


def schema_faults(store: Store) -> list[str]:
    """What is wrong with the tables of a store, a line each; none of them depends on what the rows say."""
    current, head = revisions(store)
    if current is None:
        return ["there are no tables of einsearch; `einsearch db init` makes them"]
    if current != head:
        return [f"the schema is {current}, this einsearch expects {head}; `einsearch db upgrade` brings it up to date"]
    with store._read() as connection:
        options = {"version_table": VERSION_TABLE, "include_name": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        faults = [_say(change) for change in _flat(compare_metadata(context, metadata))]
        if connection.dialect.name == "sqlite":
            faults += _sqlite_faults(connection)
    return faults


def optuna_tables(store: Store) -> bool:
    """Whether the database has tables of Optuna."""
    with store._read() as connection:
        return {"version_info", "alembic_version", "trials"} <= set(inspect(connection).get_table_names())


def _flat(changes: list[Any]) -> Iterator[tuple[Any, ...]]:
    for change in changes:
        # Changes of one column come as a list of their own.
        yield from change if isinstance(change, list) else [change]


def _say(change: tuple[Any, ...]) -> str:
    """A change that would make the database right, as what is wrong."""
    action, _, kind = change[0].partition("_")
    if action == "modify":
        return f"the {kind} of column {change[2]}.{change[3]} is {change[5]}, not {change[6]}"
    name = change[-1].name
    if kind == "column":
        name = f"{change[2]}.{name}"
    return f"{kind} {name} is missing" if action == "add" else f"{kind} {name} is none of einsearch's"


def _sqlite_faults(connection: Connection) -> Iterator[str]:
    for row in connection.execute(text("PRAGMA integrity_check")):
        if row[0] != "ok":
            yield f"SQLite says: {row[0]}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"a row of {row[0]} belongs to a row of {row[2]} that is not there"
