"""Numbers, theta and einsum strings: read exactly, refused with the place, the problem and the fix."""

import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.notation import at, from_theta, parse_equation, parse_number, parse_theta
from einsearch.space.parse import parse
from einsearch.space.structure import GREEK, Index, Structure


@pytest.mark.parametrize(
    ("text", "value"), [("0.5", "1/2"), (".33", "33/100"), (" 1/3 ", "1/3"), ("1", "1"), ("1e-2", "1/100"), ("0", "0")]
)
def test_a_number_is_exact(text: str, value: str) -> None:
    assert parse_number(text, "alpha") == Fraction(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nan", "is not finite: nan; write a decimal or a fraction"),
        ("-inf", "is not finite: -inf; write a decimal or a fraction"),
        ("1e999", "is not finite: 1e999; write a decimal or a fraction"),
        ("half", "is not a number: half; write a decimal or a fraction"),
        ("", "is not a number: nothing; write a decimal or a fraction"),
        (" ", "is not a number: nothing; write a decimal or a fraction"),
        ("1/0", "is not a number: 1/0; write a decimal or a fraction"),
        ("1/2/3", "is not a number: 1/2/3; write a decimal or a fraction"),
        (" -1/2", "is negative: -1/2; exponents lie between 0 and 1"),
    ],
)
def test_what_is_no_exponent_is_refused(text: str, problem: str) -> None:
    with pytest.raises(EinsearchError) as error:
        parse_number(text, "rho")
    assert str(error.value) == f"exponent rho {problem}"


@pytest.mark.parametrize(
    ("text", "theta"),
    [
        ("(0.5|0|0.5|0|0.5|0.5|0)", "1/2 0 1/2 0 1/2 1/2 0"),
        ("(.33|0|.67|0|.67|.33|0)", "33/100 0 67/100 0 67/100 33/100 0"),
        ("1/3|0|2/3|0|2/3|1/3|1/4", "1/3 0 2/3 0 2/3 1/3 1/4"),
        (" ( 1 | 0 | 0 | 0 | 1 | 0 | .75 ) ", "1 0 0 0 1 0 3/4"),
        # Rounding within 1e-6: the greatest exponent of the side takes the difference.
        (".3333333|0|.6666666|0|.6666667|.3333333|0", ".3333333 0 .6666667 0 .6666667 .3333333 0"),
    ],
)
def test_theta_is_exact(text: str, theta: str) -> None:
    expected = [Fraction(value) for value in theta.split()]
    assert list(parse_theta(text).theta) == expected
    assert sum(parse_theta(text).theta[:3]) == sum(parse_theta(text).theta[3:6]) == 1


def test_floats_are_read_as_they_print() -> None:
    assert from_theta(0.33, 0.0, 0.67, 0.0, 0.67, 0.33, 0.1).theta[0] == Fraction(33, 100)
    thirds = from_theta(1 / 3, 0, 2 / 3, 0, 2 / 3, 1 / 3, 0)
    assert sum(thirds.theta[:3]) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "(.5|0|.4|0|.5|.5|0)",
            "exponents of x sum to 0.9, not 1: (0.5, 0.4); raise or lower alpha, beta or gamma",
        ),
        (
            "(.5|0|.5|0|.5|.6|0)",
            "exponents of y sum to 1.1, not 1: (0.5, 0.6); raise or lower delta, epsilon or phi",
        ),
        ("(1.5|-.5|0|0|.5|.5|0)", "exponent beta is negative: -.5; exponents lie between 0 and 1"),
        ("(.5|0|.5|0|.5|.5|inf)", "exponent rho is not finite: inf; write a decimal or a fraction"),
        ("(.5||.5|0|.5|.5|0)", "exponent beta is not a number: nothing; write a decimal or a fraction"),
        (
            "(.5|0|.5|0|.5|.5)",
            "theta has 6 exponents, not 7: (.5|0|.5|0|.5|.5); write (alpha|beta|gamma|delta|epsilon|phi|rho)",
        ),
    ],
)
def test_what_is_no_theta_is_refused_with_value_rule_and_fix(text: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        parse_theta(text)
    assert str(error.value) == message


@pytest.mark.parametrize("position", range(7))
def test_a_bad_exponent_of_theta_is_named(position: int) -> None:
    parts = ["0"] * 7
    parts[position] = "x"
    with pytest.raises(EinsearchError, match=f"^exponent {GREEK[position]} is not a number: x; "):
        parse_theta("|".join(parts))


def test_the_wrong_count_of_numbers_is_refused() -> None:
    with pytest.raises(EinsearchError) as error:
        from_theta(1, 1)
    assert str(error.value) == ("theta has 2 exponents, not 7; give alpha, beta, gamma, delta, epsilon, phi, rho")


def test_an_equation_is_a_structure_with_letters_and_values() -> None:
    found = parse_equation("ag, ag f ,gef->ef; a=1/2, g=.5,")
    a, g = Index(True, (0,), False), Index(True, (0, 1), False)
    e, f = Index(False, (1,), True), Index(False, (0, 1), True)
    assert found.structure == Structure.of(2, (a, g, e, f))
    assert found.kinds == {"a": a, "g": g, "f": f, "e": e}
    assert found.values == {"a": Fraction(1, 2), "g": Fraction(1, 2)}
    assert parse_equation("ag,agf,gef->ef").values == {}


def test_letters_are_free_and_capitals_differ() -> None:
    assert parse_equation("a,aA->A; A=1, a=1").einsum() == parse("dense")
    assert parse_equation("X,XY->Y;X=1,Y=1").einsum() == parse("dense")


def test_two_letters_on_the_same_vertices_are_one_index() -> None:
    found = parse_equation("pq,pq r,re->e; p=1/2, q=1/2, r=1/4, e=1")
    assert found.kinds["p"] == found.kinds["q"]
    assert found.einsum() == parse("low-rank(1/4)")


def test_an_empty_factor_is_read_though_it_is_reducible() -> None:
    found = parse_equation("a,,ab,->b").structure
    assert found.factors == 3
    assert found.reducible_because == "factor A carries no index"


FORM = "write x,factor,...->y"
LETTERS = "write x,factor,...->y, as ag,agf,gef->ef"
BOTH = "an index may touch x or y, never both: give y a letter of its own"

SYNTAX = {
    # [ ] marks the place; an empty one is a place where something is missing.
    "ag,agf,gef[]": ("no -> in an einsum string", FORM),
    "[]; a=1": ("no -> in an einsum string", FORM),
    "a,ab-b[]; a=1": ("no -> in an einsum string", FORM),
    "a,ab->b[->]c": ("a second ->", FORM),
    "[]->a": ("einsum has no factor", FORM),
    "[a]->a; a=1": ("einsum has no factor", FORM),
    "a,a[1]->b; a=1, b=1": ("an operand is made of letters", LETTERS),
    "a,ab[*]c->b": ("an operand is made of letters", LETTERS),
    "a,a[ä]->b": ("an operand is made of letters", LETTERS),
    "a,ab->[(]b)": ("an operand is made of letters", LETTERS),
    "a,ab[>]-b->c": ("an operand is made of letters", LETTERS),
    "a[a],ab->b": ("index 'a' is repeated in one operand", "give it once"),
    "a,ab[a]->b": ("index 'a' is repeated in one operand", "give it once"),
    "a, ab, b c [b]->c": ("index 'b' is repeated in one operand", "give it once"),
    "a,ab->b[b]; b=1": ("index 'b' is repeated in one operand", "give it once"),
    "a,ab,[ab]->b": ("factor 2 repeats factor 1", "two factors on the same indices are one"),
    "a,ac,ab,c,[b a]->b": ("factor 4 repeats factor 2", "two factors on the same indices are one"),
    "[a],a->a; a=1": ("index 'a' joins x and y", BOTH),
    "b[a],ab->a": ("index 'a' joins x and y", BOTH),
    "[a],b->b": ("index 'a' touches one vertex only", "give it to a factor too"),
    "a,ab->b[c]": ("index 'c' touches one vertex only", "give it to a factor too"),
    "a,ab[c]->b; a=1, b=1, c=1": ("index 'c' touches one vertex only", "give it to a factor, x or y besides"),
    "a,ab,b[c]->b": ("index 'c' touches one vertex only", "give it to a factor, x or y besides"),
    "[],a->a": ("x carries no index", "give x an index that a factor carries too"),
    "a,a->[]; a=1": ("y carries no index", "give y an index that a factor carries too"),
    "a,ab->b; a=1, [b]": ("no exponent", "write letter=number, as a=1/2"),
    "a,ab->b; [a 1] , b=1": ("no exponent", "write letter=number, as a=1/2"),
    "a,ab->b; [ab=1]": ("no exponent", "write letter=number, as a=1/2"),
    "a,ab->b; a=1, [=1]": ("no exponent", "write letter=number, as a=1/2"),
    "a,ab->b; [1=a]": ("no exponent", "write letter=number, as a=1/2"),
    "a,ab->b; a=1, [a=1], b=1": ("exponent of 'a' is given twice", "give it once"),
    "a,ab->b; a=1, b=1, [c=1]": ("'c' is no index of the operands", "name one of a, b"),
}


@pytest.mark.parametrize("marked", SYNTAX)
def test_a_syntax_error_names_place_problem_and_fix(marked: str) -> None:
    before, place, after = re.split(r"[\[\]]", marked)
    problem, fix = SYNTAX[marked]
    text = before + place + after
    with pytest.raises(EinsearchError) as error:
        parse_equation(text)
    shown = repr(place) if place else "here"
    assert str(error.value) == f"{text!r}, character {len(before) + 1} ({shown}): {problem}; {fix}"


@pytest.mark.parametrize(
    ("marked", "problem"),
    [
        ("a,ab->b; [a=x], b=1", "exponent a is not a number: x; write a decimal or a fraction"),
        ("a,ab->b; a=1, [b=]", "exponent b is not a number: nothing; write a decimal or a fraction"),
        ("a,ab->b; a=1,  [b=1=1]", "exponent b is not a number: 1=1; write a decimal or a fraction"),
        ("a,ab->b; [a=1; b=1]", "exponent a is not a number: 1; b=1; write a decimal or a fraction"),
        ("a,ab->b; [a=-1], b=1", "exponent a is negative: -1; exponents lie between 0 and 1"),
        ("a,ab->b; a=1, [b = inf]", "exponent b is not finite: inf; write a decimal or a fraction"),
    ],
)
def test_a_bad_number_names_its_place(marked: str, problem: str) -> None:
    before, place, after = re.split(r"[\[\]]", marked)
    text = before + place + after
    with pytest.raises(EinsearchError) as error:
        parse_equation(text)
    assert str(error.value) == f"{text!r}, character {len(before) + 1}: {problem}"


@pytest.mark.parametrize(
    ("marked", "letter", "mend"),
    [
        # The one that is missing on its side is what completes the sum.
        ("a,a[b]->b; a=1", "b", "b=1"),
        ("a[g],agf,gef->ef; a=.4, e=1/2, f=1/2", "g", "g=0.6"),
        ("[a]g,agf,gef->ef; g=2/3, e=1/2, f=1/2", "a", "a=1/3"),
        # Several are missing, the sum is full, or the index is of neither side: nothing to complete.
        ("[a]g,agf,gef->ef; e=1/2, f=1/2", "a", "a=..."),
        ("a[g],agf,gef->ef; a=1, e=1/2, f=1/2", "g", "g=..."),
        ("a,a[r],re->e; a=1, e=1", "r", "r=..."),
        # Letters on the same vertices count together.
        ("p[q],pqr,re->e; p=1/4, r=1/4, e=1", "q", "q=0.75"),
        ("[a],ab->b", "a", "a=1"),
    ],
)
def test_a_letter_without_exponent_names_its_place_and_what_is_left(marked: str, letter: str, mend: str) -> None:
    before, place, after = re.split(r"[\[\]]", marked)
    text = before + place + after
    assert place == letter
    with pytest.raises(EinsearchError) as error:
        parse_equation(text).einsum()
    assert str(error.value) == (
        f"{text!r}, character {len(before) + 1} ({letter!r}): no exponent for index {letter!r}; "
        f"add `{mend}` behind the semicolon"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,ab->b; a=1/2, b=1", "exponents of x sum to 0.5, not 1: a=0.5 in 'a,ab->b; a=1/2, b=1'; raise a"),
        (
            "ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=3/4",
            "exponents of y sum to 1.25, not 1: f=0.75, e=0.5 in 'ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=3/4'; "
            "lower f or e",
        ),
    ],
)
def test_sums_that_are_not_one_name_the_letters(text: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        parse_equation(text).einsum()
    assert str(error.value) == message


def test_the_place_of_an_error_may_be_empty() -> None:
    assert str(at("ab c", 1, 2, "wrong", "mend it")) == "'ab c', character 2 ('b'): wrong; mend it"
    assert str(at("ab c", 2, 3, "wrong", "mend it")) == "'ab c', character 3 (here): wrong; mend it"
    assert str(at("ab c", 4, 4, "wrong", "mend it")) == "'ab c', character 5 (here): wrong; mend it"


PIECES = st.lists(
    st.sampled_from(["a", "b", "ab", ",", "->", ";", "=", "1", "1/2", " ", "-", "c", "1e999"]), max_size=16
)


@given(PIECES.map("".join))
@example("a,ab->b; a=1, b=1")
def test_any_text_is_read_or_refused_at_its_place(text: str) -> None:
    message = None
    try:
        parse_equation(text).einsum()
    except EinsearchError as error:
        message = str(error)
    if message is not None:
        assert message.startswith((f"{text!r}, character ", "exponents of "))
        place = re.search(r", character (\d+) \('(.+?)'\): ", message)
        assert place is None or text[int(place[1]) - 1 :].startswith(place[2])
