"""The comparison itself: it accepts what is right and rejects what is wrong, by name."""

import pytest
import torch
from torch import Tensor

from tests.kernels.compare import TOLERANCE, assert_close, compare, draw, outputs_and_gradients


def product(x: Tensor, w: Tensor) -> Tensor:
    return x @ w


def inputs() -> dict[str, Tensor]:
    return {"x": draw(7, 5, seed=0), "w": draw(5, 3, seed=1)}


class WrongGradient(torch.autograd.Function):
    """x w, the gradient of w doubled."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return dy @ w.T, 2 * x.T @ dy


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_what_is_drawn_is_exact_in_every_dtype(dtype: torch.dtype) -> None:
    values = draw(50, 40, seed=3)
    assert torch.equal(values.to(dtype).double(), values)
    assert torch.equal(draw(50, 40, seed=3), values)
    assert not torch.equal(draw(50, 40, seed=4), values)
    assert abs(values.std().item() - 1) < 0.1


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_right_kernel_is_accepted(dtype: torch.dtype) -> None:
    compare(product, product, inputs(), dtype=dtype)


def test_outputs_and_gradients_have_names() -> None:
    found = outputs_and_gradients(lambda x, w: {"y": x @ w, "z": w.exp(), "places": x.argmax(0)}, inputs())
    assert list(found) == ["y", "z", "places", "gradient of x", "gradient of w"]
    assert found["gradient of x"].shape == (7, 5)


def test_an_input_that_wants_no_gradient_has_none() -> None:
    given = inputs() | {"w": draw(5, 3, seed=1).detach()}
    assert list(outputs_and_gradients(product, given)) == ["y", "gradient of x"]


def test_strides_are_kept() -> None:
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(x.stride())
        return 2 * x

    outputs_and_gradients(look, {"x": draw(4, 6, seed=0).T}, dtype=torch.float16)
    assert seen == [(1, 6)]


def test_a_wrong_gradient_is_rejected_by_its_name() -> None:
    with pytest.raises(AssertionError, match=r"^gradient of w is off by .* at \(") as caught:
        compare(WrongGradient.apply, product, inputs(), dtype=torch.float32)
    assert "gradient of x" not in str(caught.value)
    assert "y is off" not in str(caught.value)


def test_a_missing_gradient_is_rejected() -> None:
    with pytest.raises(AssertionError, match="gradient of w is missing"):
        compare(lambda x, w: x @ w.detach(), product, inputs(), dtype=torch.float32)


def test_a_missing_output_is_rejected() -> None:
    with pytest.raises(AssertionError, match="instead of"):
        assert_close({}, {"y": torch.ones(3)}, tolerance=1.0)


def test_one_wrong_element_of_many_is_rejected() -> None:
    right = draw(100, 100, seed=0).detach()
    wrong = right.clone()
    wrong[71, 3] += 0.1
    assert_close({"y": right}, {"y": right}, tolerance=0.0)
    with pytest.raises(AssertionError, match=r"y is off by 0\.1 at \(71, 3\)"):
        assert_close({"y": wrong}, {"y": right}, tolerance=0.05)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_element_that_is_not_finite_is_rejected(value: float) -> None:
    right = draw(4, 4, seed=0).detach()
    wrong = right.clone()
    wrong[1, 2] = value
    with pytest.raises(AssertionError, match="y has 1 of 16 elements that are not finite"):
        assert_close({"y": wrong}, {"y": right}, tolerance=1.0)


def test_another_shape_is_rejected_also_where_it_broadcasts() -> None:
    with pytest.raises(AssertionError, match=r"y has shape \(1, 3\), not \(2, 3\)"):
        assert_close({"y": torch.ones(1, 3)}, {"y": torch.ones(2, 3)}, tolerance=1.0)


def test_another_dtype_is_rejected() -> None:
    with pytest.raises(AssertionError, match=r"not all torch\.float16"):
        compare(lambda x, w: (x @ w).float(), product, inputs(), dtype=torch.float16)


def test_a_tensor_of_zeros_is_exact_or_wrong() -> None:
    zeros = torch.zeros(3)
    assert_close({"y": zeros}, {"y": zeros}, tolerance=0.1)
    with pytest.raises(AssertionError, match="y is off"):
        assert_close({"y": zeros + 1e-30}, {"y": zeros}, tolerance=0.1)


def test_empty_tensors_are_equal() -> None:
    compare(product, product, {"x": draw(0, 5, seed=0), "w": draw(5, 3, seed=1)}, dtype=torch.float32)
