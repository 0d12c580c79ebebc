"""An implementation that computes something else is refused by name; what is only rounded differently is not."""

import pytest
import torch

from einsearch.bench.agreement import TOLERANCE, require_agreement
from einsearch.errors import EinsearchError


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {"y": torch.randn(50, 40, generator=generator), "gradient of x": torch.randn(30, generator=generator)}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_rounding_is_allowed(dtype):
    found = {name: tensor.to(dtype) for name, tensor in tensors().items()}
    require_agreement("it", found, tensors(), TOLERANCE[dtype])


def wrong(name, change):
    found = tensors()
    change(found[name])
    return found


@pytest.mark.parametrize("name", ["y", "gradient of x"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.mul_(1.1), "is off by"),
        (lambda t: t.view(-1)[3].add_(5), "is off by"),
        (lambda t: t.view(-1)[3].fill_(float("nan")), "is not finite"),
        (lambda t: t.view(-1)[3].fill_(float("inf")), "is not finite"),
        (lambda t: t.zero_(), "is off by"),
    ],
)
def test_wrong_answers_are_refused(name, dtype, change, message):
    with pytest.raises(
        EinsearchError, match=f"^it computes something else than the reference: {name} {message}.*; it "
    ):
        require_agreement("it", wrong(name, change), tensors(), TOLERANCE[dtype])


def test_one_wrong_element_of_many_is_refused():
    found = wrong("y", lambda t: t[17, 3].add_(1.5))
    with pytest.raises(EinsearchError, match=r"y is off by 1\.5 in one element"):
        require_agreement("it", found, tensors(), TOLERANCE[torch.bfloat16])


def test_other_shapes_and_names_are_refused():
    with pytest.raises(EinsearchError, match=r"y has shape \(40, 50\), not \(50, 40\)"):
        require_agreement("it", tensors() | {"y": tensors()["y"].t()}, tensors(), 1.0)
    with pytest.raises(EinsearchError, match=r"^it gives y instead of y, gradient of x; it is not timed$"):
        require_agreement("it", {"y": tensors()["y"]}, tensors(), 1.0)


def test_the_floor_is_the_least_scale():
    small = {"y": torch.full((10,), 1e-6)}
    require_agreement("it", {"y": torch.zeros(10)}, small, 1e-3, floor=1.0)
    with pytest.raises(EinsearchError, match="y is off by"):
        require_agreement("it", {"y": torch.zeros(10)}, small, 1e-3)
