"""`einsearch doctor`, and what `einsearch status` says of trouble."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from einsearch.search.config import read_study_file
from einsearch.search.study import Study
from einsearch.search.whereabouts import this_process
from einsearch.store import Store


@pytest.fixture(scope="module")
def once(write_tiny_study: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a study of which two trials wait."""
    folder = tmp_path_factory.mktemp("once")
    file = write_tiny_study(folder)
    file.write_text(file.read_text().replace("budget: 2e8", "budget: 1e8"))
    store = f"sqlite:///{folder}/einsearch.db"
    assert Study.open(read_study_file(file), store=store, runs=folder / "runs", device="cpu").run(workers=1)
    return folder / "einsearch.db"


@pytest.fixture
def database(once: Path, tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "einsearch.db").write_bytes(once.read_bytes())
    return tmp_path / "runs" / "einsearch.db"


@pytest.fixture
def interrupted(database: Path) -> Path:
    """As after a kill -9 of the driver; a segment was lost before, another one was under way."""
    host, pid, _ = this_process().rsplit(":", 2)
    with Store.open(f"sqlite:///{database}") as store:
        study = store.study("tiny").id
        epoch = store.acquire_lease(study, owner=f"{host}:{pid}:1.00", alive=lambda _: False)
        store.set_budget(study, epoch, 10**9)
        store.set_study_state(study, epoch, "running", seconds=1)
        trial = next(trial for trial in store.trials(study) if trial.state == "paused")
        for reason in ("worker died with exit code -9", None):
            segment = store.reserve(
                trial.id,
                epoch,
                start_step=trial.step,
                end_step=trial.step + 2,
                flops=2 * trial.flops_per_step,
                worker="local-0",
            )
            if reason:
                store.lose(segment.id, epoch, reason)
    return database


def test_all_in_order(cli, database):
    answer = cli("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert "study tiny" in answer.out
    assert answer.out.splitlines()[-1] in ("all in order", "0 wrong, 1 worth a look")  # a full disk is none of ours
    found = json.loads(cli("doctor", "tiny", "--json").out)
    assert {finding["subject"] for finding in found} >= {"versions", "disk", "store", "study tiny"}
    assert {finding["state"] for finding in found if finding["subject"] == "study tiny"} == {"ok"}


def test_before_there_is_anything(cli, tmp_path):
    answer = cli("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert "`einsearch run` makes it" in answer.out
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_study(cli, interrupted):
    answer = cli("doctor")
    assert (answer.code, answer.err) == (0, "")
    said = " ".join(answer.out.split())
    assert "1 segment was under way and will be charged as lost -> einsearch resume tiny" in said
    assert "worth a look" in answer.out.splitlines()[-1]


def test_the_status_of_an_interrupted_study(cli, interrupted):
    answer = cli("status", "tiny")
    assert (answer.code, answer.err) == (0, "")
    assert "interrupted: no driver runs it; `einsearch resume tiny` goes on" in answer.out
    assert "FLOPs in 1 segment: worker died with exit code -9" in answer.out
    lines = answer.out.splitlines()
    worker = lines[lines.index(next(line for line in lines if line.startswith("Workers"))) + 2].split()
    with Store.open(f"sqlite:///{interrupted}") as store:
        count = len(store.segments(store.study("tiny").id))
    assert worker[:3] == ["local-0", str(count), "1"]
    assert float(worker[3]) > 0
    found = json.loads(cli("status", "tiny", "--json").out)
    assert (found["stuck"], len(found["running"])) == ([], 1)
    assert found["lost_work"][0]["reason"] == "worker died with exit code -9"


def test_wrong_books_end_with_1(cli, database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE es_study SET spent = spent - 1")
        connection.commit()
    answer = cli("doctor")
    assert (answer.code, answer.err) == (1, "")
    assert "books: the counter spent is" in " ".join(answer.out.split())
    assert answer.out.splitlines()[-1].startswith("1 wrong, ")


def test_what_cannot_be_looked_at(cli, database):
    answer = cli("doctor", "other")
    assert (answer.code, answer.err) == (1, "")
    assert "there is no study 'other'" in " ".join(answer.out.split())
    answer = cli("doctor", "--store", "postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert answer.code == 1
    assert "secret" not in answer.out + answer.err
    answer = cli("doctor", "--storage", "nowhere://x")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("einsearch: storage nowhere://x has the unknown protocol nowhere")
