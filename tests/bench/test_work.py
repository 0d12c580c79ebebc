"""FLOPs and bytes of a layer, against hand counts and torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from einsearch.bench.work import dense_work, merged_work, merging_macs, planned_work, smallest_dimension
from einsearch.kernels.einsum import merged
from einsearch.layers.linear import EinsumLinear
from einsearch.space.operator import operator
from einsearch.space.parse import parse

BTT = operator(parse("btt"), 256, 256)
"""Two factors of 16 blocks of 16 x 16: 8,192 parameters and MACs; one copy, of y."""


def test_dense_by_hand():
    forward = dense_work(3, 5, 7, 4, backward=False)
    assert forward.flops == 2 * 7 * 3 * 5
    assert forward.moved == forward.least == 4 * (7 * 3 + 3 * 5 + 7 * 5)
    both = dense_work(3, 5, 7, 4, backward=True)
    assert both.flops == 3 * forward.flops
    # y = x W, dx = dy W', dW = x' dy: each reads two and writes one.
    assert both.moved == 4 * 3 * (21 + 15 + 35)
    # forward x W y, backward x W dy dx dW.
    assert both.least == 4 * (3 * 21 + 3 * 15 + 2 * 35)


def test_btt_by_hand():
    tokens, parameters, rows = 10, 2 * 16**3, 10 * 256
    forward = planned_work(BTT, tokens, 4, backward=False)
    assert forward.flops == 2 * tokens * 2 * 16**3
    # x, z, z again, y, and y read and written by the copy.
    assert forward.moved == 4 * (6 * rows + parameters)
    assert forward.least == 4 * (2 * rows + parameters)
    both = planned_work(BTT, tokens, 4, backward=True)
    assert both.flops == 3 * forward.flops
    assert both.moved == 4 * (3 * (4 * rows + parameters) + 2 * 2 * rows)
    assert both.least == 4 * (5 * rows + 3 * parameters)


def test_numbers_of_two_bytes_move_half():
    for backward in (False, True):
        single, half = (planned_work(BTT, 10, size, backward=backward) for size in (4, 2))
        assert (half.moved, half.least, half.flops) == (single.moved // 2, single.least // 2, single.flops)


def test_merged_by_hand():
    forward = merged_work(BTT, 10, 4, backward=False)
    # The matrix has 16 x 16 x 16 x 16 entries, each one product of two entries.
    assert forward.flops == 2 * (16**4 + 10 * 256 * 256)
    assert forward.moved == 4 * (8192 + 2 * 256 * 256 + 10 * 512)
    assert forward.least == planned_work(BTT, 10, 4, backward=False).least
    assert merged_work(BTT, 10, 4, backward=True).flops == 3 * forward.flops


def test_merged_counts_padding():
    padded = operator(parse("btt"), 17, 17)
    assert padded.padded
    size = padded.sizes.padded_in * padded.sizes.padded_out
    assert merged_work(padded, 10, 4, backward=False).flops == 2 * (merging_macs(padded) + 10 * size)


@pytest.mark.parametrize("text", ["low-rank", "btt(1/4)", "tensor-train", "low-rank(1/2, factors=3)", "dense"])
def test_the_flops_are_those_that_torch_counts(text):
    layer = EinsumLinear(64, 64, text, bias=False, normalize=False, implementation="reference")
    x = torch.randn(10, 64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    assert counter.get_total_flops() == planned_work(layer.operator, 10, 4, backward=True).flops


@pytest.mark.parametrize("text", ["low-rank", "tensor-train", "kronecker"])
def test_the_macs_of_merging_two_factors_are_those_that_torch_counts(text):
    factored = operator(parse(text), 64, 64)
    with FlopCounterMode(display=False) as counter:
        merged.dense_matrix([torch.randn(factored.factor_shape(f)) for f in range(2)], factored)
    assert counter.get_total_flops() in (2 * merging_macs(factored), 0)  # an outer product may be no matrix product


def test_a_single_factor_is_merged_already():
    assert merging_macs(operator(parse("dense"), 8, 8)) == 0


def test_smallest_dimensions():
    assert smallest_dimension(BTT, 4096) == 16
    assert smallest_dimension(operator(parse("low-rank(1/4)"), 512, 512), 4096) == 5
    assert smallest_dimension(BTT, 3) == 3
