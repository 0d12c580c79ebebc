"""The reference of BTT against its formula in NumPy and against finite differences."""

import numpy as np
import pytest
import torch

from einsearch.kernels.btt import reference
from einsearch.kernels.btt.sizes import Sizes
from tests.kernels.compare import draw


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,)])
@pytest.mark.parametrize("sizes", [(2, 3, 4, 5, 2), (1, 3, 1, 5, 1), (4, 1, 3, 1, 2), (1, 1, 1, 1, 1)])
def test_the_reference_is_the_formula(sizes: tuple[int, ...], leading: tuple[int, ...]) -> None:
    alpha, gamma, epsilon, phi, rho = sizes
    x = draw(*leading, alpha * gamma, seed=0).detach()
    a, b = draw(alpha, gamma, phi, rho, seed=1).detach(), draw(gamma, epsilon, phi, rho, seed=2).detach()
    x_NAG = x.numpy().reshape(-1, alpha, gamma)
    expected = np.einsum("nag,agfr,gefr->nef", x_NAG, a.numpy(), b.numpy()).reshape(*leading, epsilon * phi)
    torch.testing.assert_close(reference.btt(x, a, b), torch.from_numpy(expected))


def test_gradients_of_the_reference_are_those_of_finite_differences() -> None:
    inputs = draw(2, 3, 6, seed=0), draw(2, 3, 4, 2, seed=1), draw(3, 2, 4, 2, seed=2)
    assert torch.autograd.gradcheck(reference.btt, inputs)
    assert torch.autograd.gradgradcheck(reference.btt, inputs)


def test_sizes_count_macs_and_exchange_roles() -> None:
    sizes = Sizes(alpha=2, gamma=3, epsilon=5, phi=7, rho=11)
    assert (sizes.d_in, sizes.d_out, sizes.intermediate) == (6, 35, 231)
    assert (sizes.first_macs, sizes.second_macs) == (462, 1155)
    assert sizes.exchanged == Sizes(alpha=5, gamma=7, epsilon=2, phi=3, rho=11)
    assert sizes.exchanged.exchanged == sizes
