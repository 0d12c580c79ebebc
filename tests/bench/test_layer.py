"""Layers are timed only where they compute what the reference computes."""

import pytest
import torch

from einsearch.bench.cases import DENSE, LINEAR, Case, ways
from einsearch.bench.layer import PASSES, time_case
from einsearch.bench.place import Place
from einsearch.bench.roofline import Roofline
from einsearch.bench.rows import rows_of
from einsearch.errors import EinsearchError
from einsearch.kernels.einsum import reference
from einsearch.layers.implementations import IMPLEMENTATIONS, Implementation

NAMES = ("reference", "feature-major", "merged")
CPU = Place(device=torch.device("cpu"), dtype=torch.float32)


def case(*layers: str, d: int = 18, tokens: int = 7) -> Case:
    return Case(layers=layers or ("btt",), d=d, tokens=tokens)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_way_of_every_layer_is_timed(dtype):
    """At a width that is padded, with a structure of three factors too."""
    place = Place(device=torch.device("cpu"), dtype=dtype)
    chosen = case("btt(1/4)", "kronecker", "low-rank(1/2, factors=3)", d=17)
    result = time_case(chosen, place, NAMES, repeats=2)
    assert result.refused == {}
    for passes in PASSES:
        found = [(each.layer, each.way) for each in result.timed if each.passes == passes]
        assert found == [(None, LINEAR), (None, DENSE)] + [(text, way) for text in chosen.layers for way in ways(NAMES)]
    assert all(len(each.times.seconds) == 2 for each in result.timed)


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1.01


def twice(x, factors, operator):
    return 2 * reference.einsum_linear(x, factors, operator)


def one_row_wrong(x, factors, operator):
    y = reference.einsum_linear(x, factors, operator)
    return torch.cat([y[:-1], y[:1]])


def wrong_backward(x, factors, operator):
    return _WrongGradient.apply(reference.einsum_linear(x, factors, operator))


def no_gradient_of_the_first_factor(x, factors, operator):
    return reference.einsum_linear(x, [0 * factors[0] + factors[0].detach(), *factors[1:]], operator)


@pytest.mark.parametrize(
    ("product", "name"),
    [
        (twice, "y"),
        (one_row_wrong, "y"),
        (wrong_backward, "gradient of x"),
        (no_gradient_of_the_first_factor, r"gradient of factors\.0"),
    ],
)
def test_a_wrong_implementation_is_never_timed(monkeypatch, product, name):
    monkeypatch.setitem(IMPLEMENTATIONS, "wrong", Implementation(row_major=product))
    message = (
        rf"^wrong, row-major of btt at d 18, 7 tokens computes something else than the reference: {name} .* not timed$"
    )
    with pytest.raises(EinsearchError, match=message):
        time_case(case(), CPU, ["wrong"], repeats=1)


def test_a_wrong_feature_major_implementation_is_never_timed(monkeypatch):
    def rows_reversed(x, factors, operator):
        return reference.einsum_linear(x.t(), factors, operator).t().flip(0)

    monkeypatch.setitem(IMPLEMENTATIONS, "wrong", Implementation(feature_major=rows_reversed))
    with pytest.raises(EinsearchError, match=r"^wrong, feature-major of btt at d 18, 7 tokens .*: y is off by"):
        time_case(case(), CPU, ["wrong"], repeats=1)


def test_what_is_refused_is_left_out_with_its_reason(monkeypatch):
    def refuses(operator, device, dtype):
        return "it needs three factors" if operator.einsum.factors != 3 else None

    picky = Implementation(row_major=reference.einsum_linear, refuses=refuses)
    monkeypatch.setitem(IMPLEMENTATIONS, "picky", picky)
    chosen = case("btt", "low-rank(1/2, factors=3)")
    result = time_case(chosen, CPU, ["picky"], repeats=1)
    (way,) = ways(["picky"])
    assert result.refused == {("btt", way): "it needs three factors"}
    rows = {(row.layer.text if row.layer else None, row.passes): row for row in rows_of([result], ROOFLINE, ["picky"])}
    refused = rows["btt", "forward"]
    assert (refused.speed, refused.refused) == (None, "it needs three factors")
    assert rows["low-rank(1/2, factors=3)", "forward"].speed is not None


ROOFLINE = Roofline(flops_per_second=1e12, bytes_per_second=1e12)


def test_rows_by_hand():
    result = time_case(case(d=16, tokens=8), CPU, NAMES, repeats=3)
    rows = list(rows_of([result], ROOFLINE, NAMES))
    assert len(rows) == 2 * (2 + 5)
    for row in rows:
        speed = row.speed
        assert speed is not None
        median = sorted(speed.seconds)[1]
        assert speed.milliseconds == pytest.approx(1e3 * median)
        assert speed.flops_per_second == pytest.approx(speed.flops / median)
        assert speed.bytes_per_second == pytest.approx(speed.bytes_moved / median)
        assert speed.roofline_fraction == pytest.approx(max(speed.flops, speed.bytes_least) / 1e12 / median)
        dense = 2 * 8 * 16 * 16 * (1 if row.passes == "forward" else 3)
        assert speed.relative_flops_per_second == pytest.approx(speed.speedup * speed.flops / dense)
        if row.way == LINEAR:
            assert (speed.speedup, speed.flops) == (1.0, dense)
    btt = next(row.layer for row in rows if row.layer)
    assert (btt.text, btt.sizes, btt.nu, btt.smallest) == ("btt", "a4 g4 e4 f4", "0.5", 4)


def test_threads_are_as_before_afterwards():
    before = torch.get_num_threads()
    with Place(device=torch.device("cpu"), dtype=torch.float32, threads=2).settled():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before
