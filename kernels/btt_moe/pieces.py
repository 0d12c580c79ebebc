# mypy: allow-untyped-defs
"""Pieces that the kernels share: which pairs a program works on, and loads of factors and rows.

Only builtins of the language are used, no function of its library (`tl.sum`, `tl.zeros`), so that the kernels can be
interpreted whenever Triton was imported. A packed factor is [own, near, rho, far]: `direction.py`.
"""

import triton
import triton.language as tl

add = tl.standard._sum_combine
"""What `tl.sum` reduces with; the interpreter knows it and sums by NumPy."""


@triton.jit
def locate(offsets, index, EXPERTS: tl.constexpr, CHUNK: tl.constexpr):
    """(expert, start, end) of chunk `index`, if every expert's pairs are cut into chunks of up to CHUNK.

    Chunks are numbered through the experts in order; an expert without pairs has none. The expert is EXPERTS where
    `index` is past the last: the grid is sized for the most chunks that there can be, as the host does not know how
    many there are.
    """
    padded: tl.constexpr = triton.next_power_of_2(EXPERTS + 1)
    experts = tl.arange(0, padded)
    exists = experts < EXPERTS
    start = tl.load(offsets + experts, mask=exists, other=0)
    end = tl.load(offsets + experts + 1, mask=exists, other=0)
    chunks = (end - start + CHUNK - 1) // CHUNK
    after = tl.associative_scan(chunks, 0, add)
    expert = tl.reduce(((after <= index) & exists).to(tl.int32), 0, add)
    own = experts == expert
    first = tl.reduce(tl.where(own, start + (index - after + chunks) * CHUNK, 0), 0, add)
    last = tl.minimum(first + CHUNK, tl.reduce(tl.where(own, end, 0), 0, add))
    return expert, first, last


@triton.jit
def load_pairs(order, position, end):
    """The pairs at positions before `end`; loops load those of the next round ahead, as all else waits for them."""
    return tl.load(order + position, mask=position < end, other=0)


@triton.jit
def place_in_factor(
    near,
    own,
    rho,
    far,
    NEAR: tl.constexpr,
    OWN: tl.constexpr,
    RHO: tl.constexpr,
    FAR: tl.constexpr,
    OWN_LAST: tl.constexpr,
):
    """(where, inside) of a tile of a packed factor of one expert, [own, near, rho, far].

    The indices have one axis each; the tile has (near, rho, far, own), or (near, own, rho, far).
    """
    near = near[:, None, None, None]
    if OWN_LAST:
        rho, far, own = rho[None, :, None, None], far[None, None, :, None], own[None, None, None, :]
    else:
        own, rho, far = own[None, :, None, None], rho[None, None, :, None], far[None, None, None, :]
    inside = (near < NEAR) & (own < OWN) & (rho < RHO) & (far < FAR)
    return ((own * NEAR + near) * RHO + rho) * FAR + far, inside


@triton.jit
def load_factor(
    factor,
    near,
    own,
    rho,
    far,
    NEAR: tl.constexpr,
    OWN: tl.constexpr,
    RHO: tl.constexpr,
    FAR: tl.constexpr,
    OWN_LAST: tl.constexpr,
):
    """A tile of a packed factor of one expert, as (near, rho far, own), or (near, own, rho far); zero outside."""
    where, inside = place_in_factor(near, own, rho, far, NEAR, OWN, RHO, FAR, OWN_LAST)
    tile = tl.load(factor + where, mask=inside, other=0.0)
    if OWN_LAST:
        return tl.reshape(tile, (near.shape[0], rho.shape[0] * far.shape[0], own.shape[0]))
    else:
        return tl.reshape(tile, (near.shape[0], own.shape[0], rho.shape[0] * far.shape[0]))


@triton.jit
def store_factor(
    factor, tile, near, own, rho, far, NEAR: tl.constexpr, OWN: tl.constexpr, RHO: tl.constexpr, FAR: tl.constexpr
):
    """Store a tile (near, rho far, own) of a packed factor."""
    where, inside = place_in_factor(near, own, rho, far, NEAR, OWN, RHO, FAR, True)
    tile = tl.reshape(tile, (near.shape[0], rho.shape[0], far.shape[0], own.shape[0]))
    tl.store(factor + where, tile, mask=inside)


@triton.jit
def load_rows(rows, row, valid, own, near, OWN: tl.constexpr, NEAR: tl.constexpr):
    """rows[row][own, near], zero outside and where a row is not valid. `row`: where it begins, in numbers.

    The indices come with the axes that the tile has them on.
    """
    return tl.load(rows + row + (own * NEAR + near), mask=valid & (own < OWN) & (near < NEAR), other=0.0)


@triton.jit
def place_in_middle(k, near, RHO: tl.constexpr, NEAR: tl.constexpr, FAR: tl.constexpr):
    """(where, inside) of a tile of a row of the middle, [rho, near, far]; k: rho and far as one index."""
    inside = (k < RHO * FAR) & (near < NEAR)
    if RHO == 1:  # then the compiler sees that neighbours are neighbours in memory, as it does not through a remainder
        return near * FAR + k, inside
    else:
        return (k // FAR * NEAR + near) * FAR + k % FAR, inside
