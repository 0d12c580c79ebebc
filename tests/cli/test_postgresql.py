"""A real study on PostgreSQL, whose server is restarted on the way; every command on it; no password anywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from psycopg import sql

from einsearch.search.config import read_study_file
from einsearch.search.study import Study
from einsearch.store import Store

if TYPE_CHECKING:
    from ..postgresql import Server
    from .conftest import Cli

RUN = ("--workers", "1", "--device", "cpu")
SECRETS = ("t0p", "Secret", "%40word")
"""Parts of the password of the tests' server, which is nowhere to be seen."""


def silent_on_passwords(*texts: str) -> None:
    for text in texts:
        assert not any(secret in text for secret in SECRETS), text


@dataclass(frozen=True)
class Ran:
    """A study that was run on PostgreSQL, in `folder`, and what that printed."""

    url: str
    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def server(postgresql_server: Server) -> Iterator[Server]:
    """A server of this module's own, because it is stopped."""
    from ..postgresql import running_server

    with running_server() as server:
        yield server


def segments(url: str) -> list[str]:
    """The states of all segments of a store."""
    with Store.open(url) as store:
        return [segment.state for study in store.studies() for segment in store.segments(study.id)]


def more_segments(url: str, count: int, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, "the run ended before it was disturbed"
    return len(segments(url)) >= count


def wait_until(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def ran(
    server: Server, write_tiny_study: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ran]:
    """Twice in the middle of the run the server goes away for longer than a heartbeat, politely and not."""
    folder = tmp_path_factory.mktemp("postgresql")
    study = write_tiny_study(folder)
    # 500 dense steps, in pieces, so that it still runs when the server goes away for the second time.
    study.write_text(study.read_text().replace("budget: 2e8", "budget: 1.2e9").replace("6.4e7", "1e9"))
    with server.database() as url:
        Store.open(url).close()
        command = [sys.executable, "-m", "einsearch", "run", str(study), "--store", url, *RUN]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            for mode in ("fast", "immediate"):
                enough = len(segments(url)) + 2
                wait_until(partial(more_segments, url, enough, process))
                server.stop(mode)
                time.sleep(3)
                server.begin()
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, out + err
        yield Ran(url, folder, out, err)


@pytest.fixture(scope="module")
def calm(ran: Ran) -> Study:
    """The same study in SQLite, undisturbed."""
    config = read_study_file(ran.folder / "study.yaml")
    study = Study.open(config, store=f"sqlite:///{ran.folder}/calm.db", runs=ran.folder / "calm", device="cpu")
    assert study.run(workers=1)
    return study


@pytest.fixture
def here(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Ran:
    """The study's runs, where the commands look for them, and its store by environment."""
    shutil.copytree(ran.folder / "runs", tmp_path / "runs")
    monkeypatch.setenv("EINSEARCH_STORE", ran.url)
    return ran


def test_the_study_survives_its_server(ran: Ran, calm: Study) -> None:
    assert ran.err.count("; trying again for up to 120 s") >= 2
    assert ran.err.count(" answers again after ") >= 2
    assert "Traceback" not in ran.err
    with Store.open(ran.url, create=False) as store:
        row = store.study("tiny")
        assert (row.state, row.reserved, row.lost) == ("finished", 0, 0)
        assert store.audit(row.id).violations == ()
        losses = [(c.trial.key, c.trial.state, c.trial.rung, c.losses) for c in store.curves(row.id)]
    assert losses == [(c.trial.key, c.trial.state, c.trial.rung, c.losses) for c in calm.curves()]


def test_optuna_has_it_too(ran: Ran, calm: Study) -> None:
    there, other = (optuna.load_study(study_name="tiny", storage=url) for url in (ran.url, calm.store_url))
    assert [(t.params, t.state, t.values) for t in there.get_trials()] == [
        (t.params, t.state, t.values) for t in other.get_trials()
    ]
    for study in (there, other):
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_every_command_reads_it(here: Ran, cli: Cli) -> None:
    (row,) = json.loads(cli("status", "--json").out)
    assert (row["name"], row["state"]) == ("tiny", "finished")
    assert "Leaders" in cli("status", "tiny").out
    data = json.loads(cli("report", "--format", "json").out)
    assert cli("report").code == 0
    key = data["leaders"][0]["key"]
    assert key in cli("show", key[:6]).out
    assert cli("export", key[:6], "-o", "exported").code == 0
    assert "Study tiny is finished" in cli("resume", *RUN).out
    answer = cli("db", "check")
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "all in order")


def test_copies_there_and_back_are_equal(here: Ran, server: Server, cli: Cli, tmp_path: Path) -> None:
    from ..store.test_copy import rows

    first, last = f"sqlite:///{tmp_path}/first.db", f"sqlite:///{tmp_path}/last.db"
    with server.database() as between:
        for source, target in ((here.url, first), (first, between), (between, last)):
            answer = cli("db", "copy", source, target)
            assert (answer.code, answer.err) == (0, "")
            assert answer.out.startswith("study tiny: 5 trials, ")
            silent_on_passwords(answer.out)
            assert cli("db", "check", target).code == 0
        with Store.open(here.url) as one, Store.open(last) as other:
            # A crash of the server leaves gaps in its ids, which a copy has not.
            assert rows(one, ids=False) == rows(other, ids=False)
    there, other = (optuna.load_study(study_name="tiny", storage=url) for url in (here.url, last))
    assert [(t.params, t.state, t.values) for t in there.get_trials()] == [
        (t.params, t.state, t.values) for t in other.get_trials()
    ]
    for study in (there, other):
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    assert cli("db", "copy", here.url, last).code == 2
    assert cli("clean", "tiny", "--yes", "--store", last).code == 0
    assert json.loads(cli("status", "--json", "--store", last).out) == []
    assert len(json.loads(cli("status", "--json").out)) == 1


def test_a_password_is_nowhere(here: Ran, server: Server, cli: Cli, tmp_path: Path) -> None:
    silent_on_passwords(here.out, here.err)
    for command in (
        ("status",),
        ("status", "--json"),
        ("status", "tiny"),
        ("report",),
        ("report", "--format", "md"),
        ("report", "--format", "json"),
        ("resume", *RUN),
        ("db", "init"),
        ("db", "upgrade"),
        ("db", "check"),
        ("status", "none"),
        ("show", "zz"),
        ("db", "copy", here.url, here.url),
    ):
        answer = cli(*command)
        silent_on_passwords(answer.out, answer.err)
    for folder in (here.folder, tmp_path):
        for file in folder.rglob("*"):
            if file.is_file():
                silent_on_passwords(file.read_bytes().decode("latin-1"))
    with server.connect(here.url.rsplit("/", 1)[1]) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        assert {"es_study", "es_receipt", "trials", "version_info"} <= set(tables)
        for table in tables:
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))).fetchall()
            silent_on_passwords(*(row for (row,) in rows))


def test_a_password_would_have_been_found() -> None:
    with pytest.raises(AssertionError):
        silent_on_passwords("postgresql://einsearch:t0p%2FSecret%40word@host/db")


IMPATIENT = """
from einsearch.cli.main import main
from einsearch.store import outage

outage.PATIENCE = 1.0
main()
"""


def test_a_server_that_stays_away_ends_the_run_and_the_next_one_goes_on(
    server: Server, cli: Cli, tiny_study: Path
) -> None:
    with server.database() as url:
        Store.open(url).close()
        command = [sys.executable, "-c", IMPATIENT, "run", str(tiny_study), "--store", url, "--quiet", *RUN]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(partial(more_segments, url, 1, process))
            server.stop("immediate")
            try:
                out, err = process.communicate(timeout=120)
            finally:
                server.begin()
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 2
        (line,) = (line for line in err.splitlines() if line.startswith("einsearch: "))
        assert "it stayed away for 1 s: once it is back, the same command goes on" in line
        assert "Traceback" not in err
        silent_on_passwords(out, err)
        with Store.open(url) as store:
            row = store.study("tiny")
            assert store.audit(row.id).violations == ()
            in_flight = row.reserved
        assert in_flight > 0
        assert cli("resume", "tiny", "--store", url, "--quiet", *RUN).code == 0
        with Store.open(url) as store:
            row = store.study("tiny")
            assert (row.state, row.reserved, row.lost) == ("finished", 0, in_flight)
            assert row.spent + row.lost <= row.budget
            assert store.audit(row.id).violations == ()
        assert cli("clean", "tiny", "--yes", "--store", url).code == 0
        assert cli("db", "check", url).code == 0
