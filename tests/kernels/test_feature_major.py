"""Operations on feature-major activations against torch's row-major ones: values and gradients by name."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from einsearch.kernels.attention import feature_major as attention
from einsearch.kernels.attention import reference as attention_reference
from einsearch.kernels.norm import feature_major as norm
from einsearch.kernels.norm import reference as norm_reference
from einsearch.kernels.transpose.contiguous import transposed


def values_and_gradients(run: Callable[..., Tensor], **inputs: Tensor) -> dict[str, Tensor]:
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs.items()}
    y = run(*leaves.values())
    weight = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    gradients = torch.autograd.grad((y * weight).sum(), list(leaves.values()))
    return {"y": y.detach()} | dict(zip(leaves, gradients, strict=True))


def check(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("shape", [(16, 5), (3, 8, 7), (2, 3, 4, 5), (1, 1), (5, 1, 3)])
def test_layer_norm(shape: tuple[int, ...]) -> None:
    x = 3 * torch.randn(shape, dtype=torch.float64) + 1
    weight = torch.randn(shape[-2], dtype=torch.float64)
    expected = values_and_gradients(norm_reference.layer_norm, x=x, weight=weight)
    check(values_and_gradients(norm.layer_norm, x=x, weight=weight), expected)


def test_layer_norm_is_differentiable_to_the_last_digit() -> None:
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm.layer_norm, (x, weight))


@pytest.mark.parametrize(("heads", "channels", "sequences", "length"), [(2, 4, 3, 5), (1, 8, 1, 1), (3, 1, 2, 7)])
def test_causal_attention(heads: int, channels: int, sequences: int, length: int) -> None:
    q, k, v = torch.randn(3, heads, channels, sequences * length, dtype=torch.float64)
    runs = [
        lambda q, k, v, f=module.causal_attention: f(q, k, v, sequences, 0.7)
        for module in (attention, attention_reference)
    ]
    found, expected = (values_and_gradients(run, q=q, k=k, v=v) for run in runs)
    check(found, expected)


def test_transposed() -> None:
    x = torch.randn(5, 7, dtype=torch.float64)
    found = values_and_gradients(transposed, x=x)
    check(found, values_and_gradients(lambda x: x.t(), x=x))
    assert found["y"].is_contiguous()
    assert found["x"].is_contiguous()


@pytest.mark.parametrize("name", ["y", "x", "weight"])
def test_the_comparison_rejects_a_wrong_answer(name: str) -> None:
    x, weight = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    expected = values_and_gradients(norm_reference.layer_norm, x=x, weight=weight)
    wrong = expected | {name: expected[name] + 1e-3}
    with pytest.raises(AssertionError, match=f"^{name}: "):
        check(wrong, expected)
