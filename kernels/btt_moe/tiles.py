"""The tiles in which each kernel can be launched, and what they cost.

A tile fits where its accumulators and operands do, into the registers of the threads of a program, and where its slices
of the factors and one buffer do, into its share of shared memory. The limits were found by compiling, not by running on
a GPU: README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from einsearch.kernels.btt_moe.direction import Direction

DOT = 16
"""Smallest size of a dimension of `tl.dot`, and how many neighbours make 32 bytes in bfloat16, a sector of memory."""

BATCH = 4
"""Smallest tile of an index that a product is batched over: the warps of a program, 4 or more, share out the batch."""

LARGEST = 128

REGISTERS = {2: 64, 4: 32}
"""Registers of 4 bytes that accumulators and operands may take of a thread, by bytes of a number: so that 16 warps run
at a time on a multiprocessor, as one program or as several. Float32 products hold their operands more than once."""

SPARE = 2 * 1024
"""Bytes of shared memory left for small things: reductions, the pairs, gates."""

PAIRS_AND_WARPS = ((64, 8), (32, 8), (16, 8), (64, 4), (32, 4), (16, 4), (16, 16))
"""What is tried; of equal cost the first is preferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """itemsize: bytes of a number; shared: bytes of shared memory that a program may use; pairs: of an expert."""

    itemsize: int
    shared: int
    pairs: int

    def pairs_and_warps(self, most_warps: int) -> list[tuple[int, int]]:
        """Of PAIRS_AND_WARPS, those that an expert's pairs fill."""
        filled = max(power_of_two(self.pairs), DOT)
        return [(n, warps) for n, warps in PAIRS_AND_WARPS if n <= filled and warps <= most_warps]

    def fit(self, *, sums: int, first: tuple[int, int], second: tuple[int, int], moved: int, warps: int) -> bool:
        """Whether 16 warps of such programs run at a time.

        `sums`: numbers of an accumulator that lives throughout. first, second: numbers of another accumulator and of an
        operand, in the two steps of the program. moved: numbers in shared memory.
        """
        words = sums + max(step + operand * self.itemsize / 4 for step, operand in (first, second))
        return (
            words <= 32 * warps * REGISTERS[self.itemsize]
            and moved * self.itemsize + SPARE <= self.shared * min(warps, 16) / 16
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """`blocks` by the names of a kernel's axes, and warps of a program.

    cost: numbers that move for a pair: between programs and the cache, and once between the cache and memory. slices:
    programs that share a chunk of pairs. streams: whether a program reads its factors once for all its pairs.
    """

    blocks: dict[str, int]
    warps: int
    cost: float
    slices: int
    streams: bool = True


def fused_products(direction: Direction, limits: Limits) -> Iterator[Tile]:
    """Both stages in one kernel; the slices of both factors stay on chip, or are read again for every N pairs."""
    a, e = padded(direction.alpha), padded(direction.epsilon)
    for g, p, r in middle_tiles(direction):
        resident = g >= direction.gamma and r >= direction.rho
        slices, passes = blocks(direction.phi, p), blocks(direction.rho, r)
        factors = direction.middle * (direction.alpha + direction.epsilon)
        for n, warps in limits.pairs_and_warps(min(g, p)):
            sums = 0 if resident else p * e * n
            if limits.fit(
                sums=sums,
                first=(g * r * p * n, g * a * n),
                second=(p * e * n - sums, g * r * p * n),
                moved=g * p * r * (a + e) + max(g * a, g * r * p, p * e) * n,
                warps=warps,
            ):
                moved = direction.source * slices * passes + direction.target + (0 if resident else factors / n)
                yield Tile(
                    blocks={"N": n, "A": a, "G": g, "E": e, "P": p, "R": r},
                    warps=warps,
                    cost=moved + direction.source + direction.target,
                    slices=slices,
                    streams=resident,
                )


def stage_products(*, near: int, rows: int, columns: int, limits: Limits) -> Iterator[Tile]:
    """One stage: for each of `near` indices, a factor (rows, columns)."""
    b = batch(near)
    for k in slices_of(columns):
        for m in slices_of(rows):
            streams = k >= columns
            moved = near * columns * blocks(rows, m) + near * rows
            for n, warps in limits.pairs_and_warps(b):
                if limits.fit(
                    sums=b * m * n,
                    first=(0, b * k * n),
                    second=(0, b * m * n),
                    moved=b * m * k + max(b * k, b * m) * n,
                    warps=warps,
                ):
                    yield Tile(
                        blocks={"N": n, "B": b, "M": m, "K": k},
                        warps=warps,
                        cost=moved + (0 if streams else near * rows * columns / n) + near * (rows + columns),
                        slices=blocks(near, b) * blocks(rows, m),
                        streams=streams,
                    )


def fused_gradients(direction: Direction, limits: Limits) -> Iterator[Tile]:
    """The gradient of the first factor from the source and the gradient of the target."""
    a, e = padded(direction.alpha), padded(direction.epsilon)
    for g, p, r in middle_tiles(direction):
        phis, gammas, rhos = blocks(direction.phi, p), blocks(direction.gamma, g), blocks(direction.rho, r)
        for n, warps in limits.pairs_and_warps(min(g, p)):
            if limits.fit(
                sums=g * p * r * a,
                first=(g * r * p * n, p * e * n),
                second=(0, (g * r * p + g * a) * n),
                moved=p * g * r * e + max(p * e, g * a, g * r * p) * n,
                warps=warps,
            ):
                moved = direction.source * rhos * phis + direction.target * rhos * gammas
                yield Tile(
                    blocks={"N": n, "A": a, "G": g, "E": e, "P": p, "R": r},
                    warps=warps,
                    cost=moved + direction.source + direction.target,
                    slices=gammas * phis * rhos,
                )


def stage_gradients(direction: Direction, limits: Limits) -> Iterator[Tile]:
    """The gradient of the first factor from the source and the gradient of the middle, which is in memory."""
    b, rows = batch(direction.gamma), direction.rho * direction.phi
    for m in slices_of(rows):
        for a in slices_of(direction.alpha):
            moved = direction.source * blocks(rows, m) + direction.middle * blocks(direction.alpha, a)
            for n, warps in limits.pairs_and_warps(b):
                if limits.fit(
                    sums=b * m * a,
                    first=(0, (b * a + b * m) * n),
                    second=(b * m * n, 0),
                    moved=(b * a + b * m) * n,
                    warps=warps,
                ):
                    yield Tile(
                        blocks={"N": n, "A": a, "B": b, "M": m},
                        warps=warps,
                        cost=moved + direction.source + direction.middle,
                        slices=blocks(direction.gamma, b) * blocks(rows, m) * blocks(direction.alpha, a),
                    )


def middle_tiles(direction: Direction) -> Iterator[tuple[int, int, int]]:
    """Tiles of gamma, phi and rho, the largest first: each of gamma and phi a batch, and with rho a dot."""
    whole_rho = power_of_two(direction.rho)
    for r in sorted({whole_rho, min(whole_rho, BATCH)}, reverse=True):
        least = max(BATCH, DOT // r)
        gammas, phis = (
            [
                n
                for n in (LARGEST, 64, 32, 16, 8, 4)
                if max(least, min(power_of_two(size), DOT)) <= n <= max(least, power_of_two(size))
            ]
            for size in (direction.gamma, direction.phi)
        )
        yield from ((g, p, r) for g in gammas for p in phis)


def slices_of(size: int) -> list[int]:
    """Tiles of an index that is cut, the largest first."""
    return [n for n in (LARGEST, 64, 32, 16) if n <= padded(size)]


def batch(size: int) -> int:
    """The tile of an index that an unfused stage is batched over."""
    return min(max(power_of_two(size), BATCH), DOT)


def padded(size: int) -> int:
    """The tile that holds an index whole."""
    return max(power_of_two(size), DOT)


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def blocks(size: int, block: int) -> int:
    """How many blocks cover `size`."""
    return -(-size // block)
