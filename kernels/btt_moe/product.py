# mypy: allow-untyped-defs
"""The fused product: both stages of every chosen expert, the middle on chip.

Sizes are spelled out (ALPHA, GAMMA, ...), tiles are single letters: A alpha, G gamma, E epsilon, P phi, R rho, N pairs.
Names of tensors end in their axes; a lower-case axis is in slot order (`kernels/btt/layout.py`).
"""

import triton
import triton.language as tl

from einsearch.kernels.btt.layout import from_slots, slots, to_slots, turn
from einsearch.kernels.btt_moe.pieces import add, load_factor, load_pairs, load_rows, locate


@triton.jit
def fused_product(
    source,
    first,
    second,
    gate,
    order,
    offsets,
    target,
    probe,
    dots,
    source_row,
    probe_row,
    pairs,
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
    WITH_DOTS: tl.constexpr,
):
    """target[pair][e, p] = gate * sum over r, g of second[e, p, r, g] * z[r, p, g].

    z[r, p, g] = sum over a of first[a, g, r, p] * source[token][a, g]. A program owns a chunk of an expert's pairs and
    P indices phi; it needs no other slice of z. Where a tile holds all of gamma and rho, its slices of both factors are
    loaded once and stay; else again for every N pairs. A and E hold all of alpha and epsilon.

    WITH_DOTS: dots[slice of phi, pair] = sum over its e and p of the target before the gate, times probe[token].
    """
    phi_slices: tl.constexpr = (PHI + P - 1) // P
    rho_blocks: tl.constexpr = (RHO + R - 1) // R
    blocks: tl.constexpr = (GAMMA + G - 1) // G * rho_blocks
    resident: tl.constexpr = blocks == 1
    phi_slice = tl.program_id(0) % phi_slices  # the fastest, so that programs that read the same rows run together
    expert, start, end = locate(offsets, tl.program_id(0) // phi_slices, EXPERTS, CHUNK)
    if expert == EXPERTS:
        return
    first += expert.to(tl.int64) * (ALPHA * GAMMA * RHO * PHI)
    second += expert.to(tl.int64) * (EPSILON * PHI * RHO * GAMMA)
    alpha, gamma, rho, epsilon = tl.arange(0, A), tl.arange(0, G), tl.arange(0, R), tl.arange(0, E)
    gamma_slots = slots(G, WARPS)
    phi, phi_slots = phi_slice * P + tl.arange(0, P), phi_slice * P + slots(P, WARPS)
    if resident:
        a_gPA = load_factor(first, gamma_slots, alpha, rho, phi, GAMMA, ALPHA, RHO, PHI, True)
        b_pEG = load_factor(second, phi_slots, epsilon, rho, gamma, PHI, EPSILON, RHO, GAMMA, False)
    y_phi, y_epsilon = phi[:, None, None], epsilon[None, :, None]
    lane = tl.arange(0, N)
    next_pair = load_pairs(order, start + lane, end)
    for n0 in range(start, end, N):
        valid, pair = (n0 + lane < end)[None, None, :], next_pair[None, None, :]
        token = pair // ACTIVE
        next_pair = load_pairs(order, n0 + N + lane, end)
        weight = tl.load(gate + pair, mask=valid, other=0.0).to(tl.float32)
        y_pEN = tl.full((P, E, N), 0.0, tl.float32)
        for block in range(blocks):
            gamma0, rho0 = block // rho_blocks * G, block % rho_blocks * R
            x_gamma = (gamma0 + gamma)[:, None, None]
            x_GAN = load_rows(source, token * source_row, valid, alpha[None, :, None], x_gamma, ALPHA, GAMMA)
            if not resident:
                a_gPA = load_factor(first, gamma0 + gamma_slots, alpha, rho0 + rho, phi, GAMMA, ALPHA, RHO, PHI, True)
                b_pEG = load_factor(
                    second, phi_slots, epsilon, rho0 + rho, gamma0 + gamma, PHI, EPSILON, RHO, GAMMA, False
                )
            z_gPN = tl.dot(a_gPA, to_slots(x_GAN, G, A, N, WARPS), input_precision=PRECISION)
            z_pGN = turn(z_gPN.to(source.dtype.element_ty), G, R, P, N, WARPS)
            y_pEN = tl.dot(b_pEG, z_pGN, y_pEN, input_precision=PRECISION)
        if WITH_DOTS:
            probe_PEN = load_rows(probe, token * probe_row, valid, y_epsilon, y_phi, EPSILON, PHI)
            product_pEN = y_pEN * to_slots(probe_PEN, P, E, N, WARPS).to(tl.float32)
            dot = tl.reduce(tl.reduce(product_pEN, 1, add), 0, add)[None, None, :]
            tl.store(dots + phi_slice.to(tl.int64) * pairs + pair, dot, mask=valid)
        y_PEN = from_slots((y_pEN * weight).to(target.dtype.element_ty), P, E, N, WARPS)
        place = target + pair * (EPSILON * PHI) + (y_epsilon * PHI + y_phi)
        tl.store(place, y_PEN, mask=valid & (y_epsilon < EPSILON) & (y_phi < PHI))
