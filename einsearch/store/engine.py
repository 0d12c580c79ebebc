"""From a store URL to a database, its transactions, and its troubles in one line."""

import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from einsearch.errors import EinsearchError

BUSY_SECONDS = 60
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
FORMS = "write sqlite:///PATH/einsearch.db or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
INSTALL_POSTGRESQL = "pip install 'psycopg[binary]'"

# What SQLite says, and what a person can do about it.
SQLITE_TROUBLE = {
    "unable to open database file": "cannot be opened; its folder must exist and be writable",
    "readonly database": "is read-only; make the file and its folder writable or give another --store",
    "file is not a database": "is not a SQLite database; give another --store",
    "database is locked": f"has been locked by another process for {BUSY_SECONDS} s; stop that process",
    "disk is full": "cannot grow, the disk is full; free some space and run again",
    "disk I/O error": "cannot be read or written (disk I/O error); check the disk or give another --store",
    "malformed": "is damaged; restore a copy or give another --store",
}


class _Batch(threading.local):
    """The transaction that a thread's writing calls share, if they do."""

    stack: ExitStack | None = None
    connection: Connection | None = None
    broken = False


class Database:
    """An open database whose transactions are either read or write."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine = engine
        self.url = url
        self._batch = _Batch()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """A transaction that sees one snapshot and waits for no writer."""
        if self._engine.dialect.name == "sqlite":
            options: dict[str, Any] = {}
        else:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._transaction(options) as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises.

        SQLite takes the write lock at once (BEGIN IMMEDIATE: a later upgrade from a read lock cannot
        wait). On PostgreSQL the block locks the study's row first, see `einsearch.store.fence`.
        Within :meth:`together` the block is a part of that transaction.
        """
        batch = self._batch
        if batch.stack is None:
            with self._transaction({"es_write": True}) as connection:
                yield connection
            return
        if batch.connection is None:
            batch.connection = batch.stack.enter_context(self._transaction({"es_write": True}))
        try:
            yield batch.connection
        except BaseException:
            batch.broken = True
            raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one transaction of all writing calls of this thread in the block: at its end all are committed, or none.

        It begins with the first of them. A reading call in the block does not see what they wrote. RuntimeError (a bug
        of the caller), with nothing committed, where one of them failed and the block went on.
        """
        batch = self._batch
        if batch.stack is not None:
            raise RuntimeError("together() within together()")
        try:
            with ExitStack() as stack:
                batch.stack = stack
                yield
                if batch.broken:
                    raise RuntimeError("a writing call failed within together(), so nothing of it is committed")
        finally:
            batch.stack, batch.connection, batch.broken = None, None, False

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                connection.execution_options(**options)
                with connection.begin():
                    yield connection
        except (DBAPIError, sqlite3.Error) as error:
            line = explain(self.url, error)
            if line is None:
                raise
            raise EinsearchError(line) from error


def parse_url(text: str) -> URL:
    """The URL of a database that can hold a store, SQLite paths made absolute.

    Raises EinsearchError for anything else; the text of a password is never in the message.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise EinsearchError(f"{redact(text)!r} is not a store URL; {FORMS}") from None
    if url.drivername not in DRIVERS:
        raise EinsearchError(f"a store cannot be kept in {url.drivername!r} ({redact(text)}); {FORMS}")
    url = url.set(drivername=DRIVERS[url.drivername])
    if url.drivername != "sqlite":
        return url
    if url.host or url.username or url.query or (url.database or "").startswith("file:"):
        raise EinsearchError(f"{redact(text)!r} is not the URL of a SQLite file; {FORMS}")
    if not url.database or url.database == ":memory:":
        raise EinsearchError(f"{text!r} would forget the study at exit: name a file, sqlite:///PATH")
    return url.set(database=str(Path(url.database).absolute()))


def shown(url: URL) -> str:
    """The URL as it may be printed: without password."""
    text = url.render_as_string(hide_password=False)
    return text if url.drivername == "sqlite" else redact(text)


def redact(text: str) -> str:
    """The text of a URL, right or wrong, without the parts that may hold a password.

    >>> redact("postgresql://me:secret@host/db?sslpassword=secret")
    'postgresql://***@host/db?sslpassword=***'
    """
    text = re.sub(r"(?s)^([\w+.-]+://)?.*@", r"\1***@", text)
    return re.sub(r"(?i)([?&][^=&]*pass[^=&]*=)[^&]*", r"\1***", text)


def prepare_sqlite(url: URL, *, create: bool) -> None:
    """Check the file of a SQLite URL; with `create`, make it and switch it to write-ahead logging.

    With write-ahead logging readers (report, dashboard) never block the driver. The mode stays in the
    file; changing it is the one step that cannot be part of a transaction, so it is tried again
    while another process holds the file.
    """
    assert url.database is not None
    path = Path(url.database)
    try:
        _check_file(path, shown(url), create=create)
    except OSError as error:
        raise EinsearchError(
            f"{path} cannot be reached ({error.strerror}: {error.filename}); give another --store"
        ) from error
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            if create:
                _switch_to_wal(connection, shown(url))
            else:
                connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        line = explain(shown(url), error)
        if line is None:
            raise
        raise EinsearchError(line) from error


def _check_file(path: Path, url: str, *, create: bool) -> None:
    if path.is_dir():
        raise EinsearchError(f"{path} is a folder; name a file in it: sqlite:///{path}/einsearch.db")
    if not create and not path.exists():
        raise EinsearchError(f"there is no store at {url} yet; `einsearch run` makes one")
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite also writes files beside the database.
        needed = [path.parent, path] if path.exists() else [path.parent]
        if not all(os.access(place, os.W_OK) for place in needed):
            raise EinsearchError(f"{url} {SQLITE_TROUBLE['readonly database']}")


def _switch_to_wal(connection: sqlite3.Connection, url: str) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            # SQLite answers "locked" to a change of mode without calling the busy handler.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise EinsearchError(f"{url} is on a file system without shared memory; use a local disk")
        return


def make_engine(url: URL) -> Engine:
    """The engine of a parsed URL."""
    # NaN in JSON would be accepted by SQLite and refused by PostgreSQL: refuse it on both.
    options: dict[str, Any] = {"json_serializer": partial(json.dumps, allow_nan=False)}
    if url.drivername == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **options)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, **options)
    except ImportError as error:
        raise EinsearchError(
            f"a PostgreSQL store needs the driver psycopg ({first_line(error)}): {INSTALL_POSTGRESQL}"
        ) from error


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # Python's sqlite3 begins nothing by itself: _begin_sqlite does
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("es_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def explain(url: str, error: DBAPIError | sqlite3.Error) -> str | None:
    """One line for trouble that a person can mend, None for a bug of ours."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = str(cause)
    if isinstance(cause, sqlite3.Error):
        for said, meaning in SQLITE_TROUBLE.items():
            if said in text:
                return f"{url} {meaning}"
        return None
    no_permission = getattr(cause, "sqlstate", None) == "42501"
    if isinstance(error, OperationalError) or no_permission:
        return f"{url} answers: {first_line(cause)}; check the server, the database and the user's rights"
    return None


def first_line(error: BaseException | None) -> str:
    """The first line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
