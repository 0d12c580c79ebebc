"""The check of the tables finds what is wrong with them."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from einsearch.store import Store
from einsearch.store.check import schema_faults

from .old_stores import fill


def test_a_new_store_has_no_faults(store):
    assert schema_faults(store) == []


@pytest.mark.parametrize(
    ("difference", "fault"),
    [
        ("ALTER TABLE es_study ADD COLUMN colour TEXT", "column es_study.colour is none of einsearch's"),
        ("DROP INDEX uq_es_segment_reserved", "index uq_es_segment_reserved is missing"),
        ("DROP TABLE es_point", "table es_point is missing"),
        ("CREATE TABLE es_extra (id INTEGER)", "table es_extra is none of einsearch's"),
        ("ALTER TABLE es_trial DROP COLUMN label", "column es_trial.label is missing"),
    ],
)
def test_tables_that_differ(store, difference, fault):
    with store._write() as connection:
        connection.execute(text(difference))
    assert schema_faults(store) == [fault]


def test_an_old_schema_and_none(store_url):
    fill("0001", store_url)
    with Store.as_it_is(store_url) as store:
        (fault,) = schema_faults(store)
    assert fault.startswith("the schema is 0001, this einsearch expects ")
    assert fault.endswith("; `einsearch db upgrade` brings it up to date")


def test_a_database_without_a_store(tmp_path):
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("CREATE TABLE something_else (x)")
    with Store.as_it_is(f"sqlite:///{tmp_path}/s.db") as store:
        assert schema_faults(store) == ["there are no tables of einsearch; `einsearch db init` makes them"]


def test_rows_without_an_owner(tmp_path):
    Store.open(f"sqlite:///{tmp_path}/s.db").close()
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:  # without the enforcement that our engine asks for
        connection.execute("INSERT INTO es_point VALUES (77, 1, '1', 1.0, 1.0, 1.0)")
        connection.commit()
    with Store.as_it_is(f"sqlite:///{tmp_path}/s.db") as store:
        assert schema_faults(store) == ["a row of es_point belongs to a row of es_trial that is not there"]
