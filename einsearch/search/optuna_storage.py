"""Optuna's tables in the database of a store: opened, made, and their troubles in one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from einsearch.errors import EinsearchError
from einsearch.store.engine import BUSY_SECONDS, explain, first_line, parse_url, shown

TROUBLE = (SQLAlchemyError, StorageInternalError)
"""What Optuna raises where its database fails it."""

_ATTEMPTS = 5


def open_storage(url: str, *, any_version: bool = False) -> RDBStorage:
    """Optuna's storage in the database of a store, reached by the same driver; its tables are made if missing.

    Raises EinsearchError where the tables are of an Optuna that this one does not work with, but for `any_version`.
    """
    parsed = parse_url(url)
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.drivername == "sqlite":
        arguments = {"connect_args": {"timeout": BUSY_SECONDS}}
    try:
        return RDBStorage(
            parsed.render_as_string(hide_password=False),
            engine_kwargs=arguments,
            skip_compatibility_check=any_version,
        )
    except RuntimeError as error:  # what RDBStorage raises for another version of its schema
        raise EinsearchError(
            f"the Optuna tables in {shown(parsed)} do not suit Optuna {optuna.__version__}; "
            "`einsearch db upgrade` brings old ones up to date"
        ) from error


def upgrade_tables(url: str) -> bool:
    """Bring Optuna's tables, which are there, to the schema of this Optuna; False where they have it already."""
    with optuna_storage(url, any_version=True) as storage:
        if storage.get_current_version() == storage.get_head_version():
            return False
        storage.upgrade()
        return True


@contextmanager
def optuna_storage(url: str, *, any_version: bool = False) -> Iterator[RDBStorage]:
    """`open_storage`, closed at the end; trouble with the database becomes an EinsearchError."""
    try:
        storage = open_storage(url, any_version=any_version)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except TROUBLE as error:
        raise EinsearchError(line_of(url, error)) from error


def make_tables(url: str) -> None:
    """Make Optuna's tables. Processes that do so at once get in each other's way, so it is tried again."""
    for attempt in range(_ATTEMPTS):
        try:
            with optuna_storage(url):
                return
        except EinsearchError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.2 * 2**attempt)


def line_of(url: str, error: Exception) -> str:
    """One line that says what went wrong, without passwords."""
    cause: BaseException = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    name = shown(parse_url(url))
    if isinstance(cause, DBAPIError):
        return explain(name, cause) or f"{name} refuses Optuna: {first_line(cause.orig)}"
    return f"{name} refuses Optuna: {first_line(cause)}"
