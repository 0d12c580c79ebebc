"""The obvious Block Tensor-Train product: its definition as two einsums."""

import torch
from torch import Tensor


def btt(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """y[e f] = sum over g r of b[g e f r] sum over a of a[a g f r] x[a g], for every row of x.

    x: (..., alpha gamma), gamma varying fastest. a: (alpha, gamma, phi, rho); b: (gamma, epsilon, phi,
    rho). Returns (..., epsilon phi), phi varying fastest.
    """
    z = torch.einsum("...ag,agfr->...gfr", x.unflatten(-1, a.shape[:2]), a)
    return torch.einsum("...gfr,gefr->...ef", z, b).flatten(-2)
