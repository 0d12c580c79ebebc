"""Which operators are BTTs, and that their factors map to those of the kernel."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.kernels.btt import reference
from einsearch.kernels.btt.match import matches
from einsearch.kernels.einsum.reference import einsum_linear
from einsearch.space.einsum import Einsum
from einsearch.space.explicit import operator_at
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse
from tests.conftest import einsums
from tests.kernels.compare import assert_close, draw, outputs_and_gradients

SIZES = {"a": 3, "g": 2, "e": 5, "f": 7, "r": 2}


def assert_same_product(planned: Operator) -> None:
    """The BTT of the mapped factors is the einsum, and so are the gradients of x and of the factors themselves."""
    match = matches(planned)
    assert match is not None
    inputs = {
        "x": draw(2, 3, planned.sizes.padded_in, seed=0),
        "factor_0": draw(*planned.factor_shape(0), seed=1),
        "factor_1": draw(*planned.factor_shape(1), seed=2),
    }

    def mapped(x: torch.Tensor, factor_0: torch.Tensor, factor_1: torch.Tensor) -> torch.Tensor:
        return reference.btt(x, *match.factors([factor_0, factor_1]))

    def einsum(x: torch.Tensor, factor_0: torch.Tensor, factor_1: torch.Tensor) -> torch.Tensor:
        return einsum_linear(x, [factor_0, factor_1], planned)

    assert_close(outputs_and_gradients(mapped, inputs), outputs_and_gradients(einsum, inputs), tolerance=1e-12)
    assert match.sizes.first_macs + match.sizes.second_macs == planned.macs
    assert match.sizes.d_in == planned.sizes.padded_in
    assert match.sizes.d_out == planned.sizes.padded_out


def test_both_namings_of_the_factors_match() -> None:
    assert_same_product(operator_at("ag,agfr,gefr->ef", SIZES))
    exchanged = operator_at("ag,gefr,agfr->ef", SIZES)
    assert_same_product(exchanged)
    match = matches(exchanged)
    assert match is not None
    assert (match.first, match.second) == (1, 0)
    assert match.sizes == matches(operator_at("ag,agfr,gefr->ef", SIZES)).sizes


def test_indices_of_size_one_are_no_obstacle() -> None:
    sizes = {**SIZES, "b": 1, "d": 1}
    assert_same_product(operator_at("abg,agdfr,bgefr->def", sizes))
    assert_same_product(operator_at("ag,agfr,gefr->ef", {**SIZES, "g": 1, "r": 1}))


def test_families() -> None:
    for text in ("btt", "btt(1/4)", "monarch", "low-rank", "low-rank(1/4)"):
        assert_same_product(operator(parse(text), 36, 64))
    for text in ("dense", "kronecker", "tensor-train", "btt(factors=3)", "kronecker(factors=3)"):
        assert matches(operator(parse(text), 64, 64)) is None


def test_an_index_that_no_role_has_is_no_match() -> None:
    assert matches(operator_at("abg,agfr,bgefr->ef", {**SIZES, "b": 2})) is None
    assert matches(operator_at("ag,agdfr,gefr->def", {**SIZES, "d": 2})) is None


def test_the_factors_are_views() -> None:
    planned = operator_at("ag,gefr,agfr->ef", SIZES)
    factors = [torch.zeros(planned.factor_shape(f)) for f in range(2)]
    a, b = matches(planned).factors(factors)
    a.fill_(1.0)
    b.fill_(2.0)
    assert factors[1].eq(1.0).all()
    assert factors[0].eq(2.0).all()
    assert (tuple(a.shape), tuple(b.shape)) == ((3, 2, 7, 2), (2, 5, 7, 2))


@settings(max_examples=60)
@given(einsum=einsums(2), d_in=st.sampled_from([1, 2, 6, 8, 12]), d_out=st.sampled_from([1, 3, 8, 12]))
def test_whatever_matches_is_the_einsum(einsum: Einsum, d_in: int, d_out: int) -> None:
    planned = operator(einsum, d_in, d_out)
    if matches(planned) is not None:
        assert_same_product(planned)
