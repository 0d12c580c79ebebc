"""What the doctor finds in a study that something happened to."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from einsearch.doctor.finding import Finding
from einsearch.doctor.store import store_findings
from einsearch.doctor.study import is_driven, lost_work, stuck_segments, study_findings
from einsearch.search.config import read_study_file
from einsearch.search.study import Study
from einsearch.search.whereabouts import this_process
from einsearch.store import LeaseRow, Store, TrialRow
from einsearch.store.leases import LEASE_TIMEOUT

DEAD = "elsewhere-than-here:1:1.00"


@pytest.fixture(scope="module")
def original(write_tiny_study: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that ended in order."""
    folder = tmp_path_factory.mktemp("once")
    file = write_tiny_study(folder)
    file.write_text(file.read_text().replace("budget: 2e8", "budget: 1e8"))  # two trials stay paused
    study = Study.open(
        read_study_file(file), store=f"sqlite:///{folder}/einsearch.db", runs=folder / "runs", device="cpu"
    )
    assert study.run(workers=1)
    return folder


@pytest.fixture
def store(original: Path, tmp_path: Path):
    (tmp_path / "einsearch.db").write_bytes((original / "einsearch.db").read_bytes())
    with Store.open(f"sqlite:///{tmp_path}/einsearch.db") as opened:
        yield opened


def findings(store: Store) -> list[Finding]:
    return list(study_findings(store, store.study("tiny")))


def said(found: list[Finding], state: str) -> str:
    """What findings of that state say, as one text."""
    return "\n".join(f"{each.text} -> {each.mend}" for each in found if each.state == state)


def drive(store: Store, owner: str) -> tuple[int, int, TrialRow]:
    """Become the driver; returns study, epoch and a trial that can go on."""
    study = store.study("tiny").id
    epoch = store.acquire_lease(study, owner=owner, alive=lambda _: False)
    store.set_budget(study, epoch, 10 * store.study("tiny").budget)
    store.set_study_state(study, epoch, "running", seconds=1)
    return study, epoch, next(trial for trial in store.trials(study) if trial.state == "paused")


def reserve(store: Store, epoch: int, trial: TrialRow):
    segment = store.reserve(
        trial.id,
        epoch,
        start_step=trial.step,
        end_step=trial.step + 20,
        flops=20 * trial.flops_per_step,
        worker="local-0",
    )
    assert segment is not None
    return segment


def test_a_study_in_order(store: Store) -> None:
    (found,) = findings(store)
    assert (found.subject, found.state) == ("study tiny", "ok")
    assert found.text.startswith("finished, ")


def test_a_driver_that_ended_and_one_that_runs(store: Store) -> None:
    _, epoch, trial = drive(store, this_process())
    reserve(store, epoch, trial)
    (found,) = findings(store)
    assert found.state == "ok"
    assert found.text.startswith("running, ")
    host, pid, _ = this_process().rsplit(":", 2)
    drive(store, f"{host}:{pid}:1.00")  # a number of a process that another has now
    (warning,) = (each for each in findings(store) if each.state == "warning" and "ended" in each.text)
    assert warning.text == f"it stands as running, and its driver {host}:{pid} ended"
    assert warning.mend == "einsearch resume tiny"


def test_a_driver_on_another_host_is_judged_by_its_last_sign_of_life() -> None:
    now = time.time()
    assert not is_driven(None)
    for silence, driven in ((1.0, True), (LEASE_TIMEOUT + 1, False)):
        assert is_driven(LeaseRow(study_id=1, epoch=1, owner=DEAD, heartbeat_at=now - silence)) == driven
    assert is_driven(LeaseRow(study_id=1, epoch=1, owner=this_process(), heartbeat_at=now - 1000))


def test_what_a_dead_driver_left(store: Store) -> None:
    host, pid, _ = this_process().rsplit(":", 2)
    _, epoch, trial = drive(store, f"{host}:{pid}:1.00")
    reserve(store, epoch, trial)
    assert "1 segment was under way and will be charged as lost -> einsearch resume tiny" in said(
        findings(store), "warning"
    )


def test_segments_without_a_sign_of_life(store: Store) -> None:
    study, epoch, trial = drive(store, this_process())
    segment = reserve(store, epoch, trial)
    segments = store.segments(study)
    assert stuck_segments(segments) == []
    later = datetime.now(UTC) + timedelta(seconds=500)
    ((found, silence),) = stuck_segments(segments, later)
    assert found.id == segment.id
    assert 499 < silence < 520
    store.progress(study, epoch, [(segment.id, trial.step + 1, 3.0)])
    assert stuck_segments(store.segments(study), datetime.now(UTC) + timedelta(seconds=100)) == []


def test_lost_work_by_its_reason(store: Store) -> None:
    study, epoch, trial = drive(store, this_process())
    for reason in ("worker died", "worker died", "disk"):
        store.lose(reserve(store, epoch, trial).id, epoch, reason)
    flops = 20 * trial.flops_per_step
    assert lost_work(store.segments(study)) == [("worker died", 2, 2 * flops), ("disk", 1, flops)]
    row = store.study("tiny")
    store.set_budget(study, epoch, row.spent + row.lost)
    assert "of the budget, were lost (2 times: worker died; 1 times: disk)" in said(findings(store), "warning")


def test_failed_trials_but_for_diverged_ones(store: Store) -> None:
    study, epoch, _ = drive(store, this_process())
    one, other = [trial for trial in store.trials(study) if trial.state == "paused"][:2]
    store.set_trial_state(one.id, epoch, "failed", reason="diverged: training loss is nan by step 3")
    assert said(findings(store), "warning") == ""
    store.set_trial_state(other.id, epoch, "failed", reason="out of memory with one sequence at a time")
    text = said(findings(store), "warning")
    assert text.startswith("1 trial failed (1 times: out of memory with one sequence at a time) -> ")
    assert f"einsearch show {other.key}" in text


def test_checkpoints_that_are_gone(store: Store, original: Path) -> None:
    waiting = [t for t in store.trials(store.study("tiny").id) if t.state == "paused"]
    assert waiting
    place = Path(str(waiting[0].checkpoint))
    hidden = place.with_name("hidden")
    place.rename(hidden)
    try:
        assert said(findings(store), "warning").startswith(f"1 of {len(waiting)} checkpoints are not there, as {place}")
    finally:
        hidden.rename(place)


def test_books_that_are_wrong(store: Store, tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "einsearch.db")) as connection:
        connection.execute("UPDATE es_study SET spent = spent - 1")
        connection.commit()
    assert "books: the counter spent is" in said(findings(store), "wrong")


def test_of_a_store(store: Store, tmp_path: Path) -> None:
    found = list(store_findings(f"sqlite:///{tmp_path}/einsearch.db", None))
    assert [each.subject for each in found] == ["store", "study tiny"]
    assert "answers in" in found[0].text
    (missing,) = store_findings(f"sqlite:///{tmp_path}/none.db", None)
    assert (missing.state, missing.text) == ("ok", f"none yet at {tmp_path}/none.db; `einsearch run` makes it")
    (tmp_path / "text.db").write_text("no database " * 100)
    (damaged,) = store_findings(f"sqlite:///{tmp_path}/text.db", None)
    assert damaged.state == "wrong"
    assert "is not a SQLite database" in damaged.text
    (unknown,) = store_findings("mongodb://host/x", None)
    assert unknown.state == "wrong"
    assert [each.state for each in store_findings(store.url, "other")][-1] == "wrong"
