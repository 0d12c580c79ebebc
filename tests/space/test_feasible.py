"""Exponents that meet a condition, exactly; and where there are none, a mixed integer programme finds none either."""

import random
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from einsearch.errors import EinsearchError
from einsearch.space import feasible
from einsearch.space.constraint import Constraint
from einsearch.space.einsum import Einsum
from einsearch.space.enumeration import structures
from einsearch.space.feasible import NAMES, values_of, where, witness
from einsearch.space.parse import parse, parse_structure
from einsearch.space.structure import Structure, index_kinds
from einsearch.space.taxonomy import taxonomy

CHEAP_FULL_RANK = "omega == 0 and psi == 1 and nu < 1/2"


def condition(text: str) -> Constraint:
    return Constraint.parse(text, NAMES)


def check(structure: Structure, einsum: Einsum, text: str) -> None:
    """The point is exact, in the structure, and meets the condition."""
    assert einsum.structure == structure
    assert all(isinstance(value, Fraction) and 0 < value <= 1 for _, value in einsum.exponents)
    assert condition(text).holds(values_of(einsum))


def test_the_values_of_a_point() -> None:
    assert values_of(parse("kronecker")) == {"omega": Fraction(1, 2), "psi": 1, "nu": Fraction(1, 2), "indices": 4}


@pytest.mark.parametrize(
    "text",
    [
        "omega == 0 and psi == 1",
        "omega == 0 and psi == 1 and nu == 1/2",
        "omega > 0 and nu < 1/7",
        "omega == 1/7 and psi >= 3/5",
        "1/3 < psi < 0.34 or nu >= 9/10 and indices <= 4",
        "not (omega == 0 or nu > 0.51) and psi == 1",
        "omega + psi == 2 * nu",
        "omega != 0 and omega <= 1e-2",
    ],
)
def test_what_is_found_holds_exactly(text: str) -> None:
    every = list(structures(2))
    found = list(where(iter(every), condition(text)))
    assert 0 < len(found) < len(every)
    for structure, einsum in found:
        check(structure, einsum, text)


def test_two_factors_of_full_rank_without_sharing_cost_half_a_dense_one_at_least() -> None:
    assert list(where(structures(2), condition(CHEAP_FULL_RANK))) == []
    cheapest = [str(s) for s, _ in where(structures(2), condition("omega == 0 and psi == 1 and nu == 1/2"))]
    assert cheapest == ["ab,adf,bf->df", "ag,agd,ge->de", "ag,agf,gef->ef", "abg,agdf,bgf->df", "ag,agdf,gef->def"]


def test_three_factors_cost_less() -> None:
    structure = parse("btt(factors=3)").structure.canonical()
    einsum = witness(structure, condition(CHEAP_FULL_RANK))
    assert einsum is not None
    check(structure, einsum, CHEAP_FULL_RANK)
    third = witness(structure, condition("omega == 0 and psi == 1 and nu == 1/3"))
    assert third is not None
    assert taxonomy(third).nu == Fraction(1, 3)
    assert witness(structure, condition("omega == 0 and psi == 1 and nu < 1/3")) is None


def test_branching_finds_what_looking_at_round_exponents_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answers from the linear programmes alone."""
    rng = random.Random(1)
    sample = [*structures(2), *(random_structure(rng, 3) for _ in range(5))]
    for text in ("omega == 0 and psi == 1", "omega > 1/4 and psi < 1 or nu == 1/2", "psi == 1/3 and nu > omega"):
        expected = [witness(s, condition(text)) is not None for s in sample]
        monkeypatch.setattr(feasible, "_sampled", lambda *_: None)
        found = [witness(s, condition(text)) for s in sample]
        monkeypatch.undo()
        assert [einsum is not None for einsum in found] == expected
        for structure, einsum in zip(sample, found, strict=True):
            if einsum is not None:
                check(structure, einsum, text)


Row = dict[str, float]
Alternative = list[tuple[Row, str, float]]
"""Conditions that all hold: a sum over omega, psi and nu, a sign, a number."""

CONDITIONS: dict[str, list[Alternative]] = {
    CHEAP_FULL_RANK: [[({"omega": 1}, "==", 0), ({"psi": 1}, "==", 1), ({"nu": 1}, "<", 0.5)]],
    "omega == 0 and psi == 1": [[({"omega": 1}, "==", 0), ({"psi": 1}, "==", 1)]],
    "omega > 1/3 and psi == 1": [[({"omega": -1}, "<", -1 / 3), ({"psi": 1}, "==", 1)]],
    "omega >= 1/2 and nu <= 1/2 or psi < 1/4 and nu > 3/4": [
        [({"omega": -1}, "<=", -0.5), ({"nu": 1}, "<=", 0.5)],
        [({"psi": 1}, "<", 0.25), ({"nu": -1}, "<", -0.75)],
    ],
    "omega == 0 and psi + nu < 0.9": [[({"omega": 1}, "==", 0), ({"psi": 1, "nu": 1}, "<", 0.9)]],
}


class MixedInteger:
    """All of the taxonomy as one mixed integer programme, from its definition: minima and maxima by big M."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.big = 2.0 + sum(index.side == 2 for index in structure.indices)  # no sum is greater
        self.columns = [f"theta {n}" for n in range(len(structure.indices))] + ["t"]
        self.rows: list[tuple[Row, float, float]] = []
        for side in (0, 1):
            self.rows.append(({f"theta {n}": 1.0 for n, i in enumerate(structure.indices) if i.side == side}, 1, 1))
        self.rows += [({"t": 1.0, f"theta {n}": -1.0}, -np.inf, 0) for n in range(len(structure.indices))]
        factors = range(structure.factors)
        sets = [frozenset(f for f in factors if bits >> f & 1) for bits in range(1 << structure.factors)]
        self.extreme("N", [self.touching([f]) for f in factors], greatest=True)
        self.extreme("psi", [self.live(done) for done in sets], greatest=False)
        for order in permutations(factors):
            steps = [self.live(frozenset(order[:n])) | self.touching([f]) for n, f in enumerate(order)]
            self.extreme(f"order {order}", steps, greatest=True)
        self.extreme("F", [{f"order {order}": 1.0} for order in permutations(factors)], greatest=False)

    def touching(self, factors: list[int]) -> Row:
        return {f"theta {n}": 1.0 for n, i in enumerate(self.structure.indices) if set(factors) & set(i.factors)}

    def live(self, done: frozenset[int]) -> Row:
        """The indices that x or a factor done carries, and y or one that is not."""
        return {
            f"theta {n}": 1.0
            for n, i in enumerate(self.structure.indices)
            if (i.in_x or done & set(i.factors)) and (i.in_y or set(i.factors) - done)
        }

    def extreme(self, name: str, terms: list[Row], greatest: bool) -> None:
        """A variable that equals the greatest or the least of some sums: one binary says which."""
        sign = 1.0 if greatest else -1.0
        self.columns.append(name)
        binaries = [f"{name} is {n}" for n in range(len(terms))]
        self.columns += binaries
        self.rows.append((dict.fromkeys(binaries, 1.0), 1, 1))
        for term, binary in zip(terms, binaries, strict=True):
            above = {name: sign} | {column: -sign * value for column, value in term.items()}
            self.rows.append((above, 0, np.inf))
            self.rows.append((above | {binary: self.big}, -np.inf, self.big))

    def margin(self, alternative: Alternative) -> float:
        """The greatest least exponent, and slack of strict conditions, with which an alternative can hold."""
        rows = list(self.rows)
        for sums, sign, number in alternative:
            row: Row = {}
            constant = 0.0
            for name, c in sums.items():
                parts: Row = {"omega": {"F": 1.0, "N": -1.0}, "nu": {"F": 1.0}, "psi": {"psi": 1.0}}[name]
                row |= {column: row.get(column, 0.0) + c * value for column, value in parts.items()}
                constant -= c * (name == "nu")
            if sign == "<":
                row["t"] = 1.0
            rows.append((row, number - constant if sign == "==" else -np.inf, number - constant))
        matrix = np.zeros((len(rows), len(self.columns)))
        place = {column: n for n, column in enumerate(self.columns)}
        for r, (row, _, _) in enumerate(rows):
            for column, value in row.items():
                matrix[r, place[column]] = value
        free = [column.startswith("theta") or column == "t" or " is " in column for column in self.columns]
        result = milp(
            -np.array([float(column == "t") for column in self.columns]),
            integrality=[int(" is " in column) for column in self.columns],
            bounds=Bounds(np.zeros(len(self.columns)), np.where(free, 1.0, self.big)),
            constraints=LinearConstraint(matrix, [low for _, low, _ in rows], [high for _, _, high in rows]),
            options={"mip_rel_gap": 0.0},
        )
        return 0.0 if result.x is None else float(result.x[place["t"]])


def random_structure(rng: random.Random, factors: int) -> Structure:
    """An irreducible structure in canonical form."""
    kinds = index_kinds(factors)
    while True:
        chosen = rng.sample(kinds, rng.randint(3, 12))
        if {0, 1} <= {kind.side for kind in chosen}:
            structure = Structure.of(factors, chosen).canonical()
            if structure.reducible_because is None:
                return structure


def test_a_mixed_integer_programme_agrees() -> None:
    rng = random.Random(0)
    answers = set()
    for n in range(25):
        structure = random_structure(rng, 3)
        programme = MixedInteger(structure)
        text = list(CONDITIONS)[n % len(CONDITIONS)]
        einsum = witness(structure, condition(text))
        margin = max(map(programme.margin, CONDITIONS[text]))
        assert (einsum is not None) == (margin > 1e-4), (str(structure), text, margin)
        if einsum is not None:
            check(structure, einsum, text)
        answers.add((text, einsum is not None))
    assert len(answers) > len(CONDITIONS) + 1, "most conditions are met by some and not by others"


@pytest.mark.parametrize(
    "text", ["omega < 0", "psi > 1", "psi <= 0", "nu < 0", "indices == 3", "indices > 4", "1 > 2", "omega == 0"]
)
def test_what_no_exponents_meet(text: str) -> None:
    assert witness(parse_structure("kronecker"), condition(text)) is None
    assert witness(parse_structure("kronecker"), condition(f"not ({text})")) is not None


def test_exponents_of_zero_would_be_another_structure() -> None:
    """All of two factors become BTT where beta and delta are 0, but not before."""
    structure = parse_structure("abg,agdfr,bgefr->def")
    assert witness(structure, condition("omega == 0")) is None
    einsum = witness(structure, condition("omega < 1e-3"))
    assert einsum is not None
    assert min(value for _, value in einsum.exponents) > 0


def test_products_of_names_are_refused() -> None:
    with pytest.raises(EinsearchError) as error:
        witness(parse_structure("btt"), condition("omega * psi < -1"))
    assert str(error.value) == (
        "'omega * psi < -1', character 1: 'omega * psi' is not linear; multiply and divide by numbers only"
    )


def test_the_answer_is_always_the_same() -> None:
    for structure in list(structures(2))[::5]:
        first = witness(structure, condition("psi == 2/7 or nu == 1/3"))
        assert witness(structure, condition("psi == 2/7 or nu == 1/3")) == first


def test_a_structure_with_every_kind_of_index_of_four_factors_has_exponents_too() -> None:
    structure = Structure.of(4, index_kinds(4))
    found = witness(structure, Constraint.parse("nu <= 2 and psi == 1", NAMES))
    assert found is not None
    assert found.structure == structure


def test_what_fractions_do_not_confirm_is_not_passed_over() -> None:
    structure = parse_structure("ab,ad,b->d")
    assert witness(structure, Constraint.parse("nu == 0.125", NAMES)) == parse("ab,ad,b->d; a=1/8, b=7/8, d=1")
    with pytest.raises(EinsearchError) as error:
        witness(structure, Constraint.parse("nu == 0.123457", NAMES))
    assert str(error.value) == (
        "condition 'nu == 0.123457' on ab,ad,b->d: exponents near 0.123457, 0.876543, 1 meet it, but no fractions with "
        "denominators up to 5000 do; write it with simpler numbers"
    )
