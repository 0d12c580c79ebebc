# mypy: allow-untyped-defs
"""The gradient of a factor: sums over an expert's pairs, in parts of a chunk each, which are added up afterwards.

Written for the first factor of a direction, A forward, B reversed: x and dy, alpha and epsilon, gamma and phi exchange
their roles. Names are those of `product.py`.
"""

import triton
import triton.language as tl

from einsearch.kernels.btt.layout import slots, to_slots, turn
from einsearch.kernels.btt_moe.pieces import load_factor, load_pairs, load_rows, locate, place_in_middle, store_factor


@triton.jit
def fused_gradient(
    x,
    dy,
    second,
    gate,
    order,
    offsets,
    parts,
    x_row,
    dy_row,
    EXPERTS: tl.constexpr,
    ACTIVE: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    EPSILON: tl.constexpr,
    PHI: tl.constexpr,
    RHO: tl.constexpr,
    CHUNK: tl.constexpr,
    N: tl.constexpr,
    A: tl.constexpr,
    G: tl.constexpr,
    E: tl.constexpr,
    P: tl.constexpr,
    R: tl.constexpr,
    WARPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """parts[chunk][a, g, r, p] = sum over the chunk's pairs of x[token][a, g] * gate * u[r, g, p].

    u[r, g, p] = sum over e of second[e, p, r, g] * dy[token][e, p] stays on chip. A program owns a chunk and
    G, P and R indices; A and E hold all of alpha and epsilon.
    """
    phi_blocks: tl.constexpr = (PHI + P - 1) // P
    rho_blocks: tl.constexpr = (RHO + R - 1) // R
    slices: tl.constexpr = (GAMMA + G - 1) // G * phi_blocks * rho_blocks
    part = tl.program_id(0) % slices
    chunk = tl.program_id(0) // slices
    expert, start, end = locate(offsets, chunk, EXPERTS, CHUNK)
    if expert == EXPERTS:
        return
    second += expert.to(tl.int64) * (EPSILON * PHI * RHO * GAMMA)
    gamma0, phi0 = part // (phi_blocks * rho_blocks) * G, part // rho_blocks % phi_blocks * P
    gamma, phi, rho = gamma0 + tl.arange(0, G), phi0 + tl.arange(0, P), part % rho_blocks * R + tl.arange(0, R)
    alpha, epsilon = tl.arange(0, A), tl.arange(0, E)
    b_pGE = load_factor(second, phi0 + slots(P, WARPS), epsilon, rho, gamma, PHI, EPSILON, RHO, GAMMA, True)
    da_gPA = tl.full((G, R * P, A), 0.0, tl.float32)
    lane = tl.arange(0, N)
    next_pair = load_pairs(order, start + lane, end)
    for n0 in range(start, end, N):
        valid, pair, token = n0 + lane < end, next_pair, next_pair // ACTIVE
        next_pair = load_pairs(order, n0 + N + lane, end)
        weight = tl.load(gate + pair, mask=valid, other=0.0).to(tl.float32)[None, None, :]
        dy_PEN = load_rows(
            dy,
            (token * dy_row)[None, None, :],
            valid[None, None, :],
            epsilon[None, :, None],
            phi[:, None, None],
            EPSILON,
            PHI,
        )
        x_GNA = load_rows(
            x,
            (token * x_row)[None, :, None],
            valid[None, :, None],
            alpha[None, None, :],
            gamma[:, None, None],
            ALPHA,
            GAMMA,
        )
        u_pGN = tl.dot(b_pGE, to_slots(dy_PEN, P, E, N, WARPS), input_precision=PRECISION)
        u_gPN = turn((u_pGN * weight).to(x.dtype.element_ty), P, R, G, N, WARPS)
        da_gPA = tl.dot(u_gPN, to_slots(x_GNA, G, N, A, WARPS), da_gPA, input_precision=PRECISION)
    parts += chunk.to(tl.int64) * (ALPHA * GAMMA * RHO * PHI)
    store_factor(parts, da_gPA, gamma0 + slots(G, WARPS), alpha, rho, phi, GAMMA, ALPHA, RHO, PHI)


@triton.jit
def stage_gradient(
    x,
    u,
    gate,
    order,
    offsets,
    parts,
    x_row,
    EXPERTS: tl.constexpr,
    ACTIVE: tl.constexpr,
    ALPHA: tl.constexpr,
    GAMMA: tl.constexpr,
    PHI: tl.constexpr,
    RHO: tl.constexpr,
    CHUNK: tl.constexpr,
    N: tl.constexpr,
    A: tl.constexpr,
    B: tl.constexpr,
    M: tl.constexpr,
    WARPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """As `fused_gradient`, u[position][r, g, p] in memory; for B indices gamma, M of rho and phi, A alpha."""
    gammas: tl.constexpr = (GAMMA + B - 1) // B
    rows: tl.constexpr = (RHO * PHI + M - 1) // M
    slices: tl.constexpr = gammas * rows * ((ALPHA + A - 1) // A)
    part = tl.program_id(0) % slices
    chunk = tl.program_id(0) // slices
    expert, start, end = locate(offsets, chunk, EXPERTS, CHUNK)
    if expert == EXPERTS:
        return
    gamma0 = part % gammas * B
    gamma, gamma_slots = gamma0 + tl.arange(0, B), gamma0 + slots(B, WARPS)
    m = part // gammas % rows * M + tl.arange(0, M)
    alpha = part // (gammas * rows) * A + tl.arange(0, A)
    where, inside = place_in_middle(m[None, :, None], gamma_slots[:, None, None], RHO, GAMMA, PHI)
    da_bMA = tl.full((B, M, A), 0.0, tl.float32)
    lane = tl.arange(0, N)
    next_pair = load_pairs(order, start + lane, end)
    for n0 in range(start, end, N):
        position, pair = n0 + lane.to(tl.int64), next_pair
        valid, token = position < end, pair // ACTIVE
        next_pair = load_pairs(order, n0 + N + lane, end)
        weight = tl.load(gate + pair, mask=valid, other=0.0).to(tl.float32)[None, None, :]
        x_BNA = load_rows(
            x,
            (token * x_row)[None, :, None],
            valid[None, :, None],
            alpha[None, None, :],
            gamma[:, None, None],
            ALPHA,
            GAMMA,
        )
        row = position[None, None, :] * (RHO * GAMMA * PHI)
        u_bMN = tl.load(u + row + where, mask=inside & valid[None, None, :], other=0.0).to(tl.float32)
        da_bMA = tl.dot(
            (u_bMN * weight).to(x.dtype.element_ty), to_slots(x_BNA, B, N, A, WARPS), da_bMA, input_precision=PRECISION
        )
    parts += chunk.to(tl.int64) * (ALPHA * GAMMA * RHO * PHI)
    store_factor(parts, da_bMA, gamma_slots, alpha, tl.arange(0, 1), m, GAMMA, ALPHA, 1, RHO * PHI)
