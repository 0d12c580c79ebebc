"""The reference plan: the cheapest order, and the fans that init and learning rates come from."""

import math
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.space.einsum import Einsum
from einsearch.space.notation import equation, letters, parse
from einsearch.space.operator import operator

DIMENSIONS = st.sampled_from([5, 16, 48, 64, 97, 256])


@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_the_plan_is_the_cheapest_order(einsum: Einsum, d_in: int, d_out: int) -> None:
    planned = operator(einsum, d_in, d_out)
    size = {name: planned.sizes[index] for index, name in letters(einsum).items()}
    left, y_term = equation(einsum).split("->")
    x_term, *terms = left.split(",")

    def macs(order: tuple[str, ...]) -> int:
        found, live = 0, set(x_term)
        for n, term in enumerate(order):
            touched = live | set(term)
            found += math.prod(size[name] for name in touched)
            live = touched & set("".join(order[n + 1 :]) + y_term)
        return found

    assert planned.plan.macs == planned.macs == min(map(macs, permutations(terms)))
    assert planned.plan.macs == macs(tuple(terms[step.factor] for step in planned.plan.steps))


@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_every_step_accounts_for_all_that_it_touches(einsum: Einsum, d_in: int, d_out: int) -> None:
    planned = operator(einsum, d_in, d_out)
    steps = planned.plan.steps
    size = dict(planned.sizes.of)
    assert sorted(step.factor for step in steps) == list(range(einsum.factors))
    assert steps[0].live == tuple(i for i in einsum.indices if i.in_x)
    assert steps[-1].out == tuple(i for i in einsum.indices if i.in_y)
    for before, after in pairwise(steps):
        assert before.out == after.live
    for step in steps:
        assert planned.plan.step_of(step.factor) is step
        assert set(step.carried) == einsum.of_factor(step.factor)
        assert set(step.introduced) == set(step.carried) - set(step.live)
        assert set(step.passing) == set(step.live) - set(step.carried)
        assert set(step.contracted) == {*step.live, *step.carried} - set(step.out)
        assert set(step.batch) == set(step.live) & set(step.carried) & set(step.out)
        assert step.macs == math.prod(size[i] for i in {*step.live, *step.carried})
        assert step.fan_in == math.prod(size[i] for i in step.contracted)
        assert step.fan_out == math.prod(size[i] for i in step.introduced)


@pytest.mark.parametrize(
    ("text", "d_in", "d_out", "order", "macs", "fans"),
    [
        # A: alpha -> delta phi rho, batch gamma; B: beta gamma rho -> epsilon, batch phi.
        ("btt(1/4)", 256, 256, [0, 1], [256 * 64, 256 * 64], {0: (16, 16 * 4), 1: (16 * 4, 16)}),
        # a8 g8 e16 f16
        ("btt", 64, 256, [0, 1], [64 * 16, 8 * 256], {0: (8, 16), 1: (8, 16)}),
        ("low-rank", 64, 256, [0, 1], [64 * 8, 8 * 256], {0: (64, 8), 1: (8, 256)}),
        # Letters swapped: the plan, not the name, says what goes first.
        ("(0|1|0|1|0|0|1/2)", 64, 256, [1, 0], [64 * 8, 8 * 256], {1: (64, 8), 0: (8, 256)}),
        # a8 b8 d8 e8; beta passes through the first step, delta through the second.
        ("kronecker", 64, 64, [0, 1], [512, 512], {0: (8, 8), 1: (8, 8)}),
        ("dense", 64, 256, [0], [64 * 256], {0: (64, 256)}),
        # a4 b2 g2, d2 e4 f2, r2: A: 16 * d f r; B: b g r * 16.
        ("(.5|.25|.25|.25|.5|.25|.25)", 16, 16, [0, 1], [128, 128], {0: (4, 8), 1: (8, 4)}),
    ],
)
def test_steps_worked_by_hand(
    text: str, d_in: int, d_out: int, order: list[int], macs: list[int], fans: dict[int, tuple[int, int]]
) -> None:
    plan = operator(parse(text), d_in, d_out).plan
    assert [step.factor for step in plan.steps] == order
    assert [step.macs for step in plan.steps] == macs
    assert {step.factor: (step.fan_in, step.fan_out) for step in plan.steps} == fans


@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_of_equally_cheap_orders_names_do_not_choose(einsum: Einsum, d_in: int, d_out: int) -> None:
    """Structures of one key start and learn alike: fans, and which factor is last (zero) in a residual branch."""

    def shape(candidate: Einsum) -> list[tuple[int, int, int, int]]:
        planned = operator(candidate, d_in, d_out)
        return [
            (step.macs, step.fan_in, step.fan_out, planned.factor_parameters(step.factor))
            for step in planned.plan.steps
        ]

    for name in permutations(range(einsum.factors)):
        renamed = Einsum.of(einsum.factors, {i.renamed(name): v for i, v in einsum.exponents})
        assert shape(renamed) == shape(einsum)


def test_a_tie_is_decided_by_sizes() -> None:
    """Kronecker of 4 x 4 and 16 x 16: both orders cost the same, whichever factor is called A."""
    for text, first in (("(1/3|2/3|0|1/3|2/3|0|0)", 0), ("(2/3|1/3|0|2/3|1/3|0|0)", 1)):
        planned = operator(parse(text), 64, 64)
        assert sorted(planned.factor_parameters(f) for f in (0, 1)) == [16, 256]
        assert planned.plan.steps[0].factor == first
        assert planned.factor_parameters(first) == 16
