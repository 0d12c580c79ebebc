"""Opening: one clear line for everything that is not a store, and never a password."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

import einsearch
from einsearch.errors import EinsearchError
from einsearch.store import Store, engine


def refusal(url, **options):
    with pytest.raises(EinsearchError) as caught:
        Store.open(url, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_store_opens_again_with_and_without_create(store_url):
    with Store.open(store_url) as store:
        study = store.create_study(name="s", config={}, protocol={}, protocol_id="p", budget=1)
    for create in (True, False):
        with Store.open(store_url, create=create) as store:
            assert store.studies() == [study]


def test_a_sqlite_store_is_ready_for_several_processes(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/new/folder/s.db") as store, store._read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "busy_timeout", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "busy_timeout": 60000, "synchronous": 1, "foreign_keys": 1}


def test_a_relative_path_stays_the_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store.open("sqlite:///s.db") as store:
        monkeypatch.chdir("/")
        assert store.studies() == []
        assert store.url == f"sqlite:///{tmp_path}/s.db"
        assert repr(store) == f"Store('sqlite:///{tmp_path}/s.db')"


def test_no_store_yet(tmp_path):
    expected = f"there is no store at sqlite:///{tmp_path}/s.db yet; `einsearch run` makes one"
    url = f"sqlite:///{tmp_path}/s.db"
    assert refusal(url, create=False) == expected
    assert not (tmp_path / "s.db").exists()
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("CREATE TABLE something_else (x)")
    assert refusal(url, create=False) == expected


def test_a_folder_is_no_store(tmp_path):
    assert refusal(f"sqlite:///{tmp_path}") == (
        f"{tmp_path} is a folder; name a file in it: sqlite:///{tmp_path}/einsearch.db"
    )


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database(tmp_path, create):
    file = tmp_path / "notes.txt"
    file.write_text("nothing that SQLite could read, " * 50)
    assert refusal(f"sqlite:///{file}", create=create) == (
        f"sqlite:///{file} is not a SQLite database; give another --store"
    )
    assert file.read_text().startswith("nothing")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    message = refusal(f"sqlite:///{tmp_path}/file/s.db")
    assert message.startswith(f"{tmp_path}/file/s.db cannot be reached (")
    assert message.endswith("); give another --store")


OPEN_WITHOUT_RIGHTS = """
import os, sys
from einsearch.errors import EinsearchError
from einsearch.store import Store
warm, *urls = sys.argv[1:]
Store.open(warm).close()  # after setuid nothing more can be imported from root's folders
if os.geteuid() == 0:
    os.setuid(65534)
for url in urls:
    try:
        Store.open(url)
    except EinsearchError as error:
        print(error)
"""


def test_files_and_folders_without_rights():
    """In a process that is not root: root may write everywhere."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as warm:
        folder = Path(name)
        Store.open(f"sqlite:///{folder}/s.db").close()
        (folder / "closed").mkdir(mode=0o700 if os.geteuid() == 0 else 0)
        (folder / "open").mkdir()
        (folder / "open").chmod(0o777)
        os.link(folder / "s.db", folder / "open" / "s.db")
        (folder / "s.db").chmod(0o444)
        folder.chmod(0o555)
        places = [folder / "new.db", folder / "closed" / "s.db", folder / "open" / "s.db"]
        answer = subprocess.run(
            [
                sys.executable,
                "-c",
                OPEN_WITHOUT_RIGHTS,
                *(f"sqlite:///{place}" for place in [f"{warm}/s.db", *places]),
            ],
            env={**os.environ, "PYTHONPATH": str(Path(einsearch.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        )
        folder.chmod(0o755)
    read_only = "is read-only; make the file and its folder writable or give another --store"
    first, second, third = answer.stdout.splitlines()
    assert first == f"sqlite:///{places[0]} {read_only}"
    assert second.startswith(f"{places[1]} cannot be reached (Permission denied")
    assert third == f"sqlite:///{places[2]} {read_only}"


def test_a_store_that_another_process_keeps_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/s.db"
    with Store.open(url) as store, closing(sqlite3.connect(tmp_path / "s.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.studies() == [], "readers do not wait for writers"
        with pytest.raises(EinsearchError, match="has been locked by another process for 60 s; stop that"):
            store.create_study(name="s", config={}, protocol={}, protocol_id="p", budget=1)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "'' is not a store URL; write sqlite:///PATH"),
        ("runs/einsearch.db", "'runs/einsearch.db' is not a store URL; write sqlite:///PATH"),
        ("sqlite://", "'sqlite://' would forget the study at exit: name a file, sqlite:///PATH"),
        ("sqlite:///:memory:", "would forget the study at exit"),
        ("sqlite://runs/s.db", "'sqlite://runs/s.db' is not the URL of a SQLite file"),
        ("sqlite:///file:s.db?mode=ro&uri=true", "is not the URL of a SQLite file"),
        (
            "mysql://me:secret@host/db",
            "a store cannot be kept in 'mysql' (mysql://***@host/db); write sqlite",
        ),
        ("nonsense+driver://me:secret@host/db", "cannot be kept in 'nonsense+driver'"),
        ("postgresql+psycopg2://me:secret@host/db", "cannot be kept in 'postgresql+psycopg2'"),
        (
            "postgresql+psycopg://me:secret@host:port/db",
            "'postgresql+psycopg://***@host:port/db' is not a store",
        ),
        ("postgresql+psycopg//me:secret@host/db", "is not a store URL"),
        ("sqlite:///s.db?password=secret", "'sqlite:///s.db?password=***' is not the URL"),
    ],
)
def test_a_url_that_is_wrong(url, says):
    message = refusal(url)
    assert says in message
    assert "secret" not in message


def test_a_missing_driver_names_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = refusal("postgresql://me:secret@host/db?sslpassword=secret")
    assert message.startswith("a PostgreSQL store needs the driver psycopg (")
    assert message.endswith("): pip install 'einsearch[postgres]'")
    assert "secret" not in message


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("postgresql+psycopg://me:se/cr@et@host/db", "postgresql+psycopg://***@host/db"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db"),
        ("postgresql://host/db?user=me&PassWord=secret&x=1", "postgresql://host/db?user=me&PassWord=***&x=1"),
    ],
)
def test_redact(url, printed):
    assert engine.redact(url) == printed


def test_a_bug_keeps_its_traceback(store):
    with pytest.raises(Exception, match="no_such_table") as caught, store._read() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    assert not isinstance(caught.value, EinsearchError)


def test_a_server_that_does_not_answer():
    pytest.importorskip("psycopg")
    message = refusal("postgresql+psycopg://me:secret@127.0.0.1:1/db?connect_timeout=2")
    assert message.startswith("postgresql+psycopg://***@127.0.0.1:1/db?connect_timeout=2 answers: ")
    assert message.endswith("; check the server, the database and the user's rights")
    assert "secret" not in message
