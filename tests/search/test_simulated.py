"""Simulated studies: real books, and nothing that could be taken for real."""

from dataclasses import replace

import pytest

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.device import devices, setting_for
from einsearch.proxy.protocol import Protocol
from einsearch.search.driver import Driver
from einsearch.search.load import Load, delete_load, latencies, planned, run_load
from einsearch.search.simulated import made_up_loss, simulated_setting
from einsearch.search.study import Study
from einsearch.store import Store


class Silent:
    """Keeps the driver, to look at what it did."""

    def update(self, driver: Driver) -> None:
        assert driver.state.store.study(driver.state.study.name).free >= 0, "never over budget"


def run(tmp_path, name="store", **changes):
    url = f"sqlite:///{tmp_path}/{name}.db"
    load = Load(**({"workers": 40, "trials": 60, "sampler": "random"} | changes))
    return load, url, run_load(load, url, tmp_path, Silent())


def test_a_simulated_study_keeps_its_books(tmp_path):
    load, url, measured = run(tmp_path)
    assert measured.audit.violations == ()
    assert measured.audit.reserved == 0
    config, plan = planned(load)
    assert 0.95 * config.budget <= measured.audit.spent <= config.budget
    with Store.open(url) as store:
        (row,) = store.studies()
        curves, segments = store.curves(row.id), store.segments(row.id)
    assert (row.state, row.simulated) == ("finished", True)
    assert row.protocol["device"] == "simulated"
    assert row.name.startswith("simulated-")
    assert {c.trial.environment["device"] for c in curves if c.trial.environment} == {"simulated"}
    assert {c.trial.rung for c in curves if c.trial.kind == "search"} == {0, 1, 2}
    assert {c.trial.checkpoint for c in curves} == {None}
    assert measured.trials == sum(c.trial.kind == "search" for c in curves)
    assert measured.segments == len(segments)
    assert {s.worker.split("-")[0] for s in segments} == {"simulated"}
    assert sum(row.count for row in measured.suggestions) >= measured.trials
    assert abs(sum(measured.parts.values()) - measured.seconds) < 1e-6
    assert measured.parts["suggestions"] > 0
    assert measured.parts["mirror"] > 0
    assert measured.database_bytes > 0
    assert plan.ladder_flops < measured.audit.spent


def test_a_study_of_that_name_is_not_overwritten(tmp_path):
    load, url, _ = run(tmp_path, trials=5, workers=2)
    with pytest.raises(EinsearchError, match="study 'simulated-5-trials-2-workers-seed0' already exists"):
        run_load(load, url, tmp_path, Silent())
    delete_load(load, url)
    with Store.open(url) as store:
        assert store.studies() == []


@pytest.mark.parametrize(("workers", "deterministic"), [(1, False), (5, True)])
def test_a_deterministic_load_repeats(tmp_path, workers, deterministic):
    found = []
    for name in ("a", "b"):
        _, url, _ = run(tmp_path, name, workers=workers, trials=20, sampler="tpe", deterministic=deterministic)
        with Store.open(url) as store:
            curves = store.curves(store.studies()[0].id)
        found.append([(c.trial.key, c.trial.rung, [p.validation_loss for p in c.points]) for c in curves])
    assert found[0] == found[1]


def test_segments_take_their_time_and_workers_are_kept_busy(tmp_path):
    """No bound on speed: only that time passes, and that idle is what is not busy."""
    _, _, measured = run(tmp_path, workers=4, trials=8, segment_seconds=0.02)
    assert measured.parts["waiting"] > 0
    assert 0 < measured.idle_share < 1


def test_no_real_setting_is_a_simulated_one(tmp_path, tiny_study):
    corpus = load_corpus(tiny_study.parent / "text", tmp_path / "cache")
    real, made_up = setting_for(Protocol(), corpus, devices("cpu")[0]), simulated_setting(Protocol())
    assert real.id != made_up.id
    assert replace(made_up, device="cpu").id != made_up.id
    with pytest.raises(EinsearchError, match="unknown device 'simulated'"):
        devices(made_up.device)


def test_dense_runs_are_not_reused_across(tmp_path, tiny_config, open_study):
    """A real study of the same candidates, in the same store, finds no simulated run to take over."""
    load, url, _ = run(tmp_path, trials=5, workers=2)
    protocol = planned(load)[0].protocol
    made_up = simulated_setting(protocol)
    with Store.open(url) as store:
        ladder = next(c.trial for c in store.curves(store.studies()[0].id) if c.trial.kind == "ladder")
        assert store.reusable(made_up.id, ladder.key, ladder.seed, 1) is not None
        assert store.reusable(replace(made_up, device="cpu").id, ladder.key, ladder.seed, 1) is None


def test_a_simulated_study_cannot_be_trained(tmp_path):
    load, url, _ = run(tmp_path, trials=5, workers=2)
    with pytest.raises(EinsearchError, match=f"study '{load.name}' is simulated: it cannot be trained"):
        Study.load(load.name, store=url, runs=tmp_path / "runs", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "workers is 0; it must be at least 1"),
        ({"trials": -1}, "trials is -1; it must be at least 1"),
        ({"segment_seconds": -0.5}, "segment-seconds is -0.5; it must lie in 0 to 3600"),
    ],
)
def test_a_load_that_makes_no_sense(changes, message):
    with pytest.raises(EinsearchError) as error:
        Load(**({"workers": 1, "trials": 1} | changes))
    assert str(error.value) == message


def test_losses_are_a_power_law():
    losses = [made_up_loss(1.0, flops) for flops in (10**12, 10**13, 10**14)]
    assert losses[0] > losses[1] > losses[2] > 1.2
    assert (losses[1] - 1.2) / (losses[0] - 1.2) == pytest.approx((losses[2] - 1.2) / (losses[1] - 1.2))
    assert made_up_loss(1.1, 10**12) > losses[0]


def test_latencies_by_thousand():
    first, second = latencies([0.001] * 990 + [0.1] * 10 + [0.002])
    assert (first.begin, first.count, first.median) == (0, 1000, 0.001)
    assert 0.001 < first.p99 <= 0.1
    assert (second.begin, second.count, second.median, second.p99) == (1000, 1, 0.002, 0.002)
    assert latencies([]) == ()
