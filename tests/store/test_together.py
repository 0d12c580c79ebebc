"""Several writing calls as one transaction: all or none of them. On a server each stays one of its own."""

import threading
from contextlib import suppress

import pytest
from sqlalchemy.event import listen

from einsearch.store import AlreadySettled, LeaseLost

PLACES = ("sqlite",)  # in memory there is one connection for all threads


def test_nothing_is_seen_before_the_end_and_all_after(driver):
    first, second = driver.add(), driver.add()
    with driver.store.together():
        segment = driver.store.reserve(first.id, driver.epoch, start_step=0, end_step=5, flops=50, worker="a")
        driver.store.reserve(second.id, driver.epoch, start_step=0, end_step=5, flops=70, worker="b")
        assert driver.books() == (0, 0, 0)
    assert driver.books() == (0, 0, 120)
    with driver.store.together():
        driver.settle(segment)
        third = driver.add()
    assert driver.books() == (50, 0, 70)
    assert driver.trial(third).number == 2
    driver.check()


def test_a_block_that_raises_leaves_nothing(driver):
    trial = driver.add()

    def die_midway():
        with driver.store.together():
            driver.store.reserve(trial.id, driver.epoch, start_step=0, end_step=5, flops=50, worker="a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die_midway()
    assert driver.books() == (0, 0, 0)
    assert driver.trial(trial).state == "queued"
    assert driver.reserved(trial).state == "reserved", "the next call is a transaction of its own again"
    driver.check()


def test_the_budget_counts_what_the_block_reserved_before(new_driver):
    driver = new_driver(budget=100)
    first, second = driver.add(), driver.add()
    with driver.store.together():
        assert driver.store.reserve(first.id, driver.epoch, start_step=0, end_step=5, flops=60, worker="a")
        assert driver.store.reserve(second.id, driver.epoch, start_step=0, end_step=5, flops=60, worker="b") is None
    assert driver.books() == (0, 0, 60)


def test_the_study_is_locked_and_its_lease_checked_once(driver):
    """Every call of the block after the first saves two statements, and still knows the books to the FLOP."""
    first, second = driver.add(), driver.add()
    statements: list[str] = []
    listen(driver.store._engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    with driver.store.together():
        driver.store.set_budget(driver.study.id, driver.epoch, 100)
        one = driver.store.reserve(first.id, driver.epoch, start_step=0, end_step=5, flops=60, worker="a")
        driver.settle(one, flops=30)
        assert driver.store.reserve(second.id, driver.epoch, start_step=0, end_step=5, flops=71, worker="a") is None
        assert driver.store.reserve(second.id, driver.epoch, start_step=0, end_step=5, flops=70, worker="a")
    assert sum("FROM es_lease" in text for text in statements) == 1
    assert driver.books() == (30, 0, 70)
    driver.check()
    driver.take_over()
    with pytest.raises(LeaseLost):
        driver.add()


def test_a_failed_call_that_is_passed_over_commits_nothing(driver):
    segment = driver.reserved(driver.add())
    driver.settle(segment)

    def pass_over():
        with driver.store.together():
            driver.add()
            with suppress(AlreadySettled):
                driver.settle(segment)

    with pytest.raises(RuntimeError, match="nothing of it is committed"):
        pass_over()
    assert len(driver.store.trials(driver.study.id)) == 1


def test_a_driver_that_was_taken_over_commits_nothing(driver):
    driver.take_over()
    with pytest.raises(LeaseLost), driver.store.together():
        driver.add()
    assert driver.store.trials(driver.study.id) == []


def test_it_does_not_nest(driver):
    store = driver.store
    with pytest.raises(RuntimeError, match="within together"), store.together(), store.together():
        driver.add()
    driver.add()


def test_other_threads_have_transactions_of_their_own(driver):
    """On SQLite one that writes would wait for the block's end, so this one reads what the block does not show yet."""
    seen: list[int] = []
    with driver.store.together():
        driver.add()
        thread = threading.Thread(target=lambda: seen.append(len(driver.store.trials(driver.study.id))))
        thread.start()
        thread.join()
    assert seen == [0]
    assert len(driver.store.trials(driver.study.id)) == 1
