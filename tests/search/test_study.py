"""Whole studies that really train, in this process and in worker processes."""

import os
import signal
from dataclasses import replace

import pytest

from einsearch.errors import EinsearchError
from einsearch.proxy.protocol import Protocol
from einsearch.search.driver import Driver
from einsearch.search.study import Study, is_alive, this_process
from einsearch.store import Store


def losses(study: Study) -> list[tuple[object, ...]]:
    """All that must repeat: the trials in their order, with their curves (times apart)."""
    return [
        (c.trial.key, c.trial.state, c.trial.rung, [(p.step, p.train_loss, p.validation_loss) for p in c.points])
        for c in study.curves()
    ]


def elsewhere(study: Study, tmp_path, name: str) -> Study:
    """The same study in another store and another folder."""
    return Study.open(study.config, store=f"sqlite:///{tmp_path}/{name}.db", runs=tmp_path / name, device="cpu")


def violations(study: Study) -> tuple[str, ...]:
    row = study.row()
    assert row is not None
    with Store.open(study.store_url) as store:
        return store.audit(row.id).violations


@pytest.mark.slow  # in parts: test_local and test_driver, and tests/cli without the accident
def test_a_tiny_study_finishes_in_a_worker_process(tiny_config, open_study, tmp_path):
    """And it does so although its worker is killed on the way."""
    study = open_study(tiny_config)

    class KillOnce:
        killed = False

        def update(self, driver: Driver) -> None:
            if not self.killed and any(run.progress for run in driver.state.running.values()):
                self.killed = True
                os.kill(driver._executor.pid("local-0"), signal.SIGKILL)

    assert study.run(workers=1, observer=KillOnce())
    row = study.row()
    assert row is not None
    assert row.state == "finished"
    assert row.reserved == 0
    assert row.lost > 0
    assert row.spent + row.lost <= row.budget
    assert violations(study) == ()
    curves = study.curves()
    assert [c.trial.kind for c in curves] == ["ladder"] + ["search"] * 4
    assert {c.trial.environment["device"] for c in curves if c.trial.environment} == {"cpu"}
    assert all(c.tokens_per_second for c in curves if c.points)
    assert all(c.trial.checkpoint for c in curves if c.points)


@pytest.mark.slow  # test_driver has it with pretended training
def test_a_deterministic_study_of_two_workers_repeats_bit_for_bit(tiny_config, open_study, in_process, tmp_path):
    study = open_study(tiny_config)
    again = elsewhere(study, tmp_path, "again")
    for one in (study, again):
        assert one.run(workers=2, deterministic=True)
    assert losses(study) == losses(again)
    assert {c.trial.state for c in study.curves()} == {"complete"}
    assert violations(study) == ()


def test_a_study_of_one_worker_repeats_bit_for_bit_stopped_or_not(tiny_config, open_study, in_process, tmp_path):
    study = open_study(tiny_config)
    whole = elsewhere(study, tmp_path, "whole")
    assert whole.run(workers=1)

    class StopSoon:
        polls = 0

        def update(self, driver: Driver) -> None:
            self.polls += 1
            if self.polls == 2:
                driver.stop()

    runs = 1
    while not study.run(workers=1, observer=StopSoon()):
        row = study.row()
        assert row is not None
        assert (row.state, row.reserved, row.lost) == ("stopped", 0, 0)
        runs += 1
    assert runs > 2
    assert losses(study) == losses(whole)
    assert violations(study) == ()
    trained = [(s.folder.name, s.start, s.end) for executor in in_process[1:] for s in executor.trained]
    assert len(set(trained)) == len(trained), "nothing is trained twice"


def test_the_dense_ladder_is_reused_by_the_next_study(tiny_config, open_study, pretend):
    made = pretend(0)
    first = open_study(tiny_config)
    first.run(workers=1)
    second = open_study(replace(tiny_config, name="second", budget=2 * tiny_config.budget))
    second.run(workers=1)
    ladder, copy = first.curves()[0], second.curves()[0]
    assert (copy.trial.kind, copy.trial.state, copy.trial.reused_from) == ("ladder", "complete", ladder.trial.id)
    assert copy.points == ladder.points
    row = second.row()
    assert row is not None
    assert row.spent == sum(c.trial.flops_done for c in second.curves()[1:])
    assert "dense" not in {s.candidate.label.lower() for s in made[1].submitted}
    assert violations(second) == ()
    other = replace(tiny_config, name="other", protocol=replace(tiny_config.protocol, weight_decay=0.1))
    other = replace(other, budget=8 * 10**7, rungs=(16 * 10**6,))  # the ladder and one candidate
    third = open_study(other)
    third.run(workers=1)
    assert third.curves()[0].trial.reused_from is None, "under another protocol losses would not compare"


def test_more_budget_extends_a_finished_study(tiny_config, open_study, pretend):
    pretend(0)
    # Enough for the ladder and a little search.
    study = open_study(replace(tiny_config, budget=10**8))
    assert study.run(workers=1)
    before = losses(study)
    assert len(before) < 5
    more = Study.load("tiny", store=study.store_url, runs=study.runs, device="cpu")
    assert more.run(workers=1, budget=tiny_config.budget)
    row = more.row()
    assert row is not None
    assert (row.budget, row.state) == (tiny_config.budget, "finished")
    assert [key for key, *_ in losses(more)][: len(before)] == [key for key, *_ in before]
    assert len(losses(more)) == 5
    assert violations(more) == ()


def test_a_huge_learning_rate_fails_its_trials_with_the_reason_and_the_study_survives(
    tiny_config, open_study, in_process
):
    study = open_study(replace(tiny_config, protocol=replace(tiny_config.protocol, learning_rate=1e6)))
    assert study.run(workers=1)
    trials = [c.trial for c in study.curves()]
    failed = [t for t in trials if t.state == "failed"]
    assert failed
    assert all(t.reason and t.reason.startswith("diverged: ") for t in failed)
    row = study.row()
    assert row is not None
    assert row.state == "finished"
    assert violations(study) == ()


def test_a_second_driver_is_refused_while_the_first_one_runs(tiny_config, open_study, pretend):
    pretend(0)
    study = open_study(tiny_config)
    messages = []

    class Second:
        def update(self, driver: Driver) -> None:
            if not messages:
                with pytest.raises(EinsearchError) as error:
                    open_study(tiny_config).run(workers=1)
                messages.append(str(error.value))

    assert study.run(workers=1, observer=Second())
    assert messages[0].startswith("study 'tiny' is being run by ")
    assert violations(study) == ()


def test_losing_the_lease_ends_the_driver(tiny_config, open_study, pretend):
    pretend(0)
    study = open_study(tiny_config)

    class TakeOver:
        def update(self, driver: Driver) -> None:
            driver.state.store.acquire_lease(driver.state.study.id, owner="other:1:0", alive=lambda _: False)

    with pytest.raises(EinsearchError, match="taken over by other:1"):
        study.run(workers=1, observer=TakeOver())
    with Store.open(study.store_url) as store:
        row = study.row()
        assert row is not None
        lease = store.lease(row.id)
        assert lease is not None
        assert lease.owner == "other:1:0", "it is not ours to release"


def test_opening_a_study_writes_none(tiny_config, open_study):
    study = open_study(tiny_config)
    assert study.row() is None
    with pytest.raises(EinsearchError, match=r"^workers is 0; it must be at least 1$"):
        study.run(workers=0)
    assert study.row() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seed": 1},
            "study 'tiny' has seed 0, not 1; choose another --study, or continue it as it is: einsearch resume",
        ),
        (
            {"budget": 3 * 10**8},
            "study 'tiny' has budget 2e8, not 3e8; choose another --study, or continue it as it is",
        ),
        ({"rungs": (2 * 10**7,)}, "study 'tiny' has rungs [16000000, 32000000], not (20000000,); choose another"),
        ({"protocol": Protocol(context=8, batch=4)}, "study 'tiny' was begun with protocol "),
    ],
)
def test_a_study_of_that_name_with_other_settings(tiny_config, open_study, changes, message):
    study = open_study(tiny_config)
    with Store.open(study.store_url) as store:
        study._row_to_run(store)
    with pytest.raises(EinsearchError) as error:
        open_study(replace(tiny_config, **changes))
    assert str(error.value).startswith(message)


def test_an_edited_search_space_is_noticed(tiny_config, tiny_study, open_study):
    study = open_study(tiny_config)
    with Store.open(study.store_url) as store:
        study._row_to_run(store)
    space = tiny_study.with_name("space.yaml")
    space.write_text(space.read_text().replace("    - {family: monarch}\n", ""))
    with pytest.raises(EinsearchError, match=r"^search space .*space.yaml was changed since study 'tiny' was begun; "):
        open_study(tiny_config)
    space.unlink()
    Study.load("tiny", store=study.store_url, runs=study.runs, device="cpu")  # the store has all it needs


def test_changed_data_are_noticed(tiny_config, tiny_study, open_study):
    study = open_study(tiny_config)
    with Store.open(study.store_url) as store:
        study._row_to_run(store)
    (tiny_study.parent / "text" / "0.txt").write_text("other words " * 1000)
    with pytest.raises(EinsearchError, match=r"^study 'tiny' was begun with data_hash '\w+', now it is '\w+': losses "):
        open_study(tiny_config)


def test_data_shorter_than_a_sequence_are_refused(tiny_config, tiny_study, open_study):
    for n in range(4):
        (tiny_study.parent / "text" / f"{n}.txt").write_text(f"a{n}")
    with pytest.raises(EinsearchError, match=r"has \d+ symbols, but one sequence needs 17; give more text"):
        open_study(tiny_config)


def test_deleting_a_study_removes_its_mirror_too(tiny_config, open_study, pretend):
    pretend(0, mirror=True)
    import optuna

    study = open_study(tiny_config)
    study.run(workers=1)
    assert optuna.get_all_study_names(study.store_url) == ["tiny"]
    study.delete()
    assert study.row() is None
    assert optuna.get_all_study_names(study.store_url) == []


def test_this_process_is_alive_and_an_older_one_of_its_number_is_not():
    owner = this_process()
    host, pid, _ = owner.rsplit(":", 2)
    assert is_alive(owner) is True
    assert is_alive(f"{host}:{pid}:1.00") is False
    assert is_alive(f"{host}:{2**22 + 1}:1.00") is False
    assert is_alive(f"elsewhere:{pid}:1.00") is None
