"""What a sampler is shown of a study."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.search.history import BEST, NEWEST, RUNNING, WINDOW, History, Observation, Suggestion


def observation(key: str, *scores: float, failed: bool = False) -> Observation:
    return Observation(key=key, suggestion=Suggestion(params={}), scores=scores, done=False, failed=failed)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    key = str(draw(st.integers(0, 30)))
    scores = draw(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), max_size=3))
    return observation(key, *scores, failed=draw(st.booleans()))


@given(st.lists(observations(), max_size=80))
def test_what_is_put_one_by_one_is_what_is_put_at_once(puts):
    """Later observations of a key replace earlier ones, in the place of the first."""
    history, last = History(), {}
    for one in puts:
        history.put(one)
        last[one.key] = one
    assert list(history) == list(last.values())
    assert len(history) == len(last)
    assert all(key in history and history[key] is one for key, one in last.items())
    assert "none" not in history
    fresh = History(last.values())
    assert history.window() == fresh.window()
    taught = [o for o in last.values() if o.scores and not o.failed]
    assert [key for *_, key in history._ranking] == [
        o.key for o in sorted(taught, key=lambda o: (-len(o.scores), -o.scores[-1], list(last).index(o.key)))
    ]


def test_a_short_history_is_shown_whole():
    everything = [observation(str(n), float(n), failed=n % 7 == 0) for n in range(WINDOW)]
    assert History(everything).window() == everything


def test_of_a_long_one_the_best_the_newest_and_some_that_run():
    """The best are the oldest here; hundreds run, and have the newest numbers."""
    best = [observation(f"best{n}", 0.0, 1.0, 9.0) for n in range(BEST)]
    dull = [observation(f"dull{n}", 0.0) for n in range(400)]
    broken = [observation(f"broken{n}", 5.0, failed=True) for n in range(20)]
    running = [observation(f"running{n}") for n in range(700)]
    assert History(best + dull + broken + running).window() == best + dull[-NEWEST:] + running[-RUNNING:]


@pytest.mark.parametrize("count", [WINDOW + 1, 3 * WINDOW])
def test_the_part_that_is_shown_does_not_grow(count):
    history = History(observation(str(n), float(n % 11)) for n in range(count))
    shown = history.window()
    assert len(shown) == BEST + NEWEST
    assert len({o.key for o in shown}) == len(shown)
