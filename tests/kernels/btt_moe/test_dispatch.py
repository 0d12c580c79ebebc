"""Pairs sorted by expert, and the chunks that the kernels cut them into."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from einsearch.kernels.btt_moe.dispatch import Routing, sort_pairs


@given(chosen=st.lists(st.integers(0, 6), max_size=40), active=st.integers(1, 3))
def test_pairs_of_one_expert_stand_together_in_the_order_of_the_tokens(chosen: list[int], active: int) -> None:
    chosen = chosen[: len(chosen) // active * active]
    expert = torch.tensor(chosen, dtype=torch.int64).reshape(-1, active)
    order, offsets = sort_pairs(expert, 7)
    assert offsets.shape == (8,)
    assert (offsets[0], offsets[-1]) == (0, len(chosen))
    for e in range(7):
        own = order[offsets[e] : offsets[e + 1]].tolist()
        assert own == [pair for pair, choice in enumerate(chosen) if choice == e]


@pytest.mark.parametrize("experts", [1, 2, 255, 256, 257, 1000])
def test_any_number_of_experts(experts: int) -> None:
    expert = torch.arange(experts).flip(0).repeat(2).reshape(-1, 1)
    order, offsets = sort_pairs(expert, experts)
    assert torch.equal(offsets, torch.arange(0, 2 * experts + 1, 2, dtype=torch.int32))
    assert torch.equal(expert.flatten()[order], torch.arange(experts).repeat_interleave(2))


def chunks(offsets: list[int], chunk: int) -> Iterator[tuple[int, int, int]]:
    """(expert, first, last) of every chunk, as a person would cut them."""
    for expert, (start, end) in enumerate(pairwise(offsets)):
        for first in range(start, end, chunk):
            yield expert, first, min(first + chunk, end)


def located(offsets: Tensor, chunk: int, programs: int) -> list[tuple[int, int, int]]:
    triton = pytest.importorskip("triton")
    import triton.language as tl

    from einsearch.kernels.btt_moe.pieces import locate

    @triton.jit
    def kernel(offsets, out, locate: tl.constexpr, EXPERTS: tl.constexpr, CHUNK: tl.constexpr):
        expert, first, last = locate(offsets, tl.program_id(0), EXPERTS, CHUNK)
        out += tl.program_id(0) * 3
        tl.store(out, expert)
        tl.store(out + 1, first)
        tl.store(out + 2, last)

    out = torch.empty(programs, 3, dtype=torch.int32, device=offsets.device)
    kernel[(programs,)](offsets, out, locate, EXPERTS=offsets.numel() - 1, CHUNK=chunk)
    return [tuple(row) for row in out.tolist()]


@pytest.mark.parametrize("counts", [[5], [0, 5, 0, 0, 4, 1, 0], [0, 0, 0], [8] * 4, [1] * 17], ids=str)
def test_every_chunk_is_found_once_and_programs_past_the_last_have_none(counts: list[int], device: str) -> None:
    offsets = [0, *torch.tensor(counts).cumsum(0).tolist()]
    on_device = torch.tensor(offsets, dtype=torch.int32, device=device)
    expected = list(chunks(offsets, 4))
    found = located(on_device, 4, len(expected) + 2)
    assert found[: len(expected)] == expected
    assert [expert for expert, _, _ in found[len(expected) :]] == [len(counts)] * 2


@settings(max_examples=100)
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=8), chunk=st.sampled_from([1, 2, 16]))
def test_the_grid_holds_every_chunk_and_is_full_in_the_worst_case(counts: list[int], chunk: int) -> None:
    offsets = torch.tensor([0, *counts]).cumsum(0)
    pairs = int(offsets[-1])
    routing = Routing(gate=torch.empty(pairs, 1), order=torch.arange(pairs), offsets=offsets)
    assert len(list(chunks(offsets.tolist(), chunk))) <= routing.most_chunks(chunk)
    # One pair more than a multiple of the chunk for every expert is the worst that can be.
    worst = [0, *torch.tensor([count // chunk * chunk + 1 for count in counts]).cumsum(0).tolist()]
    routing = Routing(gate=torch.empty(worst[-1], 1), order=torch.arange(worst[-1]), offsets=offsets)
    assert len(list(chunks(worst, chunk))) == routing.most_chunks(chunk)
