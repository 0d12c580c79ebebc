"""Trials: once per key and seed, found by the beginning of a key, reused across studies."""

import pytest

from einsearch.errors import EinsearchError
from einsearch.store import DuplicateTrial


def test_a_trial_comes_back_as_it_was_added(driver):
    added = driver.add(key="abc", seed=2**40, parameters=2**62, flops_per_step=10**20, suggestion={"u": 0.5})
    assert driver.store.trials(driver.study.id) == [added]
    assert driver.store.trial(driver.study.id, "abc") == added
    assert (added.key, added.seed, added.parameters, added.flops_per_step) == ("abc", 2**40, 2**62, 10**20)
    assert (added.number, added.state, added.rung, added.step, added.flops_done) == (0, "queued", -1, 0, 0)
    assert (added.suggestion, added.environment, added.finished_at) == ({"u": 0.5}, None, None)
    assert driver.add().number == 1
    with pytest.raises(ValueError, match="not 'probe'"):
        driver.add(kind="probe")


def test_a_key_is_trained_once_per_seed(driver):
    driver.add(key="abc", seed=0)
    driver.add(key="abc", seed=1)
    with pytest.raises(DuplicateTrial) as caught:
        driver.add(key="abc", seed=1)
    assert str(caught.value) == (
        "trial 1 of study 's' has key 'abc' and seed 1 already; a key is trained once per seed"
    )
    assert len(driver.store.trials(driver.study.id)) == 2


def test_numbers_and_keys_are_of_a_study(new_driver):
    one, two = new_driver("one"), new_driver("two")
    assert one.add(key="abc").number == two.add(key="abc").number == 0


def test_lookup_by_prefix(driver):
    store, study_id = driver.store, driver.study.id
    trials = [driver.add(key=key, seed=seed) for key, seed in [("abc1", 0), ("abd2", 0), ("abd2", 1), ("a%c", 0)]]
    assert store.trial(study_id, "abc") == trials[0]
    assert store.trial(study_id, "abd", seed=1) == trials[2]
    assert store.trial(study_id, "a%") == trials[3]
    with pytest.raises(EinsearchError, match=r"^no trial of this study has a key that begins with 'AB'$"):
        store.trial(study_id, "AB")
    with pytest.raises(EinsearchError, match=r"begins with 'abc' and seed 5$"):
        store.trial(study_id, "abc", seed=5)
    with pytest.raises(EinsearchError) as caught:
        store.trial(study_id, "abd")
    assert str(caught.value) == (
        "2 trials have a key that begins with 'abd': abd2 seed 0 (BTT), abd2 seed 1 (BTT); "
        "give more of the key or the seed"
    )


def test_a_long_list_of_matches_is_cut(driver):
    for _ in range(12):
        driver.add()
    with pytest.raises(EinsearchError, match=r"^12 trials .*key9 seed 0 .* and 2 more; give more"):
        driver.store.trial(driver.study.id, "key")


def test_states_are_set_between_segments_only(driver):
    trial = driver.add()
    driver.store.set_trial_state(trial.id, driver.epoch, "failed", reason="out of memory", rung=2)
    failed = driver.trial(trial)
    assert (failed.state, failed.reason, failed.rung) == ("failed", "out of memory", 2)
    assert failed.finished_at is not None
    driver.store.set_trial_state(trial.id, driver.epoch, "queued")
    queued = driver.trial(trial)
    assert (queued.state, queued.reason, queued.rung, queued.finished_at) == ("queued", None, 2, None)
    for state in ("running", "dreaming"):
        with pytest.raises(ValueError, match=f"not to '{state}'"):
            driver.store.set_trial_state(trial.id, driver.epoch, state)
    driver.reserved(trial)
    with pytest.raises(ValueError, match=f"^trial {trial.id} has a reserved segment; settle or lose it"):
        driver.store.set_trial_state(trial.id, driver.epoch, "paused")
    driver.check()


def ladder(driver, make_point, flops, **changes):
    trial = driver.add(key="dense", kind="ladder", **changes)
    points = [make_point(5), make_point(10, train_loss=float("inf"), validation_loss=2.25)]
    driver.settle(driver.reserved(trial, flops=flops), state="complete", points=points, rung=3)
    return driver.trial(trial)


def test_what_may_be_reused(new_driver, make_point):
    short = ladder(new_driver("short", protocol_id="p"), make_point, 99)
    long = ladder(new_driver("long", protocol_id="p"), make_point, 900)
    ladder(new_driver("elsewhere", protocol_id="q"), make_point, 400)
    paused = new_driver("paused", protocol_id="p")
    paused.settle(paused.reserved(paused.add(key="dense", kind="ladder"), flops=400))
    search = new_driver("search", protocol_id="p")
    search.settle(search.reserved(search.add(key="dense"), flops=400), state="complete")
    store = search.store
    assert store.reusable("p", "dense", 0, 99) == short
    assert store.reusable("p", "dense", 0, 100) == long, "99 < 100 < 900 as numbers, not as text"
    assert store.reusable("p", "dense", 0, 901) is None
    assert store.reusable("p", "dense", 1, 1) is None
    assert store.reusable("p", "other", 0, 1) is None
    assert store.reusable("none", "dense", 0, 1) is None


def test_a_reused_trial_is_a_copy_that_costs_nothing(new_driver, make_point):
    source_driver = new_driver("source")
    source = ladder(source_driver, make_point, 900)
    driver = new_driver("s", budget=5)
    driver.add()
    copy = driver.store.add_reused_trial(driver.study.id, driver.epoch, source)
    assert (copy.study_id, copy.number, copy.reused_from) == (driver.study.id, 1, source.id)
    for name in ("key", "seed", "kind", "candidate", "state", "rung", "step", "flops_done", "checkpoint"):
        assert getattr(copy, name) == getattr(source, name), name
    assert copy.finished_at == source.finished_at
    points = driver.store.points(driver.study.id)[copy.id]
    assert points == driver.store.points(source.study_id)[source.id]
    assert [(p.step, p.train_loss, p.validation_loss) for p in points] == [(5, 2.5, None), (10, None, 2.25)]
    assert driver.books() == (0, 0, 0)
    driver.check()
    with pytest.raises(DuplicateTrial):
        driver.store.add_reused_trial(driver.study.id, driver.epoch, source)
    third = new_driver("third")
    again = third.store.add_reused_trial(third.study.id, third.epoch, copy)
    assert again.reused_from == source.id, "the trial that did the work"
    driver.store.set_trial_state(copy.id, driver.epoch, "queued")
    with pytest.raises(ValueError, match="is reused: it cannot go on"):
        driver.reserve(copy, end_step=20, flops=1)


def test_only_a_complete_trial_of_the_same_protocol_is_reused(new_driver, make_point):
    source_driver, driver = new_driver("source", protocol_id="q"), new_driver("s", protocol_id="p")
    source = ladder(source_driver, make_point, 900)
    with pytest.raises(ValueError, match="of protocol 'q' cannot stand for one of 'p'"):
        driver.store.add_reused_trial(driver.study.id, driver.epoch, source)
    with pytest.raises(ValueError, match="is queued: only a complete trial is reused"):
        driver.store.add_reused_trial(driver.study.id, driver.epoch, source_driver.add())
    assert driver.store.trials(driver.study.id) == []
