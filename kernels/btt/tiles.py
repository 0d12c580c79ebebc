"""The tiles in which each kernel of the Block Tensor-Train can be launched, and what they cost.

A tile fits where its accumulators and operands do, into the registers of the threads of a program, and
its slice of the factors and one buffer do, into the shared memory of one. The estimates were set by
compiling (README.md). Pure arithmetic: without torch, triton or a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from einsearch.kernels.btt.sizes import Sizes

_SMALLEST = 16
_LARGEST = 128
_GROUP = 16  # indices of a batch axis in one program: 32 bytes of bfloat16, one sector of memory
_MOST_UNROLLED = 8
_MACS_PER_BYTE = 64
_REGISTER = 4  # bytes
_WORDS = {4: 232, 8: 232, 16: 96}  # registers of a thread that accumulators and operands may take, by warps
_TOKENS_AND_WARPS = ((32, 8), (16, 8), (32, 4), (64, 8), (16, 4), (32, 16), (16, 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One way to launch a kernel: `tile` sizes by the kernel's names of its axes, warps of a program.

    cost: of one token, in bytes of traffic; see :func:`_cost`.
    """

    tile: tuple[tuple[str, int], ...]
    warps: int
    cost: float

    def __getitem__(self, axis: str) -> int:
        return dict(self.tile)[axis]


def resident(sizes: Sizes, itemsize: int, shared_memory: int) -> Iterator[Config]:
    """Both factors' slices of P indices phi stay in shared memory, tokens stream by."""
    a, g, e, r = padded(sizes.alpha), padded(sizes.gamma), padded(sizes.epsilon), power_of_two(sizes.rho)
    word = itemsize / _REGISTER
    for p in _slices(sizes.phi):
        passes = _blocks(sizes.phi, p)
        parameters = g * r * p * (a + e)
        for n, warps in _TOKENS_AND_WARPS:
            first, second = g * r * p + g * a * word, p * e + g * r * p * word
            buffer = max(g * a, g * r * p, p * e) * n
            if _fits(max(first, second) * n, warps) and (parameters + buffer) * itemsize <= shared_memory:
                yield Config(
                    tile=(("N", n), ("A", a), ("G", g), ("E", e), ("P", p), ("R", r)),
                    warps=warps,
                    cost=_cost(sizes, itemsize, loaded=sizes.d_in * passes + sizes.d_out, macs=passes * parameters),
                )


def streamed(sizes: Sizes, itemsize: int, shared_memory: int) -> Iterator[Config]:
    """Both factors are read again for every N tokens."""
    a, g, e = padded(sizes.alpha), _GROUP, padded(sizes.epsilon)
    word = itemsize / _REGISTER
    if sizes.rho > _MOST_UNROLLED:
        return
    for p in _slices(sizes.phi):
        passes = _blocks(sizes.phi, p)
        parameters = g * p * (a + e)
        for n, warps in _TOKENS_AND_WARPS:
            words = (p * e + g * p + 2 * g * a * word) * n
            buffer = max(g * a, g * p, p * e) * n
            if _fits(words, warps) and (parameters + buffer) * itemsize <= shared_memory:
                factors = (sizes.first_macs + sizes.second_macs) / n
                yield Config(
                    tile=(("N", n), ("A", a), ("G", g), ("E", e), ("P", p)),
                    warps=warps,
                    cost=_cost(
                        sizes,
                        itemsize,
                        loaded=sizes.d_in * passes + sizes.d_out + factors,
                        macs=passes * _blocks(sizes.gamma, g) * sizes.rho * parameters,
                    ),
                )


def first_stage(sizes: Sizes, itemsize: int, shared_memory: int) -> list[Config]:
    """The intermediate from x, written to memory."""
    return _stage(sizes.gamma, sizes.rho * sizes.phi, sizes.alpha, itemsize, shared_memory)


def second_stage(sizes: Sizes, itemsize: int, shared_memory: int) -> list[Config]:
    """y from the intermediate in memory."""
    return _stage(sizes.phi, sizes.epsilon, sizes.rho * sizes.gamma, itemsize, shared_memory)


def _stage(batches: int, rows: int, columns: int, itemsize: int, shared_memory: int) -> list[Config]:
    """A product (rows, columns) for each of `batches` parts of x; resident where a tile holds all columns."""
    whole = padded(columns)
    tiles = [k for k in (whole, 64, 32, 16) if k <= min(whole, _LARGEST)]
    # Of one length of the summed tile only, the greatest that fits.
    found = (list(_stage_tiles(batches, rows, columns, k, itemsize, shared_memory)) for k in tiles)
    return next(filter(None, found), [])


def _stage_tiles(batches: int, rows: int, columns: int, k: int, itemsize: int, shared_memory: int) -> Iterator[Config]:
    b = min(_GROUP, power_of_two(max(batches, 4)))
    word = itemsize / _REGISTER
    x, y = batches * columns, batches * rows
    factor = batches * rows * columns
    for m in _slices(rows):
        passes = _blocks(rows, m)
        for n, warps in _TOKENS_AND_WARPS:
            held = b * m * k + max(b * k, b * m) * n
            if warps <= b and _fits((b * m + b * k * word) * n, warps) and held * itemsize <= shared_memory:
                loaded = x * passes + y + (0 if columns <= k else factor / n)
                macs = _blocks(batches, b) * b * passes * m * _blocks(columns, k) * k
                yield Config(
                    tile=(("N", n), ("B", b), ("M", m), ("K", k)),
                    warps=warps,
                    cost=(loaded + x + y) * itemsize + macs / _MACS_PER_BYTE,
                )


def fused_gradient(sizes: Sizes, itemsize: int, shared_memory: int) -> Iterator[Config]:
    """The gradient of G x P x alpha parameters stays in registers, as does the slice of the intermediate's gradient."""
    a, e = padded(sizes.alpha), padded(sizes.epsilon)
    word = itemsize / _REGISTER
    for g in _slices(sizes.gamma):
        for p in _slices(sizes.phi):
            x_passes, dy_passes = _blocks(sizes.phi, p) * sizes.rho, _blocks(sizes.gamma, g) * sizes.rho
            for n, warps in _TOKENS_AND_WARPS:
                words = g * p * a + (g * p + (p * e + g * a) * word) * n
                held = p * g * e + max(p * e, g * a, g * p) * n
                if _fits(words, warps) and held * itemsize <= shared_memory:
                    yield Config(
                        tile=(("N", n), ("A", a), ("G", g), ("E", e), ("P", p)),
                        warps=warps,
                        cost=_cost(
                            sizes,
                            itemsize,
                            loaded=sizes.d_in * x_passes + sizes.d_out * dy_passes,
                            macs=x_passes * _blocks(sizes.gamma, g) * g * p * (a + e),
                        ),
                    )


def staged_gradient(sizes: Sizes, itemsize: int, shared_memory: int) -> Iterator[Config]:
    """The gradient of the first factor from x and the gradient of the intermediate."""
    rows, g = sizes.rho * sizes.phi, min(_GROUP, power_of_two(max(sizes.gamma, 4)))
    word = itemsize / _REGISTER
    for m in _slices(rows):
        for a in _slices(sizes.alpha):
            x_passes, dz_passes = _blocks(rows, m), _blocks(sizes.alpha, a)
            for n, warps in _TOKENS_AND_WARPS:
                words = g * m * a + (2 * g * a + g * m) * word * n
                if warps > g or not _fits(words, warps) or (g * a + g * m) * n * itemsize > shared_memory:
                    continue
                numbers = sizes.d_in * (x_passes + 1) + sizes.intermediate * (dz_passes + 1)
                macs = _blocks(sizes.gamma, g) * g * x_passes * m * dz_passes * a
                yield Config(
                    tile=(("N", n), ("A", a), ("G", g), ("M", m)),
                    warps=warps,
                    cost=numbers * itemsize + macs / _MACS_PER_BYTE,
                )


def _cost(sizes: Sizes, itemsize: int, *, loaded: float, macs: float) -> float:
    """Bytes of one token at both levels of memory: what programs load and store, and x and y once; MACs as bytes.

    `macs` are those that are computed, padding included.
    """
    return (loaded + sizes.d_in + sizes.d_out) * itemsize + macs / _MACS_PER_BYTE


def _fits(words: float, warps: int) -> bool:
    return words <= 32 * warps * _WORDS[warps]


def _slices(size: int) -> list[int]:
    """Tiles of an axis that is cut: powers of two from 16 up to the whole axis, the largest first."""
    return [n for n in (128, 64, 32, 16) if n <= padded(size)]


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


def padded(size: int) -> int:
    """The tile that holds a whole axis: the power of two from 16 that is not less than it."""
    return max(_SMALLEST, power_of_two(size))


def power_of_two(size: int) -> int:
    """The least power of two that is not less than a size."""
    return 1 << (size - 1).bit_length()
