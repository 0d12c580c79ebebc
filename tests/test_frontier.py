"""The dense frontier and the multiplier that is read off it."""

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from einsearch.frontier import Bound, Frontier, Multiplier

FLOPS = st.integers(10**9, 10**13)
LOSSES = st.floats(1.0, 10.0)
RUNS = st.lists(st.lists(st.tuples(FLOPS, LOSSES), min_size=1, max_size=8), min_size=1, max_size=4)


@st.composite
def descending(draw):
    """A run that only improves, its losses at least a thousandth apart."""
    flops = sorted(draw(st.sets(FLOPS, min_size=2, max_size=8)))
    factors = draw(st.lists(st.floats(0.8, 0.999), min_size=len(flops), max_size=len(flops)))
    losses = [10 * math.prod(factors[: n + 1]) for n in range(len(flops))]
    return list(zip(flops, losses, strict=True))


def on(run, flops):
    """The run's loss at FLOPs within it, by its own logarithms."""
    for (f0, loss0), (f1, loss1) in pairwise(run):
        if f0 <= flops <= f1:
            share = (math.log(flops) - math.log(f0)) / (math.log(f1) - math.log(f0))
            return math.exp((1 - share) * math.log(loss0) + share * math.log(loss1))
    raise AssertionError(f"{flops} lies outside the run")


@given(RUNS)
def test_the_envelope_is_monotone(runs):
    frontier = Frontier.of(runs)
    assert list(frontier.flops) == sorted(set(frontier.flops))
    assert list(frontier.losses) == sorted(set(frontier.losses), reverse=True)


@given(RUNS)
def test_no_dense_point_beats_dense(runs):
    frontier = Frontier.of(runs)
    last = {flops: loss for run in runs for flops, loss in dict(run).items()}
    for flops, loss in last.items():
        multiplier = frontier.multiplier(flops, loss)
        assert multiplier.value <= 1 + 1e-9
        assert multiplier.bound is not Bound.AT_LEAST


@given(RUNS, LOSSES, LOSSES)
def test_a_lower_loss_needs_no_less_compute(runs, one, other):
    frontier = Frontier.of(runs)
    high, low = max(one, other), min(one, other)
    assert frontier.flops_for(low)[0] >= frontier.flops_for(high)[0] * (1 - 1e-9)


@given(descending(), st.floats(0, 1))
def test_between_points_a_run_is_straight_in_the_logarithms(run, share):
    flops = run[0][0] * (run[-1][0] / run[0][0]) ** share
    needed, _ = Frontier.of([run]).flops_for(on(run, min(max(flops, run[0][0]), run[-1][0])))
    assert needed == pytest.approx(flops, rel=1e-6)


@given(descending(), st.sets(st.floats(0, 1), max_size=6), st.floats(1.01, 3), st.floats(0, 1))
def test_a_worse_dense_run_changes_nothing(run, places, factor, share):
    """Not even where it is evaluated just before the better one: there a step would flatter every candidate."""
    (first, high), (last, low) = run[0], run[-1]
    grid = {flops for flops, _ in run} | {min(max(round(first * (last / first) ** at), first), last) for at in places}
    worse = [(flops, factor * on(run, flops)) for flops in sorted(grid)]
    loss = high * (low / high) ** share
    alone, _ = Frontier.of([run]).flops_for(loss)
    both, _ = Frontier.of([run, worse]).flops_for(loss)
    assert both == pytest.approx(alone, rel=1e-6)


def test_two_runs_that_end_at_almost_the_same_flops():
    """Measured: a step between 1.8824 and 1.7676 once made 2.00 of this 1.58."""
    width_32 = [(353_202_339_840, 1.892006), (499_866_869_760, 1.767621)]
    width_48 = [(353_063_927_808, 2.026688), (499_434_651_648, 1.882382)]
    frontier = Frontier.of([width_32, width_48])
    assert frontier.multiplier(249_884_835_840, 1.8521).value == pytest.approx(1.58, abs=0.01)


@given(RUNS, FLOPS)
def test_outside_the_envelope_a_multiplier_is_a_bound(runs, flops):
    frontier = Frontier.of(runs)
    better = frontier.multiplier(flops, frontier.losses[-1] * 0.99)
    assert better == Multiplier(frontier.flops[-1] / flops, Bound.AT_LEAST)
    worse = frontier.multiplier(flops, frontier.losses[0] * 1.01)
    assert worse == Multiplier(frontier.flops[0] / flops, Bound.AT_MOST)
    for at, loss in zip(frontier.flops, frontier.losses, strict=True):
        bound = Bound.AT_MOST if at < frontier.complete_from else Bound.EXACT
        assert frontier.multiplier(at, loss) == Multiplier(1.0, bound)


def test_before_all_runs_were_evaluated_a_multiplier_is_a_bound():
    """Measured: the ladder's first points of widths 48, 32 and 16 made one exact 0.56 of all poor losses."""
    frontier = Frontier.of([[(15_080, 3.32), (500_000, 1.88)], [(15_410, 2.80)], [(15_480, 2.60), (125_000, 2.17)]])
    assert frontier.complete_from == 15_480
    assert frontier.multiplier(27_000, 2.9).bound is Bound.AT_MOST
    assert frontier.multiplier(27_000, 2.5).bound is Bound.EXACT


@given(descending(), FLOPS, st.floats(0, 1))
def test_half_the_compute_is_twice_the_multiplier(run, flops, share):
    assume(flops % 2 == 0)
    frontier = Frontier.of([run])
    loss = run[0][1] * (run[-1][1] / run[0][1]) ** share
    assert frontier.multiplier(flops // 2, loss).value == pytest.approx(2 * frontier.multiplier(flops, loss).value)


def test_text():
    frontier = Frontier.of([[(100, 4.0), (400, 2.0)]])
    assert frontier.flops_for(math.sqrt(8.0)) == (pytest.approx(200), Bound.EXACT)
    assert str(frontier.multiplier(100, math.sqrt(8.0))) == "2.00"
    assert str(frontier.multiplier(100, 1.9)) == "≥4.00"
    assert str(frontier.multiplier(400, 4.1)) == "≤0.25"


def test_without_dense_runs_there_is_no_multiplier():
    for empty in (Frontier.of([]), Frontier.of([[], []])):
        assert empty.empty
        with pytest.raises(ValueError, match=r"^the frontier has no dense run yet$"):
            empty.multiplier(1, 1.0)
