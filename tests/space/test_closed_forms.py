"""Closed forms, as masks and as printed, against the taxonomy at random exact exponents."""

import ast
import random
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.space.closed_forms import ClosedForms, bits, closed_forms
from einsearch.space.einsum import Einsum
from einsearch.space.enumeration import structures
from einsearch.space.parse import parse, parse_structure
from einsearch.space.structure import Structure, index_kinds
from einsearch.space.taxonomy import taxonomy, taxonomy_arrays

NAMES = ("N", "F", "omega", "psi", "nu")


def taxonomy_of(einsum: Einsum) -> dict[str, Fraction]:
    found = taxonomy(einsum)
    return dict(zip(NAMES, (found.parameters, found.macs, found.omega, found.psi, found.nu), strict=True))


def from_masks(forms: ClosedForms, einsum: Einsum) -> dict[str, Fraction]:
    """The forms as their docstring defines them."""
    values = [value for _, value in einsum.exponents]

    def total(mask: int) -> Fraction:
        return sum((values[n] for n in bits(mask)), Fraction(0))

    everything = sum(values, Fraction(0))
    n = everything - min(map(total, forms.lacks))
    f = everything - max(min(map(total, order)) for order in forms.untouched)
    return {"N": n, "F": f, "omega": f - n, "psi": min(map(total, forms.cuts)), "nu": f - 1}


def from_text(text: str, values: dict[str, Fraction]) -> Fraction:
    """The value of a printed form: sums and differences of integers, letters, min and max, and nothing else."""

    def value(node: ast.expr) -> Fraction:
        match node:
            case ast.Constant(value=int(number)):
                return Fraction(number)
            case ast.Name(id=letter):
                return values[letter]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return value(left) - value(right)
            case ast.Call(func=ast.Name(id="min" | "max" as name), args=arguments, keywords=[]):
                return (min if name == "min" else max)([value(argument) for argument in arguments])
        raise AssertionError(f"{ast.dump(node)} in {text!r}")

    return value(ast.parse(text, mode="eval").body)


def check(einsum: Einsum) -> None:
    expected = taxonomy_of(einsum)
    forms = closed_forms(einsum.structure)
    assert from_masks(forms, einsum) == expected
    letter = einsum.structure.letters()
    values = {letter[index]: value for index, value in einsum.exponents}
    assert {name: from_text(text, values) for name, text in forms.texts().items()} == expected


@settings(max_examples=150)
@given(...)
def test_forms_are_the_taxonomy_at_any_exponents(einsum: Einsum) -> None:
    check(einsum)


@settings(max_examples=80)
@given(structure=..., data=st.data())
def test_forms_of_many_indices(structure: Structure, data: st.DataObject) -> None:
    weight, inner = st.integers(1, 9), st.integers(1, 16).map(lambda n: Fraction(n, 7))
    sides = [[i for i in structure.indices if i.side == side] for side in range(3)]
    exponents = {index: data.draw(inner) for index in sides[2]}
    for side in sides[:2]:
        weights = [data.draw(weight) for _ in side]
        exponents |= {i: Fraction(w, sum(weights)) for i, w in zip(side, weights, strict=True)}
    check(Einsum.of(structure.factors, exponents))


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_forms_of_all_kinds_of_index_together(factors: int) -> None:
    rng = np.random.default_rng(factors)
    kinds = index_kinds(factors)
    for _ in range(3):
        weights = [Fraction(int(n)) for n in rng.integers(1, 30, len(kinds))]
        exponents = {}
        for side in range(3):
            own = [n for n, kind in enumerate(kinds) if kind.side == side]
            total = sum(weights[n] for n in own) if side < 2 else Fraction(40)
            exponents |= {kinds[n]: weights[n] / total for n in own}
        check(Einsum.of(factors, exponents))


def test_the_check_can_fail() -> None:
    einsum = parse("(0.9|0|0.1|0|0.9|0.1|0.1)")
    forms = closed_forms(einsum.structure)
    assert from_masks(forms, einsum)["psi"] == Fraction(3, 10)
    assert from_masks(replace(forms, cuts=forms.cuts[:1]), einsum) != taxonomy_of(einsum)
    assert from_text("min(a, 1) - b", {"a": Fraction(2), "b": Fraction(3)}) == -2
    with pytest.raises(AssertionError):
        from_text("print(1)", {})


@settings(max_examples=200)
@given(weights=st.lists(st.integers(0, 6), min_size=7, max_size=7))
def test_two_factors_are_as_the_paper_says(weights: list[int]) -> None:
    """With A contracted first, or B where that is cheaper; sizes of 1, exponents of 0, included."""
    for side in (slice(0, 3), slice(3, 6)):
        if not any(weights[side]):
            weights[side.start] = 1
    totals = [sum(weights[:3])] * 3 + [sum(weights[3:6])] * 3 + [5]
    theta = [Fraction(w, t) for w, t in zip(weights, totals, strict=True)]
    einsum = Einsum.of(2, dict(zip(index_kinds(2), theta, strict=True)))
    alpha, beta, gamma, delta, epsilon, phi, rho = theta
    assert gamma == 1 - alpha - beta
    assert phi == 1 - delta - epsilon
    if min(alpha, epsilon) < min(beta, delta):
        alpha, beta, delta, epsilon = beta, alpha, epsilon, delta
    paper = {
        "omega": min(alpha + delta, beta + epsilon) - min(alpha, epsilon),
        "psi": 1 + min(0, 1 + rho - alpha - epsilon),
        "nu": 1 + rho - min(alpha, epsilon),
    }
    found = from_masks(closed_forms(einsum.structure), einsum)
    assert {name: found[name] for name in paper} == paper


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "abg,agdfr,bgefr->def",
            {
                "N": "2 + r - min(a + d, b + e)",
                "F": "2 + r - max(min(a, e), min(b, d))",
                "omega": "min(a + d, b + e) - max(min(a, e), min(b, d))",
                "psi": "min(1, b + g + d + f + r, a + g + e + f + r)",
                "nu": "1 + r - max(min(a, e), min(b, d))",
            },
        ),
        (
            "btt(1/4)",
            {
                "N": "2 + r - min(a, e)",
                "F": "2 + r - min(a, e)",
                "omega": "0",
                "psi": "min(1, g + f + r)",
                "nu": "1 + r - min(a, e)",
            },
        ),
        (
            "kronecker",
            {
                "N": "2 - min(a + d, b + e)",
                "F": "2 - max(min(a, e), min(b, d))",
                "omega": "min(a + d, b + e) - max(min(a, e), min(b, d))",
                "psi": "min(b + d, a + e)",
                "nu": "1 - max(min(a, e), min(b, d))",
            },
        ),
        ("low-rank", {"N": "1 + r", "F": "1 + r", "omega": "0", "psi": "min(1, r)", "nu": "r"}),
        ("dense", {"N": "2", "F": "2", "omega": "0", "psi": "1", "nu": "1"}),
        (
            "monarch(factors=3)",
            {
                "N": "2 - min(a + b, a + d, d + e)",
                "F": "2 - min(a + b, a + d, d + e)",
                "omega": "0",
                "psi": "min(1, b + c + f, c + e + f)",
                "nu": "1 - min(a + b, a + d, d + e)",
            },
        ),
    ],
)
def test_what_is_printed(text: str, expected: dict[str, str]) -> None:
    assert closed_forms(parse_structure(text)).texts() == expected


def test_letters_may_be_chosen() -> None:
    structure = parse_structure("btt")
    letters = dict(zip(structure.indices, "αγεφ", strict=True))
    assert closed_forms(structure).texts(letters)["nu"] == "1 - min(α, ε)"


def random_structure(rng: random.Random) -> Structure:
    """An irreducible structure of three factors in canonical form."""
    kinds = index_kinds(3)
    while True:
        chosen = rng.sample(kinds, rng.randint(3, 12))
        if {0, 1} <= {kind.side for kind in chosen}:
            structure = Structure.of(3, chosen).canonical()
            if structure.reducible_because is None:
                return structure


def points(structure: Structure, count: int, seed: int) -> npt.NDArray[np.float64]:
    """Random exponents of at least 0.01, inner ones above 1 included."""
    rng = np.random.default_rng(seed)
    theta = np.zeros((count, len(structure.indices)))
    for side in range(3):
        own = [n for n, index in enumerate(structure.indices) if index.side == side]
        if side < 2:
            theta[:, own] = 0.9 * rng.dirichlet(np.full(len(own), 0.7), count) + 0.1 / len(own)
        else:
            theta[:, own] = 0.01 + rng.random((count, len(own))) * rng.choice([0.3, 1.0, 3.0], (count, 1))
    return theta


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_never_and_always_sharing_are_so_at_random_points(factors: int) -> None:
    """Also that nothing else never shares; always_shares is a plain case of it only."""
    rng = random.Random(factors)
    every = structures(factors) if factors < 3 else (random_structure(rng) for _ in range(200))
    seen = set()
    for n, structure in enumerate(every):
        forms = closed_forms(structure)
        omega = taxonomy_arrays(structure, points(structure, 400, n)).omega
        assert forms.never_shares == bool(omega.max() < 1e-9), structure
        assert not forms.always_shares or omega.min() > 1e-9, structure
        assert not (forms.never_shares and forms.always_shares)
        seen.add((forms.never_shares, forms.always_shares))
    assert len(seen) == (1 if factors == 1 else 3)


def test_sharing_of_families() -> None:
    never = ("dense", "btt", "btt(1/4)", "low-rank", "btt(1/8, factors=4)", "low-rank(factors=4)")
    for text in never:
        assert closed_forms(parse_structure(text)).never_shares
    for text in ("kronecker", "tensor-train", "kronecker(factors=3)"):
        forms = closed_forms(parse_structure(text))
        assert (forms.never_shares, forms.always_shares) == (False, True)


def test_every_term_of_a_form_decides_somewhere() -> None:
    structure = parse_structure("abg,agdfr,bgefr->def")
    forms = closed_forms(structure)
    theta = points(structure, 4000, 0)
    for masks in (forms.lacks, forms.cuts, *forms.untouched):
        sums = np.array([reduce(add, (theta[:, n] for n in bits(mask)), np.zeros(len(theta))) for mask in masks])
        for n in range(len(masks)):
            assert (sums[n] < np.delete(sums, n, axis=0).min(axis=0) - 1e-9).any()
