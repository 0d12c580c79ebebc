# mypy: allow-untyped-defs
"""One stage alone, the middle in memory: where the slices of both factors are too large to stay on chip.

Names are those of `product.py`; B stands for the index that the stage is batched over (gamma, then phi), M for the rows
of the factor's slice and K for its summed index. The middle of a pair is (rho, phi, gamma), in sorted order.
"""

import triton
import triton.language as tl

from einsearch.kernels.btt.layout import from_slots, slots, to_slots
from einsearch.kernels.btt_moe.pieces import add, load_factor, load_pairs, load_rows, locate, place_in_middle


@triton.jit
def stage_product(
    source,
    factor,
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
    OWN: tl.constexpr,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    RHO: tl.constexpr,
    LAST: tl.constexpr,
    CHUNK: tl.constexpr,
    N: tl.constexpr,
    B: tl.constexpr,
    M: tl.constexpr,
    K: tl.constexpr,
    WARPS: tl.constexpr,
    PRECISION: tl.constexpr,
    WITH_DOTS: tl.constexpr,
):
    """The first stage, or the LAST, with the factor (OWN, NEAR, FAR, RHO) of an expert; batched over NEAR.

    First: target[position][rho far, near] = sum over own of factor[own, near, rho far] * source[token][own, near].
    Last: target[pair][own, near] = gate * sum over rho, far of factor[own, near, rho far] * source[position][rho, near,
    far]. The slice of the factor is loaded once where a tile holds all of its summed index.

    WITH_DOTS, for the last: as in `fused_product`.
    """
    JOINT: tl.constexpr = RHO * FAR
    ROWS: tl.constexpr = OWN if LAST else JOINT
    COLUMNS: tl.constexpr = JOINT if LAST else OWN
    slices: tl.constexpr = ((NEAR + B - 1) // B) * ((ROWS + M - 1) // M)
    resident: tl.constexpr = COLUMNS <= K
    part = tl.program_id(0) % slices
    expert, start, end = locate(offsets, tl.program_id(0) // slices, EXPERTS, CHUNK)
    if expert == EXPERTS:
        return
    factor += expert.to(tl.int64) * (OWN * NEAR * FAR * RHO)
    near0 = part % ((NEAR + B - 1) // B) * B
    near, near_slots = (near0 + tl.arange(0, B))[:, None, None], near0 + slots(B, WARPS)
    m = part // ((NEAR + B - 1) // B) * M + tl.arange(0, M)
    k, zero = tl.arange(0, K), tl.arange(0, 1)
    if resident:
        if LAST:
            w_bMK = load_factor(factor, near_slots, m, zero, k, NEAR, OWN, 1, JOINT, False)
        else:
            w_bMK = load_factor(factor, near_slots, k, zero, m, NEAR, OWN, 1, JOINT, True)
    y_m = m[None, :, None]
    lane = tl.arange(0, N)
    next_pair = load_pairs(order, start + lane, end)
    for n0 in range(start, end, N):
        position, pair = (n0 + lane.to(tl.int64))[None, None, :], next_pair[None, None, :]
        valid, token = position < end, pair // ACTIVE
        next_pair = load_pairs(order, n0 + N + lane, end)
        weight = tl.load(gate + pair, mask=valid, other=0.0).to(tl.float32)
        y_bMN = tl.full((B, M, N), 0.0, tl.float32)
        for k0 in range(0, COLUMNS, K):
            x_k = (k0 + k)[None, :, None]
            if LAST:
                where, inside = place_in_middle(x_k, near, RHO, NEAR, FAR)
                x_BKN = tl.load(source + position * source_row + where, mask=valid & inside, other=0.0)
            else:
                x_BKN = load_rows(source, token * source_row, valid, x_k, near, OWN, NEAR)
            if not resident:
                if LAST:
                    w_bMK = load_factor(factor, near_slots, m, zero, k0 + k, NEAR, OWN, 1, JOINT, False)
                else:
                    w_bMK = load_factor(factor, near_slots, k0 + k, zero, m, NEAR, OWN, 1, JOINT, True)
            y_bMN = tl.dot(w_bMK, to_slots(x_BKN, B, K, N, WARPS), y_bMN, input_precision=PRECISION)
        if WITH_DOTS:
            probe_BMN = load_rows(probe, token * probe_row, valid, y_m, near, OWN, NEAR)
            product_bMN = y_bMN * to_slots(probe_BMN, B, M, N, WARPS).to(tl.float32)
            dot = tl.reduce(tl.reduce(product_bMN, 1, add), 0, add)[None, None, :]
            tl.store(dots + part.to(tl.int64) * pairs + pair, dot, mask=valid)
        if LAST:
            y_bMN *= weight
            row = pair
        else:
            row = position
        y_BMN = from_slots(y_bMN.to(target.dtype.element_ty), B, M, N, WARPS)
        tl.store(target + row * (ROWS * NEAR) + (y_m * NEAR + near), y_BMN, mask=valid & (y_m < ROWS) & (near < NEAR))
