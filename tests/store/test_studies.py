"""Studies: made, found, changed, deleted; and the rows that come back."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from einsearch.errors import EinsearchError
from einsearch.store import LeaseLost, LeaseRow, Point, SegmentRow, StudyRow, TrialRow
from einsearch.store.schema import es_lease, es_point, es_segment, es_study, es_trial


@pytest.mark.parametrize(
    ("row", "table", "left_out"),
    [
        (StudyRow, es_study, set()),
        (LeaseRow, es_lease, set()),
        (TrialRow, es_trial, set()),
        (SegmentRow, es_segment, set()),
        (Point, es_point, {"trial_id"}),
    ],
)
def test_rows_have_the_columns_of_their_table(row, table, left_out):
    assert {field.name for field in dataclasses.fields(row)} == set(table.c.keys()) - left_out


def test_a_study_comes_back_as_it_was_made(store):
    config = {"widths": [64, 128], "name": "é", "nested": {"none": None}}
    made = store.create_study(name="s", config=config, protocol={"torch": "2"}, protocol_id="p", budget=10**20)
    assert store.study("s") == made
    assert store.studies() == [made]
    assert (made.config, made.protocol, made.protocol_id) == (config, {"torch": "2"}, "p")
    assert (made.budget, made.spent, made.lost, made.reserved) == (10**20, 0, 0, 0)
    assert (made.free, made.state, made.seconds) == (10**20, "new", 0.0)
    assert made.created_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.budget = 0


def test_a_name_is_taken_once(store, driver):
    with pytest.raises(EinsearchError, match=r"^study 's' already exists in .*; resume it or choose another"):
        store.create_study(name="s", config={}, protocol={}, protocol_id="p", budget=1)
    assert len(store.studies()) == 1


def test_a_missing_study_names_those_there_are(store, new_driver):
    with pytest.raises(EinsearchError, match=r"^there is no study 'x' in .*; it has no study yet$"):
        store.study("x")
    new_driver("one")
    new_driver("two")
    with pytest.raises(EinsearchError, match=r"^there is no study 'x' in .*; it has 'one', 'two'$"):
        store.study("x")


def test_state_and_seconds_are_set(store, driver):
    store.set_study_state(driver.study.id, driver.epoch, "stopped", seconds=12.5)
    study = store.study("s")
    assert (study.state, study.seconds) == ("stopped", 12.5)
    with pytest.raises(ValueError, match="not 'sleeping'"):
        store.set_study_state(driver.study.id, driver.epoch, "sleeping", seconds=0)


def test_the_budget_never_falls_below_what_is_used(store, driver):
    driver.settle(driver.reserved(driver.add(), flops=300))
    driver.store.lose(driver.reserved(driver.add(), flops=200).id, driver.epoch, "killed")
    driver.reserved(driver.add(), flops=100)
    with pytest.raises(EinsearchError) as caught:
        store.set_budget(driver.study.id, driver.epoch, 599)
    assert str(caught.value) == (
        "budget 599 of study 's' is below the 600 FLOPs already spent, lost or reserved; give at least 600"
    )
    store.set_budget(driver.study.id, driver.epoch, 600)
    assert store.study("s").free == 0
    assert driver.reserve(driver.add(), flops=1) is None
    store.set_budget(driver.study.id, driver.epoch, 10**30)
    assert driver.reserve(driver.add(), flops=10**29) is not None
    driver.check()


def test_a_study_is_deleted_whole_and_only_at_rest(store, new_driver):
    driver, other = new_driver("s"), new_driver("other")
    for each in (driver, other):
        each.settle(each.reserved(each.add()))
    with pytest.raises(EinsearchError, match=r"^study 's' is being run by host:1 \(last sign of life \d s ago\)"):
        store.delete_study("s")
    store.release_lease(driver.study.id, driver.epoch)
    store.delete_study("s")
    assert [study.name for study in store.studies()] == ["other"]
    assert store.trials(driver.study.id) == []
    assert store.segments(driver.study.id) == []
    assert store.points(driver.study.id) == {}
    assert len(store.points(other.study.id)) == 1
    with pytest.raises(EinsearchError, match="no study 's'"):
        store.delete_study("s")
    with pytest.raises(LeaseLost, match=r"^the study of this driver \(epoch 1\) was deleted"):
        store.heartbeat(driver.study.id, driver.epoch)
    with pytest.raises(LeaseLost, match="was deleted"):
        driver.store.set_trial_state(1, driver.epoch, "paused")


def test_ids_are_never_given_twice(store, new_driver):
    first = new_driver("first")
    trial = first.add()
    store.release_lease(first.study.id, first.epoch)
    store.delete_study("first")
    second = new_driver("second")
    assert second.study.id > first.study.id
    assert second.add().id > trial.id


def test_json_is_strict_on_every_database(store):
    with pytest.raises(Exception, match="not JSON compliant"):
        store.create_study(name="s", config={"x": float("nan")}, protocol={}, protocol_id="p", budget=1)
    assert store.studies() == []


def test_a_snapshot_is_a_study_with_its_curves_and_segments(driver):
    trial = driver.add()
    driver.settle(driver.reserved(trial))
    study, curves, segments = driver.store.snapshot(driver.study.id)
    assert study == driver.store.study(driver.study.name)
    assert segments == driver.store.segments(driver.study.id)
    assert curves == driver.store.curves(driver.study.id)
    assert [(curve.trial, curve.tokens, curve.seconds) for curve in curves] == [(driver.trial(trial), 640, 1.5)]
    with pytest.raises(EinsearchError, match="there is no study with id 99 in "):
        driver.store.snapshot(99)
