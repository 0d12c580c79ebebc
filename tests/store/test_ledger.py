"""Reserve, settle, lose: what each books, refuses and leaves unchanged."""

import pytest
from sqlalchemy import text

from einsearch.errors import EinsearchError
from einsearch.store import AlreadySettled


def test_a_segment_from_reservation_to_settlement(driver, make_point):
    trial = driver.add()
    segment = driver.reserved(trial, end_step=10, flops=100)
    assert driver.store.segments(driver.study.id) == [segment]
    assert (segment.trial_id, segment.epoch, segment.worker) == (trial.id, driver.epoch, "cpu:0")
    assert (segment.start_step, segment.end_step, segment.flops) == (0, 10, 100)
    assert (segment.state, segment.ended_at, segment.seconds) == ("reserved", None, None)
    assert driver.trial(trial).state == "running"
    assert driver.books() == (0, 0, 100)
    driver.check()

    points = [make_point(8), make_point(4, validation_loss=2.0)]
    driver.settle(segment, end_step=8, flops=80, points=points, peak_memory_bytes=2**40, rung=1)
    (done,) = driver.store.segments(driver.study.id)
    assert (done.state, done.end_step, done.flops) == ("done", 8, 80)
    assert (done.seconds, done.tokens, done.peak_memory_bytes) == (1.5, 640, 2**40)
    assert done.ended_at >= done.reserved_at
    moved = driver.trial(trial)
    assert (moved.state, moved.step, moved.flops_done, moved.rung) == ("paused", 8, 80, 1)
    assert (moved.checkpoint, moved.environment) == (f"checkpoints/{trial.id}", {"device": "cpu"})
    assert driver.books() == (80, 0, 0)
    assert driver.store.points(driver.study.id) == {trial.id: [points[1], points[0]]}
    driver.check()

    driver.settle(driver.reserved(trial, 20, 120), state="complete", rung=2)
    finished = driver.trial(trial)
    assert (finished.state, finished.step, finished.flops_done) == ("complete", 20, 200)
    assert finished.finished_at is not None
    driver.check()


def test_the_budget_is_filled_exactly_and_never_exceeded(driver):
    first, second = driver.add(), driver.add()
    segment = driver.reserved(first, flops=600)
    assert driver.reserve(second, flops=401) is None
    assert driver.trial(second).state == "queued"
    assert len(driver.store.segments(driver.study.id)) == 1
    driver.reserved(second, flops=400)
    assert driver.books() == (0, 0, 1000)
    driver.settle(segment, flops=1)
    assert driver.reserve(first, end_step=20, flops=600) is None
    assert driver.reserve(first, end_step=20, flops=599) is not None
    driver.check()


def test_large_numbers_stay_exact(new_driver):
    driver = new_driver("large", budget=10**20 + 1)
    trial = driver.add()
    driver.settle(driver.reserved(trial, 10, 10**20), flops=10**20 - 1)
    assert driver.books() == (10**20 - 1, 0, 0)
    assert driver.reserve(trial, 20, 3) is None
    assert driver.reserve(trial, 20, 2) is not None
    assert driver.trial(trial).flops_done == 10**20 - 1
    driver.check()


def test_a_lost_segment_is_charged_whole_and_redone(driver):
    trial = driver.add()
    segment = driver.reserved(trial, flops=100)
    driver.store.lose(segment.id, driver.epoch, "worker cpu:0 was killed")
    assert driver.books() == (0, 100, 0)
    (lost,) = driver.store.segments(driver.study.id)
    assert (lost.state, lost.flops, lost.reason) == ("lost", 100, "worker cpu:0 was killed")
    assert lost.ended_at is not None
    assert (driver.trial(trial).state, driver.trial(trial).step) == ("queued", 0)
    driver.settle(driver.reserved(trial, flops=100))
    assert driver.books() == (100, 100, 0)
    driver.check()


def test_a_diverged_trial_is_settled_with_the_work_it_did(driver, make_point):
    trial = driver.add()
    segment = driver.reserved(trial)
    nan = make_point(3, train_loss=float("nan"))
    driver.settle(segment, end_step=3, flops=30, state="failed", reason="loss is NaN at step 3", points=[nan])
    failed = driver.trial(trial)
    assert (failed.state, failed.reason, failed.step) == ("failed", "loss is NaN at step 3", 3)
    assert driver.store.points(driver.study.id)[trial.id][0].train_loss is None
    assert driver.books() == (30, 0, 0)
    with pytest.raises(ValueError, match="is failed: only a queued or paused trial"):
        driver.reserve(trial, end_step=20)
    driver.check()


def test_a_segment_is_booked_once(driver):
    trial = driver.add()
    done = driver.reserved(trial, 10)
    driver.settle(done)
    lost = driver.reserved(trial, 20)
    driver.store.lose(lost.id, driver.epoch, "killed")
    books = driver.books()
    for segment, state in ((done, "done"), (lost, "lost")):
        message = f"^segment {segment.id} of trial {trial.id} is already {state}; a segment is booked once$"
        with pytest.raises(AlreadySettled, match=message):
            driver.settle(segment)
        with pytest.raises(AlreadySettled, match=message):
            driver.store.lose(segment.id, driver.epoch, "again")
    assert driver.books() == books
    driver.check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flops": 101}, "settles 101 FLOPs of 100 reserved"),
        ({"flops": -1}, "settles -1 FLOPs of 100 reserved"),
        ({"end_step": 11}, r"ends at step 11, outside \[0, 10\]"),
        ({"end_step": 5}, r"has points at steps \[10\], outside \[0, 5\]"),
        ({"state": "running"}, "not 'running'"),
        ({"state": "lost"}, "not 'lost'"),
    ],
)
def test_a_settlement_beyond_its_reservation_is_a_bug_and_changes_nothing(driver, changes, message):
    segment = driver.reserved(driver.add())
    with pytest.raises(ValueError, match=message):
        driver.settle(segment, **changes)
    assert driver.store.segments(driver.study.id) == [segment]
    assert driver.books() == (0, 0, 100)
    driver.settle(segment)
    driver.check()


def test_a_reservation_that_makes_no_sense_is_a_bug(driver):
    trial = driver.add()

    def reserve(start_step, end_step, flops):
        driver.store.reserve(trial.id, driver.epoch, start_step=start_step, end_step=end_step, flops=flops, worker="w")

    with pytest.raises(ValueError, match=r"^steps \[0, 0\) with 5 FLOPs are no work"):
        reserve(0, 0, 5)
    with pytest.raises(ValueError, match="with 0 FLOPs are no work"):
        reserve(0, 1, 0)
    with pytest.raises(ValueError, match="stands at step 0: no segment begins at 1"):
        reserve(1, 2, 5)
    reserve(0, 2, 5)
    with pytest.raises(ValueError, match="is running: only a queued or paused"):
        reserve(0, 2, 5)
    driver.check()


def test_points_are_overwritten_not_doubled(driver, make_point):
    trial = driver.add()
    driver.settle(driver.reserved(trial, 10), points=[make_point(10, train_loss=3.0)])
    again = make_point(10, train_loss=2.0, validation_loss=2.5)
    driver.settle(driver.reserved(trial, 20), points=[again, make_point(20)])
    assert driver.store.points(driver.study.id)[trial.id] == [again, make_point(20)]


BROKEN_BOOKS = {
    "UPDATE es_study SET spent = '81'": "the counter spent is 81, the segments sum to 80",
    "UPDATE es_study SET budget = '179'": "spent + lost + reserved is 180, more than the budget 179",
    "UPDATE es_trial SET step = 9 WHERE number = 0": "trial 0 stands at step 9, its done segments end at 8",
    "UPDATE es_trial SET flops_done = '0' WHERE number = 0": "trial 0 counts 0 FLOPs, its done segments 80",
    "UPDATE es_trial SET state = 'paused' WHERE number = 1": "trial 1 is paused with 1 reserved segments",
    "UPDATE es_trial SET state = 'running' WHERE number = 0": "trial 0 is running with 0 reserved segments",
    "UPDATE es_trial SET reused_from = 9 WHERE number = 0": "trial 0 is reused and has 1 segments of its own",
    "UPDATE es_segment SET start_step = 1 WHERE end_step = 8": "trial 0: segment {} begins at step 1, not 0",
}


@pytest.mark.parametrize("damage", BROKEN_BOOKS)
def test_the_audit_finds_books_that_are_wrong(driver, damage):
    segment = driver.reserved(driver.add())
    driver.settle(segment, end_step=8, flops=80, points=[])
    driver.reserved(driver.add())
    audit = driver.store.audit(driver.study.id)
    assert (audit.budget, audit.spent, audit.lost, audit.reserved) == (1000, 80, 0, 100)
    assert audit.violations == ()
    with driver.store._write() as connection:
        connection.execute(text(damage))
    violations = driver.store.audit(driver.study.id).violations
    assert BROKEN_BOOKS[damage].format(segment.id) in violations


def test_the_audit_of_a_missing_study(store):
    with pytest.raises(EinsearchError, match=r"^there is no study with id 3 in "):
        store.audit(3)
