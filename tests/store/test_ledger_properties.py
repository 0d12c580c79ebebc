"""Whatever the order of events: the books are right and the budget holds."""

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from einsearch.errors import EinsearchError
from einsearch.store import AlreadySettled, LeaseLost

UNIT = 10**19  # beyond 2^63, so that nothing may pass through a 64-bit integer or a float
PICK = st.integers(0, 99)


class LedgerMachine(RuleBasedStateMachine):
    """Random drivers of one study beside a model that is three plain sums."""

    def __init__(self, driver):
        super().__init__()
        self.driver = driver
        self.former = None
        self.budget = driver.study.budget
        self.spent = self.lost = 0
        self.reserved = {}
        self.ended = []

    def pick_reserved(self, pick):
        return list(self.reserved.values())[pick % len(self.reserved)]

    def end(self, segment):
        self.ended.append(segment)
        return self.reserved.pop(segment.id)

    @rule()
    def add(self):
        self.driver.add()

    @rule(pick=PICK, steps=st.integers(1, 5), flops=st.integers(1, 4 * UNIT))
    def reserve(self, pick, steps, flops):
        ready = [t for t in self.driver.store.trials(self.driver.study.id) if t.state in ("queued", "paused")]
        if not ready:
            return
        trial = ready[pick % len(ready)]
        free = self.budget - self.spent - self.lost - sum(s.flops for s in self.reserved.values())
        segment = self.driver.reserve(trial, trial.step + steps, flops)
        assert (segment is None) == (flops > free)
        if segment is not None:
            self.reserved[segment.id] = segment

    @precondition(lambda self: self.reserved)
    @rule(pick=PICK, share=st.integers(0, 10), state=st.sampled_from(["paused", "complete", "failed"]))
    def settle(self, pick, share, state):
        segment = self.end(self.pick_reserved(pick))
        steps = (segment.end_step - segment.start_step) * share // 10
        flops = segment.flops * share // 10
        self.driver.settle(segment, end_step=segment.start_step + steps, flops=flops, state=state, points=[])
        self.spent += flops

    @precondition(lambda self: self.reserved)
    @rule(pick=PICK)
    def lose(self, pick):
        segment = self.end(self.pick_reserved(pick))
        self.driver.store.lose(segment.id, self.driver.epoch, "killed")
        self.lost += segment.flops

    @rule()
    def take_over(self):
        self.former = self.driver
        self.driver = self.driver.take_over()
        for segment in list(self.reserved.values()):
            self.lost += self.end(segment).flops

    @precondition(lambda self: self.former and self.ended)
    @rule(pick=PICK)
    def former_driver_settles(self, pick):
        with pytest.raises(LeaseLost):
            self.former.settle(self.ended[pick % len(self.ended)])

    @precondition(lambda self: self.ended)
    @rule(pick=PICK)
    def settle_again(self, pick):
        with pytest.raises(AlreadySettled):
            self.driver.settle(self.ended[pick % len(self.ended)])

    @rule(budget=st.integers(0, 12 * UNIT))
    def set_budget(self, budget):
        used = self.spent + self.lost + sum(s.flops for s in self.reserved.values())
        if budget < used:
            with pytest.raises(EinsearchError, match=f"give at least {used}$"):
                self.driver.store.set_budget(self.driver.study.id, self.driver.epoch, budget)
        else:
            self.driver.store.set_budget(self.driver.study.id, self.driver.epoch, budget)
            self.budget = budget

    @invariant()
    def books_are_right(self):
        self.driver.check()
        reserved = sum(segment.flops for segment in self.reserved.values())
        assert self.driver.books() == (self.spent, self.lost, reserved)
        assert self.spent + self.lost + reserved <= self.budget


def test_the_books_are_right_after_any_events(new_driver):
    names = count()

    def machine():
        return LedgerMachine(new_driver(f"s{next(names)}", budget=8 * UNIT))

    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None))
