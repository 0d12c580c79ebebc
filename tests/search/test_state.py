"""What a driver keeps up to date equals what is computed from all trials anew."""

from collections import Counter
from dataclasses import replace

import pytest

from einsearch.frontier import dense_frontier
from einsearch.search.config import StudyConfig
from einsearch.search.driver import Driver
from einsearch.search.history import History
from einsearch.search.rungs import best_paused, promotable
from einsearch.search.state import StudyState
from einsearch.search.study import Study
from einsearch.search.trials import observation, standing

ACCIDENTS = {"lost": 0.1, "broken": 0.02, "diverged": 0.1}


def free(state: StudyState) -> int:
    """From the store's books and all trials."""
    promised = sum((r.target - r.segment.end_step) * r.trial.flops_per_step for r in state.running.values())
    for curve in state.curves:
        trial = curve.trial
        if trial.state == "queued" and (trial.step > 0 or trial.kind == "ladder"):
            promised += (state.target(trial) - trial.step) * trial.flops_per_step
    return state.store.study(state.study.name).free - promised


class Recompute:
    """Compares after every poll."""

    def __init__(self) -> None:
        self.polls = self.promotions = self.leftovers = 0

    def update(self, driver: Driver) -> None:
        state, rungs = driver.state, driver.state.plan.rungs
        self.polls += 1
        assert state.free() == free(state)
        assert state.frontier == dense_frontier(state.curves)
        found = [observation(curve, rungs, state.frontier) for curve in state.curves]
        assert list(state.history) == list(History(o for o in found if o is not None))
        assert state.counts - Counter() == Counter((c.trial.kind, c.trial.state) for c in state.curves)
        ended = {c.trial.id for c in state.curves if c.trial.state in ("complete", "failed")}
        assert set(state.ended) == ended
        assert len(state.ended) == len(ended)
        queued = [c.trial for c in state.curves if c.trial.state == "queued"]
        assert list(state.queued()) == sorted(queued, key=lambda t: (t.kind != "ladder", t.step == 0, t.number))
        assert state.dearest_step == max(c.trial.flops_per_step for c in state.curves)

        standings = [s for curve in state.curves if (s := standing(curve, rungs)) is not None]
        best = promotable(standings, len(rungs) - 1, state.plan.reduction)
        assert state.halving.promotable() == (best.trial_id if best else None)
        waiting = [s.trial_id for s in best_paused(standings, len(rungs) - 1)]
        assert [n for rung in reversed(range(len(rungs) - 1)) for n in state.halving.leftovers(rung)] == waiting
        self.promotions += best is not None
        self.leftovers += bool(waiting)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("luck", range(2))
def test_every_sum_and_order_is_right_after_every_poll(
    tiny_config: StudyConfig, open_study, pretend, luck: int, deterministic: bool
):
    pretend(luck, **ACCIDENTS)
    config = replace(
        tiny_config,
        space="two-factor",
        sampler="random",
        budget=3 * 10**9,
        rungs=(10**8, 2 * 10**8, 4 * 10**8),
        ladder=((16, 8 * 10**8),),
    )
    study: Study = open_study(config)
    watch = Recompute()
    assert study.run(workers=4, deterministic=deterministic, observer=watch)
    assert watch.polls > 10
    assert watch.leftovers
    # What another driver reads from the store is what this one kept.
    assert study.run(workers=4, deterministic=deterministic, budget=config.budget + 10**9, observer=watch)
