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
from sqlalchemy.pool import QueuePool

from einsearch.errors import EinsearchError
from einsearch.store.errors import StoreUnreachable
from einsearch.store.outage import Patience
from einsearch.store.receipts import Receipts, was_committed

BUSY_SECONDS = 60
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
FORMS = "write sqlite:///PATH/einsearch.db or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
INSTALL_POSTGRESQL = "pip install 'einsearch[postgres]'"

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

# Errors of PostgreSQL that are no OperationalError and yet nobody's bug: insufficient privilege, read-only
# transaction (a standby server), no schema to create tables in.
POSTGRESQL_TROUBLE = ("42501", "25006", "3F000")


# NaN in JSON would be accepted by SQLite and refused by PostgreSQL: refuse it on both.
_JSON = partial(json.dumps, allow_nan=False)


class _Batch(threading.local):
    """The transaction that a thread's writing calls share, if they do."""

    stack: ExitStack | None = None
    connection: Connection | None = None
    broken = False


class Database:
    """An open database whose transactions are either read or write.

    answered: whether the server has answered so far, so that it is worth waiting for. `url` has no password.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine = engine
        self.url = url
        self._batch = _Batch()
        self.answered = False
        self._receipts = Receipts()

    @property
    def _on_server(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    @property
    def gathers(self) -> bool:
        """Whether :meth:`together` makes one transaction of several calls."""
        return not self._on_server

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """A transaction that sees one snapshot and waits for no writer."""
        if self._on_server:
            options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        else:
            options = {}
        with self._transaction(options) as connection:
            yield connection

    @contextmanager
    def _write(self, *, receipt: bool = True) -> Iterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises.

        SQLite takes the write lock at once (BEGIN IMMEDIATE: a later upgrade from a read lock cannot
        wait). On PostgreSQL the block locks the study's row first, see `einsearch.store.fence`.
        Within :meth:`together` the block is a part of that transaction.

        Where the connection is lost the block raises StoreUnreachable with nothing committed, so that it may be
        done again, or ends in order because its commit turns out to have succeeded; without `receipt` that is
        not found out.
        """
        batch = self._batch
        if batch.stack is None:
            with self._transaction({"es_write": True}, receipt=receipt and self._on_server) as connection:
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

        On a server each call stays a transaction of its own: one whose connection is lost is done again by itself,
        and what was done with the answers of those before it could not be taken back.
        """
        if self._on_server:
            yield
            return
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
    def _transaction(self, options: dict[str, Any], *, receipt: bool = False) -> Iterator[Connection]:
        reached = committing = False
        token: str | None = None
        try:
            with self._engine.connect() as connection:
                reached = True
                connection.execution_options(**options)
                with connection.begin():
                    if receipt:
                        token = self._receipts.leave(connection)
                    yield connection
                    committing = True
        except (DBAPIError, sqlite3.Error) as error:
            trouble = self._trouble(error, reached)
            if trouble is None:
                raise
            if not (committing and token and isinstance(trouble, StoreUnreachable)):
                raise trouble from error
            if not self._was_committed(token, trouble):
                raise trouble from error
        self.answered = True
        if token:
            self._receipts.committed(token)

    def _was_committed(self, token: str, trouble: StoreUnreachable) -> bool:
        """Ask the server, as soon as it is back, what became of the transaction with this receipt."""
        patience = Patience(self)
        while True:
            patience.wait(trouble)
            try:
                with self._write(receipt=False) as connection:
                    answer = was_committed(connection, token)
            except StoreUnreachable as error:
                trouble = error
            else:
                patience.over()
                return answer

    def _trouble(self, error: DBAPIError | sqlite3.Error, reached: bool) -> EinsearchError | None:
        """The error as a person may read it, None for a bug of ours."""
        line = explain(self.url, error)
        lost = not reached or (isinstance(error, DBAPIError) and error.connection_invalidated)
        if self._on_server and lost:
            return StoreUnreachable(line or f"{self.url} closed the connection: {first_line(error)}")
        return None if line is None else EinsearchError(line)


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
    if url.drivername == "sqlite":
        return _sqlite_engine(url, {"timeout": BUSY_SECONDS})
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args=_libpq_arguments(url),
            json_serializer=_JSON,
        )
    except ImportError as error:
        raise EinsearchError(
            f"a PostgreSQL store needs the driver psycopg ({first_line(error)}): {INSTALL_POSTGRESQL}"
        ) from error
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def memory_engine() -> Engine:
    """The engine of a SQLite database in this process's memory: one connection, for which threads wait in turn."""
    return _sqlite_engine(
        URL.create("sqlite"),
        {"check_same_thread": False},
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
    )


def _sqlite_engine(url: URL, arguments: dict[str, Any], **pool: Any) -> Engine:
    engine = create_engine(url, connect_args=arguments, json_serializer=_JSON, **pool)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _libpq_arguments(url: URL) -> dict[str, Any]:
    """UTF-8, and after how many seconds a host that is gone without a word counts as gone, if the URL says nothing."""
    defaults = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    return {"client_encoding": "utf8"} | {name: n for name, n in defaults.items() if name not in url.query}


def _set_up_postgresql(connection: Any, _record: object) -> None:
    """Let the server end transactions of a driver that it no longer hears, which would hold the study's lock."""
    connection.execute(f"SET idle_in_transaction_session_timeout = '{BUSY_SECONDS}s'")
    connection.commit()


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
    if isinstance(error, OperationalError) or getattr(cause, "sqlstate", None) in POSTGRESQL_TROUBLE:
        return f"{url} answers: {first_line(cause)}; check the server, the database and the user's rights"
    return None


def first_line(error: BaseException | None) -> str:
    """The first line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
