from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.search.rungs import Standing, best_paused, promotable, ranked


def paused(trial_id: int, *losses: float) -> Standing:
    return Standing(trial_id=trial_id, losses=losses, paused=True)


def running(trial_id: int, *losses: float) -> Standing:
    return Standing(trial_id=trial_id, losses=losses, paused=False)


FOUR_AT_RUNG_0 = [paused(1, 3.0), paused(2, 2.0), paused(3, 2.5), paused(4, 4.0)]


def promoted(standings: list[Standing], top: int = 2, reduction: int = 3) -> int | None:
    chosen = promotable(standings, top, reduction)
    return chosen.trial_id if chosen else None


def test_one_of_four_is_promoted_and_it_is_the_best():
    assert promoted(FOUR_AT_RUNG_0) == 2


def test_two_of_four_are_too_few_for_a_reduction_of_five():
    assert promoted(FOUR_AT_RUNG_0, reduction=5) is None


def test_the_second_best_is_not_promoted_once_the_best_is_on_its_way():
    assert promoted([running(2, 2.0), *(s for s in FOUR_AT_RUNG_0 if s.trial_id != 2)]) is None


def test_a_promoted_trial_still_counts_at_the_rung_it_left():
    standings = [running(9, 1.0, 0.9), *FOUR_AT_RUNG_0, paused(5, 3.5)]  # six trials: two go on, 9 and 2
    assert promoted(standings) == 2


def test_the_highest_rung_is_served_first():
    higher = [paused(11, 3.0, 2.9), paused(12, 3.1, 2.8), paused(13, 3.2, 2.7)]
    assert promoted([*FOUR_AT_RUNG_0, *higher]) == 13


def test_a_trial_at_the_top_rung_is_never_promoted():
    assert promoted([paused(n, 3.0, 2.0) for n in range(9)], top=1) is None


def test_of_equal_losses_the_older_trial_goes_on():
    assert promoted([paused(8, 2.0), paused(7, 2.0), paused(9, 2.0)]) == 7


def test_a_reduction_of_one_promotes_everything():
    assert promoted([paused(1, 9.0)], reduction=1) == 1


def test_leftovers_are_the_most_advanced_first_then_the_best():
    standings = [paused(1, 3.0), paused(2, 2.0), paused(3, 4.0, 3.9), running(4, 1.0), paused(5, 1, 1, 1), paused(6)]
    assert [s.trial_id for s in best_paused(standings, 2)] == [3, 2, 1]


def test_ranked_leaves_out_what_did_not_reach_the_rung():
    standings = [paused(1, 3.0, 2.0), paused(2, 2.0), paused(3, 4.0, 1.5)]
    assert [s.trial_id for s in ranked(standings, 1)] == [3, 1]


@given(
    losses=st.lists(st.tuples(*[st.floats(0, 10)] * 4), min_size=1, max_size=40),
    reduction=st.integers(1, 5),
    top=st.integers(1, 3),
    order=st.randoms(use_true_random=False),
)
def test_asynchronous_halving_in_any_order_of_results(losses, reduction, top, order):
    """New trials and promotions are interleaved at random; results come at once, so `paused` is all there is."""
    standings: dict[int, Standing] = {}
    promotions: Counter[int] = Counter()
    waiting = list(enumerate(losses))
    while True:
        chosen = promotable(list(standings.values()), top, reduction)
        if chosen and (not waiting or order.random() < 0.7):
            assert chosen.rung < top
            better = [
                s for s in standings.values() if s.rung == chosen.rung and s.losses[chosen.rung] < chosen.losses[-1]
            ]
            assert not better, "a better trial waits at the same rung"
            standings[chosen.trial_id] = paused(chosen.trial_id, *losses[chosen.trial_id][: chosen.rung + 2])
            promotions[chosen.rung] += 1
            at_rung = sum(s.rung >= chosen.rung for s in standings.values())
            best = ranked(list(standings.values()), chosen.rung)[: at_rung // reduction]
            assert chosen.trial_id in {s.trial_id for s in best}
        elif waiting:
            number, own = waiting.pop(0)
            standings[number] = paused(number, own[0])
        else:
            break
    reached = [sum(s.rung >= rung for s in standings.values()) for rung in range(top + 1)]
    for rung in range(top):
        assert reached[rung + 1] == promotions[rung]
        final_best = {s.trial_id for s in ranked(list(standings.values()), rung)[: reached[rung] // reduction]}
        # What was promoted early, from fewer trials, may have been overtaken since; the best never wait.
        assert all(standings[n].rung > rung for n in final_best)


@pytest.mark.parametrize("reduction", [2, 3, 4])
@given(losses=st.lists(st.floats(0, 10), max_size=60, unique=True))
def test_a_complete_rung_promotes_exactly_the_best_share(reduction, losses):
    standings = {n: paused(n, loss) for n, loss in enumerate(losses)}
    taken = []
    while (chosen := promotable(list(standings.values()), 1, reduction)) is not None:
        taken.append(chosen.trial_id)
        standings[chosen.trial_id] = running(chosen.trial_id, *chosen.losses)
    assert taken == sorted(standings, key=lambda n: losses[n])[: len(losses) // reduction]
