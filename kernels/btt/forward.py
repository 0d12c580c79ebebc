# mypy: allow-untyped-defs
"""Kernels of the product: fused with resident factors, fused with streamed factors, and one stage alone.

Sizes of the operands are spelled out (ALPHA, GAMMA, ...), tiles are single letters: A alpha, G gamma,
E epsilon, P phi, R rho, N tokens. Both stages are computed transposed, with the tokens as columns: then
the factors are the left operands, and a stage leaves pairs of tokens in the registers of a thread, which
the next stage can load as they are.
"""

import triton
import triton.language as tl

from einsearch.kernels.btt.layout import from_slots, load_factor, load_rows, slots, store_rows, to_slots, turn


@triton.jit
def resident_product(
    x,
    first,
    second,
    y,
    tokens,
    row,
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
    R: tl.constexpr,
    WARPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """y of P indices phi, for every num_programs(1)-th block of N tokens.

    The slices of both factors are loaded once; of gamma, alpha, epsilon and rho a tile holds all.
    """
    alpha, gamma, epsilon = tl.arange(0, A), tl.arange(0, G), tl.arange(0, E)
    phi0 = tl.program_id(0) * P
    phi = phi0 + tl.arange(0, P)
    rp, rg = tl.arange(0, R * P), tl.arange(0, R * G)  # rho slow
    rp_inside = (rp // P < RHO) & (phi0 + rp % P < PHI)
    rg_inside = (rg // G < RHO) & (rg % G < GAMMA)
    rp, rg = rp // P * PHI + phi0 + rp % P, rg // G * GAMMA + rg % G
    a_gPA = load_factor(first, slots(G, WARPS), rp, rp_inside, alpha, alpha < ALPHA, GAMMA, RHO * PHI, ALPHA)
    b_pEG = load_factor(
        second, phi0 + slots(P, WARPS), epsilon, epsilon < EPSILON, rg, rg_inside, PHI, EPSILON, RHO * GAMMA
    )
    for token0 in range(tl.program_id(1) * N, tokens, tl.num_programs(1) * N):
        token = token0 + tl.arange(0, N)
        x_GNA = load_rows(x, row, token, tokens, gamma, alpha, GAMMA, ALPHA)
        x_gAN = to_slots(tl.permute(x_GNA, (0, 2, 1)), G, A, N, WARPS)
        z_gPN = tl.dot(a_gPA, x_gAN, input_precision=PRECISION).to(x.dtype.element_ty)
        y_pEN = tl.dot(b_pEG, turn(z_gPN, G, R, P, N, WARPS), input_precision=PRECISION).to(x.dtype.element_ty)
        store_rows(y, from_slots(y_pEN, P, E, N, WARPS), token, tokens, phi, epsilon, PHI, EPSILON)


@triton.jit
def streamed_product(
    x,
    first,
    second,
    y,
    tokens,
    row,
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
    """y of P indices phi for N tokens, summed over blocks of G indices gamma.

    Needs no more of the factors at a time than (G, P, alpha) and (P, epsilon, G); they are read again
    for every block of tokens.
    """
    alpha, epsilon = tl.arange(0, A), tl.arange(0, E)
    phi = tl.program_id(0) * P + tl.arange(0, P)
    phi_slots = tl.program_id(0) * P + slots(P, WARPS)
    token = tl.program_id(1) * N + tl.arange(0, N)
    y_pEN = tl.full((P, E, N), 0.0, tl.float32)
    for gamma0 in range(0, GAMMA, G):
        gamma = gamma0 + tl.arange(0, G)
        x_GNA = load_rows(x, row, token, tokens, gamma, alpha, GAMMA, ALPHA)
        x_gAN = to_slots(tl.permute(x_GNA, (0, 2, 1)), G, A, N, WARPS)
        for rho in tl.static_range(RHO):
            a_gPA = load_factor(
                first,
                gamma0 + slots(G, WARPS),
                rho * PHI + phi,
                phi < PHI,
                alpha,
                alpha < ALPHA,
                GAMMA,
                RHO * PHI,
                ALPHA,
            )
            b_pEG = load_factor(
                second,
                phi_slots,
                epsilon,
                epsilon < EPSILON,
                rho * GAMMA + gamma,
                gamma < GAMMA,
                PHI,
                EPSILON,
                RHO * GAMMA,
            )
            z_gPN = tl.dot(a_gPA, x_gAN, input_precision=PRECISION).to(x.dtype.element_ty)
            y_pEN = tl.dot(b_pEG, turn(z_gPN, G, 1, P, N, WARPS), y_pEN, input_precision=PRECISION)
    y_PEN = from_slots(y_pEN.to(x.dtype.element_ty), P, E, N, WARPS)
    store_rows(y, y_PEN, token, tokens, phi, epsilon, PHI, EPSILON)


@triton.jit
def stage_product(
    x,
    factor,
    y,
    tokens,
    row,
    BATCHES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    OUTER_STRIDE: tl.constexpr,
    INNER_STRIDE: tl.constexpr,
    BATCH_STRIDE: tl.constexpr,
    N: tl.constexpr,
    B: tl.constexpr,
    M: tl.constexpr,
    K: tl.constexpr,
    WARPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """y[n, m, b] = sum over k of factor[b, m, k] x[n, b, k], B batches by M rows, every num_programs(1)-th block.

    x[n, b, k] is at n row + b BATCH_STRIDE + (k // INNER) OUTER_STRIDE + (k % INNER) INNER_STRIDE; y is
    contiguous. The slice of the factor is loaded once where a tile holds all its columns.
    """
    blocks: tl.constexpr = (BATCHES + B - 1) // B
    batch0, m = tl.program_id(0) % blocks * B, tl.program_id(0) // blocks * M + tl.arange(0, M)
    batch, batch_slots = batch0 + tl.arange(0, B), batch0 + slots(B, WARPS)
    resident: tl.constexpr = COLUMNS <= K
    if resident:
        k = tl.arange(0, K)
        w_bMK = load_factor(factor, batch_slots, m, m < ROWS, k, k < COLUMNS, BATCHES, ROWS, COLUMNS)
    for token0 in range(tl.program_id(1) * N, tokens, tl.num_programs(1) * N):
        token = token0 + tl.arange(0, N)
        y_bMN = tl.full((B, M, N), 0.0, tl.float32)
        for k0 in range(0, COLUMNS, K):
            k = k0 + tl.arange(0, K)
            inside = (batch[:, None, None] < BATCHES) & (token[None, :, None] < tokens) & (k[None, None, :] < COLUMNS)
            at_k = (k // INNER) * OUTER_STRIDE + (k % INNER) * INNER_STRIDE
            at = token[None, :, None].to(tl.int64) * row + at_k[None, None, :] + batch[:, None, None] * BATCH_STRIDE
            x_BNK = tl.load(x + at, mask=inside, other=0.0)
            x_bKN = to_slots(tl.permute(x_BNK, (0, 2, 1)), B, K, N, WARPS)
            if not resident:
                w_bMK = load_factor(factor, batch_slots, m, m < ROWS, k, k < COLUMNS, BATCHES, ROWS, COLUMNS)
            y_bMN = tl.dot(w_bMK, x_bKN, y_bMN, input_precision=PRECISION)
        y_BMN = from_slots(y_bMN.to(x.dtype.element_ty), B, M, N, WARPS)
        store_rows(y, y_BMN, token, tokens, batch, m, BATCHES, ROWS)
