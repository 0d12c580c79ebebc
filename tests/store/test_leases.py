"""One driver at a time, and none that was taken over writes again."""

import pytest
from sqlalchemy import update

from einsearch.errors import EinsearchError
from einsearch.store import LeaseLost
from einsearch.store.schema import es_lease


def never_asked(owner):
    raise AssertionError(f"asked about {owner}")


def silence(driver, seconds):
    """Let the driver's last heartbeat be `seconds` ago."""
    with driver.store._write() as connection:
        connection.execute(update(es_lease).values(heartbeat_at=es_lease.c.heartbeat_at - seconds))


def test_the_first_lease_asks_nobody(store):
    study = store.create_study(name="s", config={}, protocol={}, protocol_id="p", budget=1)
    assert store.lease(study.id) is None
    assert store.acquire_lease(study.id, owner="host:1:0", alive=never_asked) == 1
    lease = store.lease(study.id)
    assert (lease.epoch, lease.owner) == (1, "host:1:0")


@pytest.mark.parametrize(
    ("silent", "alive", "blocks"),
    [
        (0, False, False),
        (0, None, True),
        (0, True, True),
        (29, None, True),
        (31, None, False),
        (31, True, True),
        (119, True, True),
        (121, True, False),
        (-20, None, True),
        (-3600, None, False),
    ],
)
def test_who_may_take_over(driver, silent, alive, blocks):
    silence(driver, silent)
    asked = []

    def answer(owner):
        asked.append(owner)
        return alive

    def acquire():
        return driver.store.acquire_lease(driver.study.id, owner="host:2:0", alive=answer, timeout=30)

    if blocks:
        with pytest.raises(EinsearchError, match=r"^study 's' is being run by host:1 "):
            acquire()
        driver.store.heartbeat(driver.study.id, driver.epoch)
    else:
        assert acquire() == driver.epoch + 1
    assert asked == ["host:1:0"]


def test_a_refused_lease_says_who_how_long_and_what_to_do(driver):
    silence(driver, 3)
    says = r"^study 's' is being run by host:1 \(last sign of life [34] s ago\); "
    with pytest.raises(EinsearchError, match=f"{says}stop it, or wait until it has been silent for 30 s$"):
        driver.store.acquire_lease(driver.study.id, owner="host:2:0", alive=lambda _owner: None)
    with pytest.raises(EinsearchError, match=r"silent for 120 s$"):
        driver.store.acquire_lease(driver.study.id, owner="host:2:0", alive=lambda _owner: True)


def test_a_missing_study_has_no_lease_to_take(store):
    with pytest.raises(EinsearchError, match=r"^there is no study with id 77 in "):
        store.acquire_lease(77, owner="host:1:0", alive=never_asked)


def test_heartbeat_is_a_sign_of_life(driver):
    silence(driver, 1000)
    driver.store.heartbeat(driver.study.id, driver.epoch)
    with pytest.raises(EinsearchError, match=r"last sign of life \d s ago"):
        driver.store.acquire_lease(driver.study.id, owner="host:2:0", alive=lambda _owner: None)


def test_epochs_grow_through_release(driver):
    driver.store.release_lease(driver.study.id, driver.epoch)
    assert driver.store.lease(driver.study.id) is None
    with pytest.raises(LeaseLost, match=r"^the lease of study 's' was released; results of epoch 1 are refused$"):
        driver.store.heartbeat(driver.study.id, driver.epoch)
    again = driver.store.acquire_lease(driver.study.id, owner="host:1:0", alive=never_asked)
    assert again == driver.epoch + 1


def test_takeover_charges_what_was_reserved_whole(driver):
    running, waiting = driver.add(), driver.add()
    driver.settle(driver.reserved(running, 10, 100), flops=90)
    segment = driver.reserved(running, 20, 100)
    other = driver.take_over()
    assert driver.books() == (90, 100, 0)
    assert [(row.state, row.flops) for row in other.store.segments(other.study.id)] == [
        ("done", 90),
        ("lost", 100),
    ]
    assert other.store.segments(other.study.id)[1].reason == "driver host:1 ended"
    assert other.trial(running).state == "queued"
    assert (other.trial(running).step, other.trial(running).flops_done) == (10, 90)
    assert other.trial(waiting).state == "queued"
    redo = other.reserved(running, 20, 100)
    assert (redo.epoch, redo.id > segment.id) == (other.epoch, True)
    other.check()


def test_takeover_leaves_other_studies_alone(new_driver):
    driver, other = new_driver("s"), new_driver("other")
    other.reserved(other.add())
    driver.take_over()
    assert other.books() == (0, 0, 100)


WRITES = {
    "set_budget": lambda d, trial, segment: d.store.set_budget(d.study.id, d.epoch, 10**6),
    "set_study_state": lambda d, trial, segment: d.store.set_study_state(d.study.id, d.epoch, "running", seconds=1),
    "heartbeat": lambda d, trial, segment: d.store.heartbeat(d.study.id, d.epoch),
    "release_lease": lambda d, trial, segment: d.store.release_lease(d.study.id, d.epoch),
    "add_trial": lambda d, trial, segment: d.add(),
    "add_reused_trial": lambda d, trial, segment: d.store.add_reused_trial(d.study.id, d.epoch, trial),
    "set_trial_state": lambda d, trial, segment: d.store.set_trial_state(trial.id, d.epoch, "paused"),
    "reserve": lambda d, trial, segment: d.store.reserve(
        trial.id, d.epoch, start_step=0, end_step=1, flops=1, worker="w"
    ),
    "settle": lambda d, trial, segment: d.settle(segment),
    "lose": lambda d, trial, segment: d.store.lose(segment.id, d.epoch, "late"),
    "progress": lambda d, trial, segment: d.store.progress(d.study.id, d.epoch, [(segment.id, 1, 2.0)]),
}


@pytest.mark.parametrize("name", WRITES)
def test_every_write_of_a_driver_that_was_taken_over_is_refused(driver, name):
    done = driver.add(kind="ladder")
    driver.settle(driver.reserved(done), state="complete")
    segment = driver.reserved(driver.add())
    other = driver.take_over()
    before = dump(other)
    with pytest.raises(LeaseLost) as caught:
        WRITES[name](driver, driver.trial(done), segment)
    assert str(caught.value) == ("study 's' was taken over by host:2 (epoch 2); results of epoch 1 are refused")
    assert dump(other) == before


def dump(driver):
    store, study_id = driver.store, driver.study.id
    return (
        store.studies(),
        store.lease(study_id),
        store.trials(study_id),
        store.segments(study_id),
        store.points(study_id),
    )


def test_progress_is_live_and_drops_what_came_too_late(driver):
    running, ended = driver.reserved(driver.add()), driver.reserved(driver.add())
    driver.settle(ended)
    silence(driver, 1000)
    driver.store.progress(driver.study.id, driver.epoch, [(running.id, 4, 3.25), (ended.id, 9, 1.0), (12345, 1, 1.0)])
    first, second = driver.store.segments(driver.study.id)
    assert (first.progress_step, first.progress_loss) == (4, 3.25)
    assert first.progress_at >= first.reserved_at
    assert (second.progress_step, second.progress_loss, second.progress_at) == (None, None, None)
    driver.store.progress(driver.study.id, driver.epoch, [(running.id, 5, float("nan"))])
    assert driver.store.segments(driver.study.id)[0].progress_loss is None
    with pytest.raises(EinsearchError, match=r"last sign of life \d s ago"):
        driver.store.acquire_lease(driver.study.id, owner="host:2:0", alive=lambda _owner: None)
