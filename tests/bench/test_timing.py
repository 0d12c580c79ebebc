"""Rounds: who runs when, what a median and a speed-up are, and how many rounds there are."""

import gc

import pytest

from einsearch.bench import timing
from einsearch.bench.timing import CpuClock, Times, interleaved, round_order, rounds_for


class Counting:
    """A clock that notes who ran; every run takes as many seconds as runs came before it."""

    warm_up = 1

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.collecting: list[bool] = []

    def __call__(self, runs):
        self.rounds.append([run() for run in runs])
        self.collecting.append(gc.isenabled())
        return [float(n) for n, _ in enumerate(runs)]


def runs(*names):
    return {name: lambda name=name: name for name in names}


def test_every_function_runs_once_a_round_in_changing_order():
    clock = Counting()
    times = interleaved(runs("a", "b", "c", "d"), clock, repeats=6)
    warm, *rounds = clock.rounds
    assert warm == ["a", "b", "c", "d"]
    assert len(rounds) == 6
    assert all(sorted(each) == ["a", "b", "c", "d"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 3
    for name, found in times.items():
        assert found.seconds == tuple(float(each.index(name)) for each in rounds)


def test_garbage_is_collected_between_measurements_only():
    clock = Counting()
    interleaved(runs("a"), clock, repeats=2)
    assert clock.collecting == [True, False, False]
    assert gc.isenabled()


def test_garbage_is_collected_again_after_an_interruption():
    def interrupted():
        if not gc.isenabled():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interleaved({"a": interrupted}, CpuClock(), repeats=1)
    assert gc.isenabled()


def test_orders_repeat():
    assert [round_order(5, n) for n in range(3)] == [round_order(5, n) for n in range(3)]
    assert sorted(round_order(5, 7)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-6, 50), (0.5, 20), (1.0, 10), (7.0, 5)])
def test_as_many_rounds_as_fit(seconds, rounds):
    assert (timing.SECONDS, rounds_for(seconds)) == (10.0, rounds)


def test_median_and_spread_by_hand():
    times = Times(seconds=(5.0, 1.0, 3.0, 2.0, 100.0))
    assert times.median == 3.0
    assert times.spread == 1.5  # the middle half reaches from 2 to 5
    assert Times(seconds=(2.0,)).spread == 0.0


def test_speedup_compares_within_rounds():
    """A machine that is three times as slow in one round changes nothing."""
    base = Times(seconds=(4.0, 12.0, 4.0))
    assert Times(seconds=(2.0, 6.0, 2.0)).speedup(base) == 2.0
    assert base.speedup(base) == 1.0


def test_the_clock_of_a_cpu_runs_in_order():
    order = []
    seconds = CpuClock()([lambda: order.append(0), lambda: order.append(1)])
    assert order == [0, 1]
    assert all(each > 0 for each in seconds)
