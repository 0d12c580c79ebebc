"""Bring a database to the schema of this einsearch, or say why not."""

import threading

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from einsearch import __version__
from einsearch.errors import EinsearchError
from einsearch.store.engine import Database
from einsearch.store.schema import VERSION_TABLE

# Alembic hands its context to env.py through a module global: one upgrade at a time in a process.
_ONE_UPGRADE = threading.Lock()
_POSTGRESQL_LOCK = 0x65696E73  # any constant that all processes share; the letters "eins"


def revisions(database: Database) -> tuple[str | None, str]:
    """The schema revision of a database (None: no store) and the one that this einsearch has.

    Raises EinsearchError for a revision that this einsearch does not know.
    """
    scripts = ScriptDirectory.from_config(_config())
    head = scripts.get_current_head()
    assert head is not None
    with database._read() as connection:
        current = _revision(connection)
    if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise EinsearchError(
            f"store {database.url} has schema revision {current!r} that this einsearch ({__version__}) "
            "does not know; upgrade einsearch or use another --store"
        )
    return current, head


def bring_to_head(database: Database, *, create: bool) -> None:
    """Upgrade the schema where `create` allows it; processes that open at once wait for the first.

    Raises EinsearchError for a revision that this einsearch does not know and, without `create`, for
    a database with no store or an old one.
    """
    current, head = revisions(database)
    if current == head:
        return
    if not create and current is None:
        raise EinsearchError(f"there is no store at {database.url} yet; `einsearch run` makes one")
    if not create:
        raise EinsearchError(
            f"store {database.url} has the old schema revision {current!r}; `einsearch db upgrade` upgrades it"
        )
    with _ONE_UPGRADE, database._write(receipt=False) as connection:
        if connection.dialect.name == "postgresql":
            _check_encoding(connection, database.url)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
        if _revision(connection) != head:  # another process may have been first
            command.upgrade(_config(connection), "head")


def _check_encoding(connection: Connection, url: str) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise EinsearchError(
            f"the database of {url} has the encoding {encoding}, which cannot hold all names; make one with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "einsearch.store:migrations")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()
