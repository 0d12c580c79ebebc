"""Contraction trees: least cost against brute force and opt_einsum, execution, and hand-computed values."""

import math
import random
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import opt_einsum
import pytest

from einsearch.errors import EinsearchError
from einsearch.space.contraction import MOST_FACTORS, Leaf, Pair, contraction_tree, merges_from
from einsearch.space.einsum import Einsum
from einsearch.space.families import btt, tensor_train
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse
from einsearch.space.plan import reference_plan
from einsearch.space.sizes import Sizes
from einsearch.space.structure import Index, index_kinds

BATCHES = [1, 2, 3, 16, 1000]
Bracketing = int | tuple["Bracketing", "Bracketing"]


def operator_at(factors: int, size: dict[Index, int]) -> Operator:
    """An operator at given integer sizes, with some exponents."""
    sides = [[index for index in size if index.side == side] for side in range(3)]
    exponents = {index: Fraction(1, len(side)) for side in sides for index in side}
    einsum = Einsum.of(factors, exponents)
    d_in, d_out = (math.prod(size[index] for index in side) for side in sides[:2])
    sizes = Sizes(d_in, d_out, d_in, d_out, tuple((index, size[index]) for index in einsum.indices))
    return Operator(einsum, sizes, reference_plan(einsum, sizes))


def random_operators(factors: int, count: int, largest: int) -> Iterator[Operator]:
    draw = random.Random(factors)
    for _ in range(count):
        chosen: list[Index] = []
        for side in range(3):
            kinds = [index for index in index_kinds(factors) if index.side == side]
            chosen += draw.sample(kinds, min(len(kinds), draw.randint(side < 2, 3)))
        yield operator_at(factors, {index: draw.randint(1, largest) for index in chosen})


def terms_of(of: Operator) -> tuple[list[str], str]:
    """The operands, x with the batch index Z first, and y's term."""
    left, y = of.einsum.structure.equation().split("->")
    terms = left.split(",")
    return ["Z" + terms[0], *terms[1:]], "Z" + y


def size_of(of: Operator, batch: int) -> dict[str, int]:
    return {"Z": batch} | {letter: of.sizes[index] for index, letter in of.einsum.structure.letters().items()}


def macs_of_path(of: Operator, batch: int, optimizer: object) -> int:
    """The cost of a path of opt_einsum: the product of all sizes that each of its contractions touches."""
    (terms, y), size = terms_of(of), size_of(of, batch)
    shapes = [tuple(size[letter] for letter in term) for term in terms]
    equation = f"{','.join(terms)}->{y}"
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize=optimizer)
    operands = [set(term) for term in terms]
    macs = 0
    for pair in path:
        assert len(pair) == 2
        touched = set().union(*(operands.pop(n) for n in sorted(pair, reverse=True)))
        macs += math.prod(size[letter] for letter in touched)
        operands.append(touched & set(y).union(*operands))
    return macs


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_the_cost_is_the_optimum_of_opt_einsum(factors: int) -> None:
    merging = 0
    for of in random_operators(factors, 60, 9):
        for batch in BATCHES:
            found = contraction_tree(of, batch)
            exact = opt_einsum.DynamicProgramming(minimize="flops", search_outer=True)
            assert found.macs == macs_of_path(of, batch, exact), str(of)
            assert found.macs <= macs_of_path(of, batch, "optimal")
            assert found.macs == found.once + batch * found.per_vector == sum(pair.macs for pair in found.pairs)
            assert found.macs_per_vector == found.macs / batch
            merging += found.merges
    assert merging > 0 or factors == 1


def bracketings(operands: tuple[int, ...]) -> Iterator[Bracketing]:
    if len(operands) == 1:
        yield operands[0]
        return
    first, *rest = operands
    for chosen in range(2 ** len(rest) - 1):
        left = (first, *(other for n, other in enumerate(rest) if chosen >> n & 1))
        right = tuple(other for other in operands if other not in left)
        for a in bracketings(left):
            yield from ((a, b) for b in bracketings(right))


def macs_of(tree: Bracketing, of: Operator, batch: int) -> tuple[int, bool]:
    """MACs of a bracketing of the operands (0 is x), and whether it merges factors."""
    (terms, y), size = terms_of(of), size_of(of, batch)
    macs, merges = 0, False

    def members(part: Bracketing) -> set[int]:
        return {part} if isinstance(part, int) else members(part[0]) | members(part[1])

    def contract(part: Bracketing) -> set[str]:
        nonlocal macs, merges
        if isinstance(part, int):
            return set(terms[part])
        touched = contract(part[0]) | contract(part[1])
        macs += math.prod(size[letter] for letter in touched)
        merges |= 0 not in members(part)
        outside = {n for n in range(len(terms)) if n not in members(part)}
        return touched & set(y).union(*(terms[n] for n in outside))

    assert contract(tree) == set(y)
    return macs, merges


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_no_tree_of_all_is_cheaper(factors: int) -> None:
    trees = list(bracketings(tuple(range(factors + 1))))
    assert len(trees) == {1: 1, 2: 3, 3: 15}[factors]
    for of in random_operators(factors, 40, 6):
        for batch in (1, 2, 16, 1000):
            costs = [macs_of(tree, of, batch) for tree in trees]
            found = contraction_tree(of, batch)
            assert found.macs == min(macs for macs, _ in costs)
            # Of equally cheap trees one that merges nothing, and that is the reference plan.
            assert found.merges == all(merges for macs, merges in costs if macs == found.macs)
            if not found.merges:
                assert found.macs == batch * of.macs
                assert [pair.right.factor for pair in found.pairs if isinstance(pair.right, Leaf)] == [
                    step.factor for step in of.plan.steps
                ]


def run(tree: Leaf | Pair, of: Operator, operands: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Contract by numpy.einsum in the order of a tree; operand 0 is x."""
    if isinstance(tree, Leaf):
        return operands[0 if tree.factor is None else tree.factor + 1]
    left, right, out = (term(part, of) for part in (tree.left, tree.right, tree))
    return np.einsum(f"{left},{right}->{out}", run(tree.left, of, operands), run(tree.right, of, operands))


def term(part: Leaf | Pair, of: Operator) -> str:
    letter = of.einsum.structure.letters()
    return "Z" * part.has_x + "".join(letter[index] for index in part.kept)


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [1, 7])
def test_every_tree_computes_the_operator(factors: int, batch: int) -> None:
    generator = np.random.default_rng(0)
    for of in random_operators(factors, 40, 3):
        (terms, y), size = terms_of(of), size_of(of, batch)
        operands = [generator.standard_normal([size[letter] for letter in term]) for term in terms]
        tree = contraction_tree(of, batch).root
        assert term(tree, of) == y
        direct = np.einsum(f"{','.join(terms)}->{y}", *operands, optimize=True)
        np.testing.assert_allclose(run(tree, of, operands), direct, rtol=1e-9, atol=1e-9)


CHAIN = {
    Index(True, (0,), False): 2,
    Index(False, (0, 1), False): 16,
    Index(False, (1, 2), False): 2,
    Index(False, (2,), True): 16,
}
"""x -2- A -16- B -2- C -16- y: 3 * 32 MACs a vector; A B first: 64 once, then 4 + 32; all first: 128 once, then 32."""


@pytest.mark.parametrize(
    ("batch", "text", "once", "per_vector"),
    [
        (1, "((x A) B) C", 0, 96),
        (2, "(x (A B)) C", 64, 36),
        (16, "(x (A B)) C", 64, 36),  # 640, as much as merging all
        (17, "x ((A B) C)", 128, 32),
        (1000, "x ((A B) C)", 128, 32),
    ],
)
def test_with_more_vectors_more_is_merged(batch: int, text: str, once: int, per_vector: int) -> None:
    found = contraction_tree(operator_at(3, CHAIN), batch)
    assert (str(found), found.once, found.per_vector) == (text, once, per_vector)
    assert found.macs == once + batch * per_vector


def test_a_pair_knows_what_it_keeps() -> None:
    found = contraction_tree(operator_at(3, CHAIN), 2)
    merged, into_x, last = found.pairs
    assert found.root is last
    assert [(pair.macs, pair.has_x, [index.name for index in pair.kept]) for pair in (merged, into_x, last)] == [
        (64, False, ["x.A", "BC"]),
        (8, True, ["BC"]),
        (64, True, ["y.C"]),
    ]


def test_merging_pays_from_some_batch_on() -> None:
    assert merges_from(operator_at(3, CHAIN)) == 2
    # Low rank 42 of 64: 64 * 42 * 64 MACs once save 2 * 64 * 42 - 64 * 64 = 1,280 per vector.
    low_rank = operator(parse("low-rank(9/10)"), 64, 64)
    assert merges_from(low_rank) == 135
    assert [str(contraction_tree(low_rank, batch)) for batch in (134, 135)] == ["(x A) B", "x (A B)"]


def test_merging_may_pay_for_one_vector() -> None:
    """A and B are joined by much, and x brings an index past them: 2 * 16 * 2 MACs against 2 * (2 * 8 * 16)."""
    beside = {Index(True, (0,), False): 2, Index(False, (0, 1), False): 16, Index(False, (1,), True): 2}
    of = operator_at(3, beside | {Index(True, (2,), False): 8, Index(False, (2,), True): 8})
    found = contraction_tree(of, 1)
    assert (found.macs, found.once, merges_from(of)) == (64 + 32 + 128, 64, 1)
    assert "(A B)" in str(found)


@pytest.mark.parametrize(
    "text", ["dense", "btt", "btt(1/4)", "btt(factors=3)", "kronecker", "low-rank", "tensor-train"]
)
def test_operators_no_dearer_than_dense_are_never_merged(text: str) -> None:
    of = operator(parse(text), 64, 64)
    assert merges_from(of) is None
    for power in range(0, 24, 4):
        found = contraction_tree(of, 2**power)
        assert not found.merges
        assert found.macs_per_vector == of.macs


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_the_batch_from_which_merging_pays_is_exact(factors: int) -> None:
    some = 0
    for of in random_operators(factors, 60, 7):
        least = merges_from(of)
        if least is None:
            assert not contraction_tree(of, 10**9).merges
            continue
        some += 1
        assert all(contraction_tree(of, batch).merges for batch in (least, least + 1, 2 * least, 10**9))
        assert least == 1 or not contraction_tree(of, least - 1).merges
    assert some > 0 or factors == 1


def test_two_factors_merge_only_where_they_are_dearer_than_dense() -> None:
    for of in random_operators(2, 100, 9):
        dearer = of.macs > of.sizes.padded_in * of.sizes.padded_out
        assert (merges_from(of) is not None) == dearer


def test_padded_sizes_count() -> None:
    of = operator(parse("btt"), 97, 64)
    assert of.padded
    assert contraction_tree(of, 8).macs_per_vector == of.macs == 100 * 8 + 80 * 8


def test_many_factors() -> None:
    found = contraction_tree(operator(btt(factors=6), 64, 64), 8)
    assert str(found) == "(((((x A) B) C) D) E) F"
    cores = operator(tensor_train(Fraction(1, 8), 6), 4096, 4096)
    assert contraction_tree(cores, 8).macs <= 8 * cores.macs


def test_impossible_requests_say_what_to_do() -> None:
    of = operator(parse("btt"), 64, 64)
    with pytest.raises(EinsearchError, match="batch is 0; give the number of input vectors, 1 or more"):
        contraction_tree(of, 0)
    many = operator(btt(factors=MOST_FACTORS + 1), 2 ** (MOST_FACTORS + 1), 2 ** (MOST_FACTORS + 1))
    with pytest.raises(EinsearchError, match=f"at most {MOST_FACTORS} factors are analysed"):
        contraction_tree(many, 1)
