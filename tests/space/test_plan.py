"""The reference plan: the cheapest order by all orders, and the fans that init and learning rates come from."""

import math
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.space import plan as plan_module
from einsearch.space.einsum import Einsum
from einsearch.space.operator import operator
from einsearch.space.parse import parse
from einsearch.space.plan import reference_plan
from einsearch.space.sizes import Sizes, integer_sizes, renamed_sizes

DIMENSIONS = st.sampled_from([5, 16, 48, 64, 97, 256])


def sized(einsum: Einsum, values: list[int]) -> Sizes:
    """Any sizes at all, whatever the exponents say."""
    of = tuple(zip(einsum.indices, values, strict=True))
    d_in = math.prod(n for index, n in of if index.in_x)
    d_out = math.prod(n for index, n in of if index.in_y)
    return Sizes(d_in, d_out, d_in, d_out, of)


def macs(einsum: Einsum, sizes: Sizes, order: tuple[int, ...]) -> int:
    """Operand by operand, as the einsum string says: keep what a later operand or y still has."""
    size = {name: sizes[index] for index, name in einsum.structure.letters().items()}
    left, y_term = einsum.structure.equation().split("->")
    x_term, *terms = left.split(",")
    found, live = 0, set(x_term)
    for n, f in enumerate(order):
        touched = live | set(terms[f])
        found += math.prod(size[name] for name in touched)
        live = touched & set(y_term).union(*(terms[g] for g in order[n + 1 :]))
    return found


def is_the_plan_of_all_orders(einsum: Einsum, sizes: Sizes, order: tuple[int, ...]) -> bool:
    """Least MACs; of equal ones the least sizes when the factors are named by their positions."""

    def key(found: tuple[int, ...]) -> tuple[object, ...]:
        positions = tuple(found.index(f) for f in range(einsum.factors))
        return macs(einsum, sizes, found), renamed_sizes(sizes.of, positions)

    return key(order) == min(map(key, permutations(range(einsum.factors))))


@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_the_plan_is_the_cheapest_order(einsum: Einsum, d_in: int, d_out: int) -> None:
    sizes = integer_sizes(einsum, d_in, d_out)
    found = reference_plan(einsum, sizes)
    order = tuple(step.factor for step in found.steps)
    assert is_the_plan_of_all_orders(einsum, sizes, order)
    assert found.macs == macs(einsum, sizes, order) == operator(einsum, d_in, d_out).macs
    assert all(order[found.positions[f]] == f for f in range(einsum.factors))


@given(einsum=..., data=st.data())
def test_the_plan_is_the_cheapest_order_at_any_sizes(einsum: Einsum, data: st.DataObject) -> None:
    """Small sizes: many orders cost the same, and many factors are alike."""
    sizes = sized(einsum, [data.draw(st.integers(1, 3)) for _ in einsum.indices])
    order = tuple(step.factor for step in reference_plan(einsum, sizes).steps)
    assert is_the_plan_of_all_orders(einsum, sizes, order)


def test_the_check_by_all_orders_can_fail() -> None:
    einsum = parse("low-rank")
    sizes = sized(einsum, [8, 8, 2])
    assert is_the_plan_of_all_orders(einsum, sizes, (0, 1))
    assert not is_the_plan_of_all_orders(einsum, sizes, (1, 0))
    uneven = parse("(1/3|2/3|0|1/3|2/3|0|0)")
    tie = sized(uneven, [4, 16, 4, 16])
    assert macs(uneven, tie, (0, 1)) == macs(uneven, tie, (1, 0))
    assert is_the_plan_of_all_orders(uneven, tie, (0, 1))
    assert not is_the_plan_of_all_orders(uneven, tie, (1, 0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 256 = 2^8: every step holds 8 or 9 indices of size 2; the links of exponent 1/16 have size 1.
        ("kronecker(factors=8)", 8 * 512),
        ("tensor-train(1/16, factors=8)", 8 * 512),
        ("monarch(factors=8)", 8 * 512),
        ("low-rank(1/2, factors=8)", 2 * 256 * 16 + 6 * 16 * 16),
    ],
)
def test_of_factors_that_are_alike_one_order_is_tried(
    text: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    einsum = parse(text)
    sizes = integer_sizes(einsum, 256, 256)
    tried = []
    monkeypatch.setattr(plan_module, "_plan", lambda *a, make=plan_module._plan: tried.append(a) or make(*a))
    assert reference_plan(einsum, sizes).macs == expected
    assert len(tried) == 1


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


@settings(max_examples=40)
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
        assert shape(einsum.renamed(name)) == shape(einsum)


def test_a_tie_is_decided_by_sizes() -> None:
    """Kronecker of 4 x 4 and 16 x 16: both orders cost the same, whichever factor is called A."""
    for text, first in (("(1/3|2/3|0|1/3|2/3|0|0)", 0), ("(2/3|1/3|0|2/3|1/3|0|0)", 1)):
        planned = operator(parse(text), 64, 64)
        assert sorted(planned.factor_parameters(f) for f in (0, 1)) == [16, 256]
        assert planned.plan.steps[0].factor == first
        assert planned.factor_parameters(first) == 16
