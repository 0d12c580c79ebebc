"""What is measured, on which activations, and what is refused before anything runs."""

import pytest
import torch

from einsearch.bench.cases import DENSE, LINEAR, Case, Way, cases, chosen_implementations, ways
from einsearch.bench.place import Place
from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS

CPU = Place(device=torch.device("cpu"), dtype=torch.float32)


def test_every_implementation_runs_where_it_is_made_for_and_on_rows():
    found = ways(IMPLEMENTATIONS)
    for name, implementation in IMPLEMENTATIONS.items():
        own = [(way.activations, way.transposed) for way in found if way.implementation == name]
        assert ("row-major", implementation.row_major is None) in own
        assert (("feature-major", False) in own) == (implementation.feature_major is not None)
    assert not {LINEAR, DENSE} & set(found)


def test_ways_of_the_known_ones():
    assert [str(way) for way in ways(["reference", "feature-major", "merged"])] == [
        "reference, row-major",
        "feature-major, feature-major",
        "feature-major, row-major, transposed before and after",
        "merged, row-major",
        "merged, feature-major",
    ]


def test_cases_are_widths_by_tokens_each_once():
    found = cases(["btt", "kronecker", "btt"], [64, 32, 64], [8, 16])
    assert [(case.d, case.tokens) for case in found] == [(64, 8), (64, 16), (32, 8), (32, 16)]
    assert found[0].layers == ("btt", "kronecker")


def test_implementations_by_name():
    assert chosen_implementations([]) == tuple(IMPLEMENTATIONS)
    assert chosen_implementations(["merged", "reference", "merged"]) == ("merged", "reference")
    with pytest.raises(
        EinsearchError, match=r"^unknown implementation 'fast'; known: reference, feature-major, merged"
    ):
        chosen_implementations(["fast"])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"d": 0}, "^d is 0; it must be at least 1$"), ({"tokens": -3}, "^tokens is -3; it must be at least 1$")],
)
def test_sizes_below_one_are_refused(change, message):
    with pytest.raises(EinsearchError, match=message):
        Case(**({"layers": ("btt",), "d": 8, "tokens": 8} | change))


@pytest.mark.parametrize(("d", "tokens"), [(10**9, 1), (64, 10**12)])
def test_what_needs_more_memory_than_there_is_is_refused(d, tokens):
    with pytest.raises(
        EinsearchError, match=rf"^d {d} with {tokens} tokens needs about [\d,.]+ GB, [\d,.]+ GB are free"
    ):
        Case(layers=("btt",), d=d, tokens=tokens).require_memory(CPU)
    Case(layers=("btt",), d=64, tokens=64).require_memory(CPU)


def test_a_way_has_a_name():
    assert str(Way(implementation="merged", activations="feature-major")) == "merged, feature-major"
