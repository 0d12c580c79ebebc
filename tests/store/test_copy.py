"""Studies move between stores and come back equal, whatever the databases."""

from dataclasses import asdict

import pytest
from sqlalchemy import select

from einsearch.errors import EinsearchError
from einsearch.store import Store
from einsearch.store.copy import copy_studies
from einsearch.store.schema import es_lease

from .old_stores import fill

# Of the study in the data: one that was finished, one that reuses its ladder and whose driver was killed.
NAMES = ["tiny", "interrupted"]


def nobody(owner):
    return False


@pytest.fixture
def real(tmp_path):
    """A store with studies that really ran."""
    file = tmp_path / "real.db"
    fill("0001", f"sqlite:///{file}")
    with Store.open(f"sqlite:///{file}") as store:
        yield store


def rows(store, *, ids):
    """All that a store holds, as the store says it; without `ids`, trials are named by study and number."""
    names = {study.id: study.name for study in store.studies()}
    trials = {t.id: (names[t.study_id], t.number) for study in names for t in store.trials(study)}

    def plain(row):
        values = asdict(row)
        if not ids:
            values.pop("id", None)
            values["study_id"] = names.get(values.get("study_id"))
            for field in ("trial_id", "reused_from"):
                values[field] = trials.get(values.get(field), values.get(field))
        return values

    with store._read() as connection:
        epochs = [(names[row.study_id], row.epoch, row.heartbeat_at) for row in connection.execute(select(es_lease))]
    return {
        "studies": [plain(study) for study in store.studies()],
        "epochs": epochs,
        "trials": [plain(trial) for study in names for trial in store.trials(study)],
        "segments": [plain(segment) for study in names for segment in store.segments(study)],
        "points": {trials[id]: points for study in names for id, points in store.points(study).items()},
    }


def test_there_and_back_gives_equal_rows(store, real, tmp_path):
    assert copy_studies(real, store, None, alive=nobody) == NAMES
    assert rows(store, ids=True) == rows(real, ids=True)
    with Store.open(f"sqlite:///{tmp_path}/back.db") as back:
        assert copy_studies(store, back, None, alive=nobody) == NAMES
        assert rows(back, ids=True) == rows(real, ids=True)
        for study in back.studies():
            assert back.audit(study.id).violations == ()
            assert back.lease(study.id) is None, "whoever ran the original does not run the copy"


def test_a_store_in_use_gives_other_ids(store, real, new_driver):
    driver = new_driver("there before")
    driver.settle(driver.reserved(driver.add()))
    before = rows(store, ids=True)
    copy_studies(real, store, None, alive=nobody)
    now, there = rows(store, ids=False), rows(real, ids=False)
    assert now["trials"][1:] == there["trials"]
    assert now["segments"][1:] == there["segments"]
    assert now["studies"][1:] == there["studies"]
    assert list(now["points"].items())[1:] == list(there["points"].items())
    assert now["epochs"][1:] == there["epochs"]
    assert {study["id"] for study in before["studies"]}.isdisjoint({s.id for s in store.studies()[1:]})
    assert {trial.id for study in store.studies()[1:] for trial in store.trials(study.id)}.isdisjoint({1})
    reused = next(t for t in store.trials(store.study("interrupted").id) if t.reused_from)
    ladder = store.trials(store.study("tiny").id)[0]
    assert reused.reused_from == ladder.id


def test_a_reused_trial_names_the_copy_of_its_origin_also_by_turns(store, real):
    copy_studies(real, store, ["interrupted"], alive=nobody)
    reused = store.trials(store.study("interrupted").id)[0]
    assert reused.reused_from == -real.trials(real.study("tiny").id)[0].id, "the target has no such trial"
    assert store.audit(reused.study_id).violations == ()
    store.delete_study("interrupted")
    copy_studies(real, store, ["tiny"], alive=nobody)
    copy_studies(real, store, ["interrupted"], alive=nobody)
    reused = store.trials(store.study("interrupted").id)[0]
    assert reused.reused_from == store.trials(store.study("tiny").id)[0].id


def test_the_copy_goes_on_where_the_original_was_left(store, real):
    before = real.study("interrupted")
    copy_studies(real, store, ["interrupted"], alive=nobody)
    copied = store.study("interrupted")
    assert (copied.budget, copied.lost, copied.reserved) == (before.budget, before.lost, before.reserved)
    epoch = store.acquire_lease(copied.id, owner="host:9:0", alive=nobody)
    assert epoch == 1 + max(segment.epoch for segment in real.segments(before.id))
    after = store.study("interrupted")
    assert (after.lost, after.reserved) == (before.lost + before.reserved, 0)
    assert store.audit(copied.id).violations == ()
    assert real.study("interrupted") == before


def refused(real, store, names, message, alive=nobody):
    before = rows(store, ids=True)
    with pytest.raises(EinsearchError) as caught:
        copy_studies(real, store, names, alive=alive)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert rows(store, ids=True) == before


def test_what_is_refused_leaves_the_target_as_it_was(store, real, new_driver):
    new_driver("tiny")
    refused(real, store, None, f"study 'tiny' already exists in {store.url}; remove that one")
    refused(real, store, ["other"], f"there is no study 'other' in {real.url}; it has 'tiny', 'interrupted'")
    study = real.study("interrupted")
    epoch = real.acquire_lease(study.id, owner="host:2:0", alive=nobody)
    refused(real, store, ["interrupted"], "study 'interrupted' is being run by host:2 (", alive=lambda _: None)
    real.release_lease(study.id, epoch)
    copy_studies(real, store, ["interrupted"], alive=lambda _: True)


def test_a_copy_that_fails_half_way_leaves_nothing(store, real, monkeypatch):
    def fail(*_):
        raise RuntimeError("power cut")

    monkeypatch.setattr("einsearch.store.copy._name_reused", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        copy_studies(real, store, None, alive=nobody)
    assert store.studies() == []
