"""The roofline: the longer of two times, and what is measured."""

import torch

from einsearch.bench.place import Place
from einsearch.bench.roofline import Roofline, measure_roofline
from einsearch.bench.work import Work

ROOFLINE = Roofline(flops_per_second=100e9, bytes_per_second=10e9)


def test_arithmetic_bound():
    assert ROOFLINE.seconds(Work(flops=10**12, moved=0, least=10**9)) == 10.0


def test_memory_bound_by_the_least_traffic():
    assert ROOFLINE.seconds(Work(flops=10**9, moved=10**13, least=10**12)) == 100.0


def test_it_is_measured():
    place = Place(device=torch.device("cpu"), dtype=torch.float32)
    with place.settled():
        found = measure_roofline(place, quick=True)
    assert found.flops_per_second > 0
    assert found.bytes_per_second > 0
    assert str(ROOFLINE) == "100.0 GFLOP/s, 10.0 GB/s"
