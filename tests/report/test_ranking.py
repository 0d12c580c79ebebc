"""Who leads, against what, and one record a trial."""

import json

import pytest

from einsearch.frontier import Bound, Frontier
from einsearch.report.ranking import dense_reference, rank, trial_records
from einsearch.report.rungs import rung_flops

from .conftest import RUNGS, candidate_loss, dense_loss


def test_rung_comes_first_then_loss(full):
    leaders = rank(full.curves)
    assert [(leader.rank, leader.label, leader.rung) for leader in leaders] == [
        (1, "BTT rank 1", 2),
        (2, "Kronecker", 1),
        (3, "BTT rank d^0.25", 0),
        (4, "Low rank d^0.5", 0),
    ]
    assert rank(full.curves, limit=2) == leaders[:2]


def test_a_leader_says_what_was_measured(full):
    best = rank(full.curves)[0]
    assert best.theta == "(0.5|0|0.5|0|0.5|0.5|0)"
    assert (best.omega, best.psi, best.nu, best.width, best.seeds, best.state) == (0, 1, 0.5, 32, 1, "complete")
    assert RUNGS[-1] * 0.98 < best.flops <= RUNGS[-1]
    assert best.loss == pytest.approx(candidate_loss(best.flops, 1.5))
    assert best.multiplier.value == pytest.approx(1.5, rel=1e-6)
    assert best.multiplier.bound is Bound.EXACT
    curve = next(curve for curve in full.curves if curve.trial.key == best.key)
    assert best.tokens_per_second == pytest.approx(curve.trial.step * 1000 / 6.0)


def test_failed_trials_dense_runs_and_trials_without_a_rung_are_not_ranked(recorder):
    recorder.dense()
    recorder.fail("diverged")
    recorder.add("btt", width=48)
    assert rank(recorder.data().curves) == []


def test_seeds_are_averaged_at_their_highest_common_rung(recorder):
    recorder.dense()
    recorder.search(multiplier=1.2, seed=0)
    recorder.search(multiplier=1.5, seed=1)
    recorder.search(multiplier=9.0, seed=2, rungs=1)
    (leader,) = rank(recorder.data().curves)
    assert (leader.seeds, leader.rung) == (2, 2)
    assert leader.multiplier.value == pytest.approx((1.2 * 1.5) ** 0.5, rel=1e-6)
    losses = [candidate_loss(leader.flops, multiplier) for multiplier in (1.2, 1.5)]
    assert leader.loss == pytest.approx(sum(losses) / 2)


def test_one_seed_outside_the_ladder_makes_a_bound(recorder):
    recorder.dense()
    recorder.search(multiplier=1.5, seed=0)
    recorder.search(multiplier=9.0, seed=1)
    (leader,) = rank(recorder.data().curves)
    assert leader.multiplier.bound is Bound.AT_LEAST
    assert leader.multiplier.value < (1.5 * 9.0) ** 0.5


def test_points_on_the_way_to_the_next_rung_do_not_count_yet(recorder):
    recorder.dense()
    resting = recorder.search("low-rank(1/2)", multiplier=1.0, rungs=1)
    moving = recorder.search("btt", multiplier=1.3, rungs=1)
    recorder.settle(moving, recorder.reserve(moving, 2 * RUNGS[0]), 1.3, "queued", 0)
    data = recorder.data()
    first, second = rank(data.curves)
    assert (first.key, second.key) == (moving.key, resting.key)
    assert first.flops <= RUNGS[0] < data.curves[-1].trial.flops_done
    assert rung_flops(data.curves) == {0: second.flops}


def test_without_dense_there_is_no_multiplier(recorder):
    recorder.search("btt", multiplier=1.5)
    recorder.search("low-rank(1/2)", multiplier=1.0)
    data = recorder.data()
    assert [leader.multiplier for leader in rank(data.curves)] == [None, None]
    assert rank(data.curves)[0].label == "BTT rank 1"
    assert dense_reference(data.curves, data.frontier, RUNGS[-1]) is None
    assert [record["multiplier"] for record in trial_records(data)] == [None, None]


def test_the_frontier_may_be_given(full):
    frontier = Frontier.of([[(10**9, 9.0), (10**10, 8.0)]])
    assert rank(full.curves, frontier=frontier)[0].multiplier.bound is Bound.AT_LEAST


def test_dense_at_the_same_compute(full):
    found = dense_reference(full.curves, full.frontier, 40 * 10**9)
    assert found.loss == pytest.approx(dense_loss(40 * 10**9), rel=1e-9)
    assert found.flops == 40 * 10**9
    outside = dense_reference(full.curves, full.frontier, 10**12)
    assert (outside.loss, outside.width) == (None, 32)  # of the two only width 32 reached the end


def test_dense_is_the_best_run_there(recorder):
    small, large = recorder.dense(16, RUNGS[1], multiplier=1.2), recorder.dense(48, RUNGS[-1])
    data = recorder.data()
    assert dense_reference(data.curves, data.frontier, RUNGS[-1]).parameters == large.parameters
    assert dense_reference(data.curves, data.frontier, RUNGS[0]).parameters == small.parameters


def test_a_record_a_trial(full):
    records = trial_records(full)
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert [record["number"] for record in records] == list(range(8))
    assert all(not isinstance(value, dict | list) for record in records for value in record.values())
    best = records[2]
    assert (best["kind"], best["state"], best["rung"], best["depth"]) == ("search", "complete", 2, 2)
    assert best["multiplier"] == pytest.approx(1.5, rel=1e-6)
    assert best["multiplier_bound"] == "exact"
    failed = records[6]
    assert (failed["state"], failed["reason"]) == ("failed", "the loss is not finite at step 7")
    assert (failed["loss"], failed["multiplier"], failed["multiplier_bound"]) == (None, None, None)


def test_a_record_has_the_taxonomy_of_both_sites(recorder):
    recorder.search("btt / dense")
    (record,) = trial_records(recorder.data())
    assert (record["attention_nu"], record["ffn_nu"]) == (0.5, 1.0)


def test_the_taxonomy_of_a_leader_is_the_mean_over_its_layers(recorder):
    recorder.search("btt / dense")
    (leader,) = rank(recorder.data().curves)
    assert leader.nu == pytest.approx((4 * 0.5 + 8 * 1.0) / 12)  # weighted by dense MACs: 4 d^2 and 2 * 4 d^2
