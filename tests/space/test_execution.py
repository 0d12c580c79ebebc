"""Execution plans: they compute what the reference plan computes, and name every permutation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.space.einsum import Einsum
from einsearch.space.execution import ExecutionPlan, Layout, execution_plan, mergeable
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse

DIMENSIONS = st.sampled_from([1, 5, 8, 12, 16, 17, 36])


def spelled(planned: Operator, layout: Layout) -> str:
    letters = planned.einsum.structure.letters()
    return "".join(letters[index] for index in layout)


def described(text: str, d_in: int = 256, d_out: int = 256) -> list[str]:
    """Each step as `layout -> (copied) -> out`, and the last copy."""
    planned = operator(parse(text), d_in, d_out)
    plan = execution_plan(planned)
    lines = []
    for product in plan.products:
        copied = f" copied {spelled(planned, product.copied)}" if product.copied is not None else ""
        repeated = f" repeats {spelled(planned, product.repeated)}" if product.repeated else ""
        lines.append(f"{spelled(planned, product.source)}{copied}{repeated} -> {spelled(planned, product.out)}")
    return lines + ([f"copied {spelled(planned, plan.last_copy)}"] if plan.last_copy is not None else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dense", ["a -> b"]),
        ("low-rank", ["a -> r", "r -> e"]),
        ("btt", ["ag -> gf", "gf -> fe", "copied ef"]),
        ("btt(1/4)", ["ag -> grf", "grf -> fe", "copied ef"]),
        ("kronecker", ["ab -> db", "db repeats d -> de"]),
        ("tensor-train", ["ab -> drb", "drb repeats d -> de"]),
    ],
)
def test_named_plans(text: str, expected: list[str]) -> None:
    assert described(text) == expected


def test_products_of_btt_by_hand() -> None:
    """Blocks of 16: z[g f] = A x in 16 products of 16 x 16, y[f e] = B z in 16 more."""
    plan = execution_plan(operator(parse("btt"), 256, 256))
    assert [(p.batch_size, p.m, p.n, p.k) for p in plan.products] == [(16, 16, 1, 16)] * 2
    assert plan.copies == 1
    # x, z twice and y are read or written once, y once more each way by its copy.
    assert plan.values_moved == 256 * 4 + 256 * 2
    assert plan.flops(tokens=10) == 2 * 2 * 16**3 * 10
    assert plan.bytes_moved(tokens=10) == 4 * (10 * 6 * 256 + 2 * 16**3)


def held(plan: ExecutionPlan) -> list[Layout]:
    return [product.out for product in plan.products]


@settings(max_examples=200)
@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_every_einsum_has_a_plan(einsum: Einsum, d_in: int, d_out: int) -> None:
    planned = operator(einsum, d_in, d_out)
    plan = execution_plan(planned)
    size = dict(plan.sizes)
    assert all(n > 1 for n in size.values())
    assert plan.macs == planned.macs
    layout = tuple(index for index in einsum.indices if index.in_x and index in size)
    for product, step in zip(plan.products, planned.plan.steps, strict=True):
        assert product.factor == step.factor
        assert product.source == layout
        assert sorted(map(str, product.read)) == sorted(map(str, layout))
        read = product.read
        assert all(mergeable(read, group) for group in (product.batch, product.contracted, product.columns))
        assert read[len(read) - len(product.columns) :] == product.columns
        assert {*product.batch, *product.contracted, *product.columns} == set(layout)
        assert set(product.repeated) <= set(product.batch)
        layout = product.out
        assert set(layout) == {index for index in step.out if index in size}
    wanted = tuple(index for index in einsum.indices if index.in_y and index in size)
    assert (plan.last_copy or layout) == wanted


@given(einsum=..., d=st.sampled_from([12, 16, 36]))
def test_no_plan_moves_less_by_copying_everything(einsum: Einsum, d: int) -> None:
    """The plan that permutes before every step and at the end is always possible: the chosen one is no worse."""
    planned = operator(einsum, d, d)
    plan = execution_plan(planned)
    size = dict(plan.sizes)

    def volume(indices: object) -> int:
        total = 1
        for index in indices:  # type: ignore[attr-defined]
            total *= size.get(index, 1)
        return total

    steps = planned.plan.steps
    always = sum(3 * volume(step.live) + volume(step.out) for step in steps) + 2 * volume(steps[-1].out)
    assert plan.values_moved <= always
