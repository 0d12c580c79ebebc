"""`einsearch db`, and what every command says of a database that it cannot use."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest

from einsearch.store import Store

from ..store.old_stores import fill

if TYPE_CHECKING:
    from ..postgresql import Server
    from .conftest import Answer, Cli


def refused(answer: Answer, *says: str) -> None:
    """One line that says so, without a password, and exit code 2."""
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("einsearch: ")
    assert answer.err.count("\n") == 1
    for part in says:
        assert part in answer.err
    for secret in ("t0p", "Secret", "%40word", "wr0ng"):
        assert secret not in answer.err


def test_init_makes_both_schemas_and_may_be_repeated(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    for _ in range(2):
        answer = cli("db", "init", url)
        assert (answer.code, answer.out) == (0, f"{url}: schema 0002, ready\n")
    assert optuna.get_all_study_names(url) == []
    assert cli("db", "check", url).out == f"{url}: schema 0002\nall in order\n"


def test_processes_that_make_a_new_store_at_once(postgresql_server: Server, tmp_path: Path) -> None:
    code = "import sys; from einsearch.cli.main import main; sys.argv[0] = 'einsearch'; main()"
    with postgresql_server.database() as url:
        for place in (url, f"sqlite:///{tmp_path}/s.db"):
            begun = [
                subprocess.Popen(
                    [sys.executable, "-c", code, "db", "init", place], stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
                for _ in range(3)
            ]
            answers = [process.communicate(timeout=300) for process in begun]
            assert [process.returncode for process in begun] == [0] * 3, answers


def test_the_store_is_the_usual_one_if_nothing_is_said(cli: Cli, tmp_path: Path) -> None:
    refused(cli("db", "check"), f"there is no store at sqlite:///{tmp_path}/runs/einsearch.db yet")
    assert cli("db", "init").code == 0
    assert (tmp_path / "runs" / "einsearch.db").is_file()
    assert cli("db", "upgrade").out == f"sqlite:///{tmp_path}/runs/einsearch.db: schema 0002 is up to date\n"


def test_upgrade_of_an_old_store(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    fill("0001", url)
    refused(cli("status", "--store", url), "has the old schema revision '0001'; `einsearch db upgrade` upgrades it")
    answer = cli("db", "check", url)
    assert answer.code == 1
    assert "schema: the schema is 0001, this einsearch expects 0002; `einsearch db upgrade` brings" in answer.out
    assert cli("db", "upgrade", url).out == f"{url}: schema 0002 was upgraded from 0001\n"
    assert cli("db", "check", url).code == 0
    assert "tiny" in cli("status", "--store", url).out


@pytest.mark.parametrize("command", ["check", "upgrade"])
def test_a_database_without_a_store(cli: Cli, tmp_path: Path, command: str) -> None:
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("CREATE TABLE something_else (x)")
    answer = cli("db", command, f"sqlite:///{tmp_path}/s.db")
    assert answer.code == {"check": 1, "upgrade": 2}[command]
    assert "`einsearch db init` makes " in answer.out + answer.err


def test_check_finds_books_that_are_wrong(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    fill("0001", url)
    Store.open(url).close()
    answer = cli("db", "check", url)
    assert (answer.code, answer.out.splitlines()) == (
        0,
        [
            f"{url}: schema 0002",
            "study tiny: finished, 3 trials, 6 segments done",
            "study interrupted: new, 2 trials, 1 segment done, 1 segment lost, 1 segment reserved",
            "all in order",
        ],
    )
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("UPDATE es_study SET spent = '81' WHERE name = 'tiny'")
        connection.commit()
    answer = cli("db", "check", url)
    assert answer.code == 1
    assert "study tiny: the counter spent is 81, the segments sum to " in answer.out
    assert answer.out.endswith("\n1 fault\n")


def test_copy_refuses_and_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path}/s.db", f"sqlite:///{tmp_path}/new/t.db"
    refused(cli("db", "copy", source, target), f"there is no store at {source} yet")
    fill("0001", source)
    Store.open(source).close()
    refused(cli("db", "copy", source, target, "--study", "no"), "there is no study 'no' in", "it has 'tiny', 'interru")
    assert not (tmp_path / "new").exists()
    refused(cli("db", "copy", source, source), "is both source and target; give two stores")


WRONG = {
    "password": "password authentication failed",
    "user": "password authentication failed",
    "database": 'database "nothing" does not exist',
    "port": "Connection refused",
    "host": "nowhere.invalid",
    "rights": "permission denied",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_server_that_cannot_be_used(cli: Cli, postgresql_server: Server, wrong: str, tiny_study: Path) -> None:
    server = postgresql_server
    with server.database() as url:
        database = url.rsplit("/", 1)[1]
        Store.open(url).close()
        with server.connect() as connection:
            connection.execute("DROP ROLE IF EXISTS visitor")
            connection.execute("CREATE ROLE visitor LOGIN PASSWORD 't0p-Secret'")
        bad = {
            "password": server.url(database, password="wr0ng"),
            "user": server.url(database, user="nobody-here", password="wr0ng"),
            "database": server.url("nothing"),
            "port": url.replace(str(server.port), "1"),
            "host": url.replace("127.0.0.1", "nowhere.invalid"),
            "rights": server.url(database, user="visitor", password="t0p-Secret"),
        }[wrong]
        for command in (
            ("run", tiny_study, "--device", "cpu", "--store", bad),
            ("status", "--store", bad),
            ("db", "init", bad),
            ("db", "upgrade", bad),
            ("db", "check", bad),
            ("db", "copy", bad, "sqlite:///other.db"),
            ("db", "copy", url, bad),
        ):
            refused(cli(*command), WRONG[wrong], "postgresql+psycopg://***@")
    assert not Path("other.db").exists()
    assert not Path("runs/tiny").exists()


def test_a_visitor_may_not_make_tables(cli: Cli, postgresql_server: Server) -> None:
    with postgresql_server.database() as url:
        with postgresql_server.connect() as connection:
            connection.execute("DROP ROLE IF EXISTS visitor")
            connection.execute("CREATE ROLE visitor LOGIN PASSWORD 't0p-Secret'")
        database = url.rsplit("/", 1)[1]
        answer = cli("db", "init", postgresql_server.url(database, user="visitor", password="t0p-Secret"))
        refused(answer, "permission denied for schema public; check the server, the database and the user's rights")


def test_a_database_in_another_encoding(cli: Cli, postgresql_server: Server) -> None:
    with postgresql_server.connect() as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    refused(cli("db", "init", postgresql_server.url("ascii")), "has the encoding SQL_ASCII", "ENCODING 'UTF8'")


def test_a_missing_driver(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for command in (("status", "--store"), ("db", "check"), ("db", "init")):
        answer = cli(*command, "postgresql://me:t0p-Secret@host/db")
        refused(answer, "needs the driver psycopg", "pip install 'einsearch[postgres]'")


def test_without_a_command_the_help_is_shown(cli: Cli) -> None:
    answer = cli("db")
    assert answer.code == 2
    for name in ("init", "upgrade", "check", "copy"):
        assert name in answer.out + answer.err
