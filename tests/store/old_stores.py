"""Stores of every released schema: dumps in `data/`, each made by the einsearch of its time from studies that ran."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url

DATA = Path(__file__).parent / "data"
VERSIONS = sorted({file.name.split("-")[0] for file in DATA.glob("*-sqlite.sql")})


def fill(version: str, url: str) -> None:
    """Make an empty database what the einsearch of that schema left."""
    parsed = make_url(url)
    if parsed.drivername == "sqlite":
        with closing(sqlite3.connect(parsed.database or "")) as connection:
            connection.executescript((DATA / f"{version}-sqlite.sql").read_text())
        return
    import psycopg

    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute((DATA / f"{version}-postgresql.sql").read_text())
