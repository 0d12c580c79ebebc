"""The obvious mixture of experts over Block Tensor-Trains: one expert after the other, on the tokens that chose it."""

from __future__ import annotations

import torch
from torch import Tensor


def btt_moe(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, expert: Tensor) -> Tensor:
    """y[n] = sum over j of gate[n, j] * BTT(x[n]; A[expert[n, j]], B[expert[n, j]]).

    x: (..., alpha * gamma); a: (experts, alpha, gamma, phi, rho); b: (experts, gamma, epsilon, phi, rho);
    gate and expert: (..., active), expert of int64 in [0, experts). Returns (..., epsilon * phi), of the
    dtype of x. Runs on any device in any floating dtype; waits for the device once an expert.
    """
    experts, alpha, gamma, phi, _ = a.shape
    epsilon = b.shape[2]
    rows = x.reshape(-1, alpha * gamma)
    chosen, weight = expert.reshape(-1, expert.shape[-1]), gate.reshape(-1, gate.shape[-1])
    y = rows.new_zeros(rows.shape[0], epsilon * phi)
    for e in range(experts):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        x_NAG = rows.index_select(0, token).unflatten(1, (alpha, gamma))
        z_NGFR = torch.einsum("nag,agfr->ngfr", x_NAG, a[e])
        y_NEF = torch.einsum("ngfr,gefr->nef", z_NGFR, b[e])
        y = y.index_add(0, token, y_NEF.flatten(1) * weight[token, slot, None].to(x.dtype))
    return y.reshape(*x.shape[:-1], epsilon * phi)
