"""Conditions: read exactly, decided the same way one by one, for arrays and as cases; nothing else is read."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.constraint import Constraint, Linear

NAMES = ("omega", "psi", "nu", "indices")


def holds(text: str, **values: Fraction | int | str) -> bool:
    exact = {name: Fraction(value) for name, value in values.items()}
    return Constraint.parse(text, NAMES).holds(dict.fromkeys(NAMES, Fraction(0)) | exact)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("omega == 0", {}, True),
        ("omega != 0", {}, False),
        ("omega == 0 and psi == 1 and nu <= 1/2", {"psi": 1, "nu": "1/2"}, True),
        ("omega == 0 and psi == 1 and nu < 1/2", {"psi": 1, "nu": "1/2"}, False),
        ("omega == 1 or psi == 1 and nu == 1", {"omega": 1}, True),
        ("(omega == 1 or psi == 1) and nu == 1", {"omega": 1}, False),
        ("not omega == 1", {}, True),
        ("not (omega == 0 or psi == 1)", {}, False),
        ("not not omega == 0", {}, True),
        ("0 <= omega < 1/2 < psi", {"omega": "1/4", "psi": 1}, True),
        ("0 < omega < 1/2 < psi", {"omega": 0, "psi": 1}, False),
        ("0 < omega < 1/2 < psi", {"omega": "1/2", "psi": 1}, False),
        ("0 < omega < 1/2 < psi", {"omega": "1/4", "psi": "1/2"}, False),
        ("psi > nu >= omega", {"psi": 1}, True),
        ("1 == psi", {"psi": 1}, True),
        ("-omega + psi - 2*nu == +1", {"omega": "1/3", "psi": 2, "nu": "1/3"}, True),
        ("omega * psi == 1/9", {"omega": "1/3", "psi": "1/3"}, True),
        ("omega / psi < 1", {"omega": "1/3", "psi": "1/2"}, True),
        ("omega - psi - nu == 0", {"omega": 3, "psi": 2, "nu": 1}, True),
        ("omega / 2 / 2 == 1", {"omega": 4}, True),
        ("indices <= 8", {"indices": 8}, True),
        ("indices == 1_0", {"indices": 10}, True),
        ("omega == .5 and psi == 5. and nu == 25e-2", {"omega": "1/2", "psi": 5, "nu": "1/4"}, True),
        ("  omega\n ==\t0 ", {}, True),
        ("1 < 2", {}, True),
    ],
)
def test_what_conditions_mean(text: str, values: dict[str, str | int], expected: bool) -> None:
    assert holds(text, **values) is expected


def test_numbers_are_exact() -> None:
    third = Fraction(1, 3)
    assert holds("omega == 1/3", omega=third)
    assert not holds("omega == 0.33", omega=third)
    assert holds("omega > 0.3333333333333333", omega=third)
    assert holds("omega < 0.33333333333333333333333334", omega=third)
    assert holds("omega == 0.33", omega=Fraction(33, 100))
    assert holds("omega == 0.1 + 0.2", omega=Fraction(3, 10))
    assert holds("omega == 0.1 * 3", omega=Fraction(3, 10))


def test_names_and_text() -> None:
    condition = Constraint.parse("omega == 0  and not (psi <  nu)", NAMES)
    assert condition.names == {"omega", "psi", "nu"}
    assert str(condition) == "omega == 0 and not (psi < nu)"
    assert Constraint.parse("1 < 2", NAMES).names == frozenset()


values = st.integers(-20, 20).map(lambda n: Fraction(n, 10))
numbers = st.sampled_from(["0", "1", "2", "1/2", "0.3", "0.7", "1e-1", "1/3", "25e-2"])


def linear(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(numbers, inner).map(lambda t: f"{t[0]} * {t[1]}"),
        st.tuples(inner, st.sampled_from(["2", "0.5", "(1/3)", "-3"])).map(lambda t: f"({t[0]}) / {t[1]}"),
        inner.map(lambda text: f"-{text}"),
    )


sums = st.recursive(st.one_of(st.sampled_from(NAMES), numbers), linear, max_leaves=4)
signs = st.sampled_from(["<", "<=", "==", "!=", ">=", ">"])
comparisons = st.one_of(
    st.tuples(sums, signs, sums).map(" ".join), st.tuples(sums, signs, sums, signs, sums).map(" ".join)
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' and '.join(parts)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' or '.join(parts)})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=4,
)
points = st.lists(st.tuples(*[values] * len(NAMES)), min_size=1, max_size=8)


@settings(max_examples=120)
@given(conditions, points)
def test_arrays_are_decided_as_each_point_is(text: str, rows: list[tuple[Fraction, ...]]) -> None:
    condition = Constraint.parse(text, NAMES)
    expected = [condition.holds(dict(zip(NAMES, row, strict=True))) for row in rows]
    columns = [np.array([float(value) for value in column]) for column in zip(*rows, strict=True)]
    found = condition.holds_for(dict(zip(NAMES, columns, strict=True)))
    assert found.dtype == bool
    assert np.broadcast_to(found, len(rows)).tolist() == expected


def true_of(atom: Linear, point: dict[str, Fraction]) -> bool:
    total = atom.constant + sum(coefficient * point[name] for name, coefficient in atom.coefficients)
    return {"==": total == 0, "<=": total <= 0, "<": total < 0}[atom.sign]


@settings(max_examples=120)
@given(conditions, points)
def test_some_case_holds_where_the_condition_does(text: str, rows: list[tuple[Fraction, ...]]) -> None:
    condition = Constraint.parse(text, NAMES)
    cases = list(condition.cases())
    for row in rows:
        point = dict(zip(NAMES, row, strict=True))
        assert any(all(true_of(atom, point) for atom in case) for case in cases) == condition.holds(point)


def test_cases_of_a_condition() -> None:
    cases = Constraint.parse("omega == 0 and not 1/2 <= nu < psi + 1", NAMES).cases()
    sharing = Linear(Fraction(0), (("omega", Fraction(1)),), "==")
    assert list(cases) == [
        (sharing, Linear(Fraction(-1, 2), (("nu", Fraction(1)),), "<")),
        (sharing, Linear(Fraction(1), (("nu", Fraction(-1)), ("psi", Fraction(1))), "<=")),
    ]
    unequal = Constraint.parse("psi != 1", NAMES).cases()
    assert [atom for (atom,) in unequal] == [
        Linear(Fraction(-1), (("psi", Fraction(1)),), "<"),
        Linear(Fraction(1), (("psi", Fraction(-1)),), "<"),
    ]


def test_numbers_within_rounding_are_equal_in_arrays() -> None:
    tenths = {"omega": np.array([0.1, 0.3]), "psi": np.array([0.3, 0.9]), "nu": np.array([0.7, 0.1])}
    for text in ("omega * 3 == psi", "omega + 0.2 == 0.3 or nu + 0.2 == psi - 0.6", "not omega * 3 < psi"):
        assert Constraint.parse(text, NAMES).holds_for(tenths).all()
    almost = {"omega": np.array([1e-10, 1e-8])}
    assert Constraint.parse("omega == 0", NAMES).holds_for(almost).tolist() == [True, False]
    assert Constraint.parse("omega > 0", NAMES).holds_for(almost).tolist() == [False, True]


def test_a_name_that_is_zero_below_a_fraction() -> None:
    condition = Constraint.parse("omega / nu < 1", NAMES)
    with pytest.raises(EinsearchError) as error:
        condition.holds({"omega": Fraction(0), "nu": Fraction(0)})
    assert str(error.value) == "'omega / nu < 1', character 1: 'omega / nu' divides by zero"
    assert condition.holds_for({"omega": np.array([0.0, 1.0, 0.2]), "nu": np.array([0.0, 0.0, 0.4])}).tolist() == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "text", ["omega * psi < 1", "psi < omega / nu", "1 / psi == 1", "not (psi > 0 or 2 < psi*psi)"]
)
def test_what_is_not_linear_has_no_cases(text: str) -> None:
    condition = Constraint.parse(text, NAMES)
    part = re.search(r"\w+ ?[*/] ?\w+", text)
    assert part is not None
    with pytest.raises(EinsearchError) as error:
        list(condition.cases())
    assert str(error.value) == (
        f"{text!r}, character {part.start() + 1}: {part[0]!r} is not linear; multiply and divide by numbers only"
    )


def refused(text: str) -> str:
    with pytest.raises(EinsearchError) as error:
        Constraint.parse(text, NAMES)
    message = str(error.value)
    assert "\n" not in message
    return message


NO_NUMBER = "is no number; write decimals, names and + - * /"
KNOWN = "is not known here; known: omega, psi, nu, indices"
NO_COMPARISON = "is no condition; compare, as omega == 0"
OTHER_SIGN = "compares with something else than < <= == != >= >; use one of these"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "omega = 0",
        "omega ==",
        "omega == 0; psi == 1",
        "omega == 0 && psi == 1",
        "omega == 0and psi == 1",
        "omega == 0 psi",
        "import os",
        "omega == 0 \x00",
    ],
)
def test_what_python_cannot_read_is_refused_with_the_place_that_python_names(text: str) -> None:
    shown = " ".join(text.split())
    message = refused(text)
    assert message.startswith(f"{shown!r}, character ")
    place, _, rest = message.removeprefix(f"{shown!r}, character ").partition(": ")
    assert 1 <= int(place) <= len(shown) + 1
    assert rest == "not a condition; write one as omega == 0 and nu <= 1/2"


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("omega", 1, f"'omega' {NO_COMPARISON}"),
        ("psi == 1 and omega", 14, f"'omega' {NO_COMPARISON}"),
        ("not 1", 5, f"'1' {NO_COMPARISON}"),
        ("omega + (psi == 1)", 1, f"'omega + (psi == 1)' {NO_COMPARISON}"),
        ("True", 1, f"'True' {NO_COMPARISON}"),
        ("(omega == 0) == 1", 2, f"'omega == 0' {NO_NUMBER}"),
        ("omega == 0 if psi == 1 else nu == 1", 1, f"'omega == 0 if psi == 1 else nu == 1' {NO_COMPARISON}"),
        ("omega in (0, 1)", 1, f"'omega in (0, 1)' {OTHER_SIGN}"),
        ("omega is 0", 1, f"'omega is 0' {OTHER_SIGN}"),
        ("omega is not psi", 1, f"'omega is not psi' {OTHER_SIGN}"),
        ("psi == 1 and rank == 1", 14, f"'rank' {KNOWN}"),
        ("ω == 0", 1, f"'ω' {KNOWN}"),
        ("__import__ == 0", 1, f"'__import__' {KNOWN}"),
        ("__builtins__ < 1", 1, f"'__builtins__' {KNOWN}"),
        ("omega == True", 10, f"'True' {NO_NUMBER}"),
        ("omega == None", 10, f"'None' {NO_NUMBER}"),
        ("omega == 'a'", 10, f"\"'a'\" {NO_NUMBER}"),
        ("omega == b'a'", 10, f"\"b'a'\" {NO_NUMBER}"),
        ("omega == f'{psi}'", 10, f"\"f'{{psi}}'\" {NO_NUMBER}"),
        ("omega == 1j", 10, f"'1j' {NO_NUMBER}"),
        ("omega == 0x10", 10, f"'0x10' {NO_NUMBER}"),
        ("omega == 1e999", 10, f"'1e999' {NO_NUMBER}"),
        ("omega == 1e-999999999", 10, f"'1e-999999999' {NO_NUMBER}"),
        ("omega == ...", 10, f"'...' {NO_NUMBER}"),
        ("omega ** 2 == 0", 1, f"'omega ** 2' {NO_NUMBER}"),
        ("9 ** 9 ** 9 == omega", 1, f"'9 ** 9 ** 9' {NO_NUMBER}"),
        ("omega // 2 == 0", 1, f"'omega // 2' {NO_NUMBER}"),
        ("omega % 2 == 0", 1, f"'omega % 2' {NO_NUMBER}"),
        ("1 << 2 < omega", 1, f"'1 << 2' {NO_NUMBER}"),
        ("~omega == 0", 1, f"'~omega' {NO_NUMBER}"),
        ("omega @ psi == 0", 1, f"'omega @ psi' {NO_NUMBER}"),
        ("not omega", 5, f"'omega' {NO_COMPARISON}"),
        ("omega < (not psi)", 10, f"'not psi' {NO_NUMBER}"),
        ("omega == (psi and nu)", 11, f"'psi and nu' {NO_NUMBER}"),
        ("omega < 1/0", 9, "'1/0' divides by zero; divide by something else"),
        ("omega / (1 - 1) < 1", 1, "'omega / (1 - 1)' divides by zero; divide by something else"),
        # Nothing is called, looked up or stored
        ("min(omega, psi) == 0", 1, f"'min(omega, psi)' {NO_NUMBER}"),
        ("exit()", 1, f"'exit()' {NO_COMPARISON}"),
        ("__import__('os').system('false') == 0", 1, f"\"__import__('os').system('false')\" {NO_NUMBER}"),
        ("omega.real == 0", 1, f"'omega.real' {NO_NUMBER}"),
        ("omega.__class__ == 0", 1, f"'omega.__class__' {NO_NUMBER}"),
        ("omega[0] == 0", 1, f"'omega[0]' {NO_NUMBER}"),
        ("(lambda: 0)() == 0", 1, f"'(lambda: 0)()' {NO_NUMBER}"),
        ("lambda: omega == 0", 1, f"'lambda: omega == 0' {NO_COMPARISON}"),
        ("(omega := 1) == 0", 2, f"'omega := 1' {NO_NUMBER}"),
        ("[psi for psi in (1,)] == omega", 1, f"'[psi for psi in (1,)]' {NO_NUMBER}"),
        ("{omega} == psi", 1, f"'{{omega}}' {NO_NUMBER}"),
        ("(yield) == 0", 2, f"'yield' {NO_NUMBER}"),
        ("omega == 0, psi == 1", 1, f"'omega == 0, psi == 1' {NO_COMPARISON}"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text: str, place: int, problem: str) -> None:
    assert refused(text) == f"{' '.join(text.split())!r}, character {place}: {problem}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 150 + "omega" + ")" * 150 + " == 0", None),
        ("-" * 99 + "omega == 0", None),
        (" and ".join(["omega == 0"] * 60), None),
        ("-" * 101 + "omega == 0", f"'{'-' * 40}'..., character 101: nested more than 100 deep; write it shorter"),
        (
            "not " * 101 + "omega == 0",
            f"'{'not ' * 10}'..., character 405: nested more than 100 deep; write it shorter",
        ),
        (
            "+".join(["psi"] * 150) + "==0",
            f"'{('psi+' * 10)}'..., character 1: nested more than 100 deep; write it sho",
        ),
        ("(" * 300 + "omega" + ")" * 300 + " == 0", ": not a condition; write one as omega == 0 and nu <= 1/2"),
        (
            "omega == 0 and " * 5000 + "psi == 1",
            "a condition of 75,008 characters: 'omega == 0 and omega == 0 and omega ",
        ),
        ("-" * 100_000 + "omega == 0", f"a condition of 100,010 characters: '{'-' * 40}'...; write at most 1,000"),
        ("omega == " + "3" * 500, f"'{'3' * 500}' {NO_NUMBER}"),
        (
            "omega == 0." + "3" * 10_000,
            "a condition of 10,011 characters: 'omega == 0.33333333333333333333333333333'...",
        ),
    ],
)
def test_long_and_deep_conditions(text: str, message: str | None) -> None:
    if message is None:
        assert Constraint.parse(text, NAMES).holds(dict.fromkeys(NAMES, Fraction(0)))
    else:
        assert message in refused(text)
