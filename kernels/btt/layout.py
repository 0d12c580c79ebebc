# mypy: allow-untyped-defs
"""Pieces that the kernels share: index order of batched products, and the turn between the two stages.

Names of tensors end in their axes: G gamma, A alpha, E epsilon, P phi, N tokens; a lower-case axis is in
slot order (see `slots`). Only builtins of the language are used, so that the kernels can be interpreted
whenever Triton was imported.
"""

import triton
import triton.language as tl


@triton.jit
def slots(SIZE: tl.constexpr, WARPS: tl.constexpr):
    """The index that each slot of a batch axis holds.

    A batched `tl.dot` gives slot s to warp s % WARPS. Slot s = r WARPS + w holds index w (SIZE / WARPS) + r,
    so that a warp owns neighbours: they then lie in the registers of one thread, and move between layouts
    in words of up to 16 bytes, never one by one.
    """
    slot = tl.arange(0, SIZE)
    return (slot % WARPS) * (SIZE // WARPS) + slot // WARPS


@triton.jit
def to_slots(tile, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WARPS: tl.constexpr):
    """(SIZE, ROWS, COLUMNS) with the first axis put into slot order: tile[slots(SIZE, WARPS)]."""
    tile = tl.reshape(tile, (WARPS, SIZE // WARPS, ROWS, COLUMNS))
    return tl.reshape(tl.permute(tile, (1, 0, 2, 3)), (SIZE, ROWS, COLUMNS))


@triton.jit
def from_slots(tile, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WARPS: tl.constexpr):
    """The inverse of `to_slots`."""
    tile = tl.reshape(tile, (SIZE // WARPS, WARPS, ROWS, COLUMNS))
    return tl.reshape(tl.permute(tile, (1, 0, 2, 3)), (SIZE, ROWS, COLUMNS))


@triton.jit
def turn(z_gPN, G: tl.constexpr, R: tl.constexpr, P: tl.constexpr, N: tl.constexpr, WARPS: tl.constexpr):
    """From the first stage to the second: (g, R P, N), batched over gamma, to (p, R G, N), batched over phi."""
    z_GRPN = tl.reshape(from_slots(z_gPN, G, R * P, N, WARPS), (G, R, P, N))
    z_PGN = tl.reshape(tl.permute(z_GRPN, (2, 1, 0, 3)), (P, R * G, N))
    return to_slots(z_PGN, P, R * G, N, WARPS)


@triton.jit
def load_factor(
    factor, slot, row, inside_row, column, inside_column, SLOTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """factor[slot, row, column] of a contiguous (SLOTS, ROWS, COLUMNS), zero outside."""
    inside = (slot[:, None, None] < SLOTS) & inside_row[None, :, None] & inside_column[None, None, :]
    at = slot[:, None, None] * (ROWS * COLUMNS) + row[None, :, None] * COLUMNS + column[None, None, :]
    return tl.load(factor + at, mask=inside, other=0.0)


@triton.jit
def load_rows(x, row, token, tokens, batch, column, BATCHES: tl.constexpr, COLUMNS: tl.constexpr):
    """x[token, column, batch] as (batch, token, column), zero outside; rows of (COLUMNS, BATCHES) lie `row` apart."""
    inside = (batch[:, None, None] < BATCHES) & (token[None, :, None] < tokens) & (column[None, None, :] < COLUMNS)
    at = token[None, :, None].to(tl.int64) * row + column[None, None, :] * BATCHES + batch[:, None, None]
    return tl.load(x + at, mask=inside, other=0.0)


@triton.jit
def store_rows(y, value, token, tokens, batch, column, BATCHES: tl.constexpr, COLUMNS: tl.constexpr):
    """y[token, column, batch] = value[batch, column, token], y contiguous."""
    inside = (batch[:, None, None] < BATCHES) & (column[None, :, None] < COLUMNS) & (token[None, None, :] < tokens)
    at = (
        token[None, None, :].to(tl.int64) * (BATCHES * COLUMNS) + column[None, :, None] * BATCHES + batch[:, None, None]
    )
    tl.store(y + at, value, mask=inside)
