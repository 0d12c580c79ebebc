"""The shipped list: every named family, some without a name, all cheap enough."""

from fractions import Fraction

from einsearch.bench.structures import STRUCTURES, WIDTHS
from einsearch.space.classify import Family, classify
from einsearch.space.families import NAMED
from einsearch.space.operator import operator
from einsearch.space.parse import parse
from einsearch.space.taxonomy import taxonomy


def test_every_named_family_is_among_them():
    named = {text.partition("(")[0] for text in STRUCTURES if text[0].isalpha()}
    assert set(NAMED) - {"dense"} <= named


def test_some_have_no_name_and_some_three_factors():
    assert sum(classify(parse(text)).family is Family.GENERIC for text in STRUCTURES) >= 5
    assert sum(parse(text).factors == 3 for text in STRUCTURES) >= 5


def test_all_are_irreducible_and_cost_at_most_three_quarters_of_the_exponent():
    identities = [operator(parse(text), WIDTHS[0], WIDTHS[0]).identity for text in STRUCTURES]
    assert len(set(identities)) == len(STRUCTURES)
    for text in STRUCTURES:
        assert parse(text).structure.reducible_because is None
        assert taxonomy(parse(text)).nu <= Fraction(3, 4)
