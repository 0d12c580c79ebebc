# mypy: allow-untyped-defs
"""Sums in a fixed order: of a token's slots, and of the parts of an expert's gradient. No atomics, so bits repeat."""

import triton
import triton.language as tl

from einsearch.kernels.btt_moe.pieces import add


@triton.jit
def sum_slots(rows, out, WIDTH: tl.constexpr, ACTIVE: tl.constexpr, BLOCK: tl.constexpr):
    """out[token] = sum over its slots of rows[token, slot], WIDTH numbers each. A program owns BLOCK of them."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < WIDTH
    total = tl.full((BLOCK,), 0.0, tl.float32)
    for slot in tl.static_range(ACTIVE):
        row = rows + (token * ACTIVE + slot) * WIDTH
        total += tl.load(row + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + token * WIDTH + column, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def sum_parts(
    parts, offsets, out, WIDTH: tl.constexpr, EXPERTS: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr
):
    """out[expert] = sum of the parts of its chunks, WIDTH numbers each; zero where an expert has no pair.

    Chunks are numbered as in `locate`. A program owns BLOCK numbers.
    """
    padded: tl.constexpr = triton.next_power_of_2(EXPERTS)
    expert = tl.program_id(0)
    experts = tl.arange(0, padded)
    start = tl.load(offsets + experts, mask=experts < EXPERTS, other=0)
    end = tl.load(offsets + experts + 1, mask=experts < EXPERTS, other=0)
    chunks = (end - start + CHUNK - 1) // CHUNK
    first = tl.reduce(tl.where(experts < expert, chunks, 0), 0, add)
    last = first + tl.reduce(tl.where(experts == expert, chunks, 0), 0, add)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < WIDTH
    total = tl.full((BLOCK,), 0.0, tl.float32)
    part = parts + first.to(tl.int64) * WIDTH
    for _ in range(first, last):
        total += tl.load(part + column, mask=inside, other=0.0)
        part += WIDTH
    tl.store(out + expert.to(tl.int64) * WIDTH + column, total.to(out.dtype.element_ty), mask=inside)
