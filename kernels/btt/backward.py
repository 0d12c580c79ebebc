# mypy: allow-untyped-defs
"""Kernels of the gradient of a factor: sums over tokens, one partial sum for each split, added up afterwards.

They are written for the first factor; the second is the first of the exchanged roles (x and dy, and so
alpha and epsilon, gamma and phi). Names are those of `forward.py`.
"""

import triton
import triton.language as tl

from einsearch.kernels.btt.layout import load_factor, load_rows, slots, to_slots, turn


@triton.jit
def fused_gradient(
    x,
    dy,
    exchanged,
    partial,
    tokens,
    row,
    dy_row,
    tokens_per_split,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    EPSILON: tl.constexpr,
    PHI: tl.constexpr,
    RHO: tl.constexpr,
    N: tl.constexpr,
    A: tl.constexpr,
    G: tl.constexpr,
    E: tl.constexpr,
    P: tl.constexpr,
    WARPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """partial[split, g, r, p, a] = sum over the split's tokens of x[n, a, g] dz[n, g, p, r], (G, P) of one rho.

    dz[n, g, p, r] = sum over e of exchanged[p, r, g, e] dy[n, e, p] stays on chip; `exchanged` is the
    second factor, packed as the first of the exchanged roles.
    """
    gammas: tl.constexpr = (GAMMA + G - 1) // G
    phis: tl.constexpr = (PHI + P - 1) // P
    gamma0 = tl.program_id(0) % gammas * G
    phi0 = tl.program_id(0) // gammas % phis * P
    rho = tl.program_id(0) // (gammas * phis)
    gamma, phi = gamma0 + tl.arange(0, G), phi0 + tl.arange(0, P)
    alpha, epsilon = tl.arange(0, A), tl.arange(0, E)
    b_pGE = load_factor(
        exchanged,
        phi0 + slots(P, WARPS),
        rho * GAMMA + gamma,
        gamma < GAMMA,
        epsilon,
        epsilon < EPSILON,
        PHI,
        RHO * GAMMA,
        EPSILON,
    )
    da_gPA = tl.full((G, P, A), 0.0, tl.float32)
    start = tl.program_id(1) * tokens_per_split
    for token0 in range(start, tl.minimum(start + tokens_per_split, tokens), N):
        token = token0 + tl.arange(0, N)
        dy_PNE = load_rows(dy, dy_row, token, tokens, phi, epsilon, PHI, EPSILON)
        x_GNA = load_rows(x, row, token, tokens, gamma, alpha, GAMMA, ALPHA)
        dy_pEN = to_slots(tl.permute(dy_PNE, (0, 2, 1)), P, E, N, WARPS)
        dz_pGN = tl.dot(b_pGE, dy_pEN, input_precision=PRECISION).to(x.dtype.element_ty)
        dz_gPN = turn(dz_pGN, P, 1, G, N, WARPS)
        da_gPA = tl.dot(dz_gPN, to_slots(x_GNA, G, N, A, WARPS), da_gPA, input_precision=PRECISION)
    g, p, a = (gamma0 + slots(G, WARPS))[:, None, None], phi[None, :, None], alpha[None, None, :]
    at = ((tl.program_id(1).to(tl.int64) * GAMMA + g) * RHO + rho) * PHI + p
    tl.store(partial + at * ALPHA + a, da_gPA, mask=(g < GAMMA) & (p < PHI) & (a < ALPHA))


@triton.jit
def stage_gradient(
    x,
    dz,
    partial,
    tokens,
    row,
    tokens_per_split,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    PHI: tl.constexpr,
    RHO: tl.constexpr,
    N: tl.constexpr,
    A: tl.constexpr,
    G: tl.constexpr,
    M: tl.constexpr,
    WARPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """partial[split, g, m, a] = sum over the split's tokens of x[n, a, g] dz[n, g, m], m = (rho, phi).

    dz is contiguous (tokens, rho, gamma, phi), as the first stage of the exchanged product writes it.
    """
    gammas: tl.constexpr = (GAMMA + G - 1) // G
    blocks: tl.constexpr = (RHO * PHI + M - 1) // M
    gamma0 = tl.program_id(0) % gammas * G
    m = tl.program_id(0) // gammas % blocks * M + tl.arange(0, M)
    alpha = tl.program_id(0) // (gammas * blocks) * A + tl.arange(0, A)
    gamma, gamma_slots = gamma0 + tl.arange(0, G), gamma0 + slots(G, WARPS)
    inside = (gamma_slots[:, None, None] < GAMMA) & (m[None, :, None] < RHO * PHI)
    at_m = (m // PHI) * (GAMMA * PHI) + m % PHI
    at = gamma_slots[:, None, None] * PHI + at_m[None, :, None]
    da_gMA = tl.full((G, M, A), 0.0, tl.float32)
    start = tl.program_id(1) * tokens_per_split
    for token0 in range(start, tl.minimum(start + tokens_per_split, tokens), N):
        token = token0 + tl.arange(0, N)
        x_GNA = load_rows(x, row, token, tokens, gamma, alpha, GAMMA, ALPHA)
        at_n = token[None, None, :].to(tl.int64) * (RHO * GAMMA * PHI)
        dz_gMN = tl.load(dz + at_n + at, mask=inside & (token[None, None, :] < tokens), other=0.0)
        da_gMA = tl.dot(dz_gMN, to_slots(x_GNA, G, N, A, WARPS), da_gMA, input_precision=PRECISION)
    at = (tl.program_id(1).to(tl.int64) * GAMMA + gamma_slots[:, None, None]) * (RHO * PHI) + m[None, :, None]
    tl.store(partial + at * ALPHA + alpha[None, None, :], da_gMA, mask=inside & (alpha[None, None, :] < ALPHA))
