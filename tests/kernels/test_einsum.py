"""The kernels of the einsum operator against one einsum over all operands, as float64 NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.kernels.einsum import merged
from einsearch.layers.implementations import IMPLEMENTATIONS, Activations, apply
from einsearch.space.einsum import Einsum
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse

DIMENSIONS = st.sampled_from([1, 5, 8, 12, 17])


def dense_by_numpy(planned: Operator, factors: list[torch.Tensor]) -> np.ndarray:
    """The (padded_in, padded_out) matrix, from the einsum as a string."""
    size = {planned.einsum.structure.letters()[index]: n for index, n in planned.sizes.of}
    left, y_term = planned.einsum.structure.equation().split("->")
    x_term, *terms = left.split(",")
    assert [factor.shape for factor in factors] == [torch.Size([size[n] for n in term]) for term in terms]
    text = f"{','.join(terms)}->{x_term}{y_term}"
    matrix = np.einsum(text, *(factor.numpy() for factor in factors), optimize=True)
    return matrix.reshape(planned.sizes.padded_in, planned.sizes.padded_out)


def random_factors(planned: Operator) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(planned.factor_shape(f), dtype=torch.float64, generator=generator)
        for f in range(planned.einsum.factors)
    ]


@pytest.mark.parametrize("activations", ["row-major", "feature-major"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@settings(max_examples=40)
@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_every_kernel_is_the_product_with_the_dense_matrix(
    name: str, activations: Activations, einsum: Einsum, d_in: int, d_out: int
) -> None:
    planned = operator(einsum, d_in, d_out)
    factors = random_factors(planned)
    if IMPLEMENTATIONS[name].refuses(planned, torch.device("cpu"), torch.float64):
        return
    x = torch.randn(6, planned.sizes.padded_in, dtype=torch.float64)
    expected = torch.from_numpy(x.numpy() @ dense_by_numpy(planned, factors))
    if activations == "row-major":
        torch.testing.assert_close(
            apply(name, x.view(2, 3, -1), factors, planned, activations), expected.view(2, 3, -1)
        )
    else:
        torch.testing.assert_close(apply(name, x.t().contiguous(), factors, planned, activations), expected.t())


def test_the_dense_matrix_of_a_kronecker_product() -> None:
    planned = operator(parse("kronecker"), 6, 6)
    a, b = random_factors(planned)
    torch.testing.assert_close(merged.dense_matrix([a, b], planned), torch.kron(a, b))


def test_the_dense_matrix_of_a_low_rank_product() -> None:
    planned = operator(parse("low-rank"), 16, 9)
    a, b = random_factors(planned)  # alpha rho, epsilon rho
    torch.testing.assert_close(merged.dense_matrix([a, b], planned), a @ b.T)


def test_the_dense_matrix_of_btt_has_the_permuted_blocks_of_monarch() -> None:
    """y[e f] = sum over a g of A[a g f] B[g e f] x[a g]: every (g, f) block has rank one."""
    planned = operator(parse("btt"), 16, 16)
    a_AGF, b_GEF = random_factors(planned)
    matrix_AGEF = merged.dense_matrix([a_AGF, b_GEF], planned).reshape(4, 4, 4, 4)
    for g in range(4):
        for f in range(4):
            torch.testing.assert_close(matrix_AGEF[:, g, :, f], torch.outer(a_AGF[:, g, f], b_GEF[g, :, f]))
