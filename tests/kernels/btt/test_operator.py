"""BTT as an operator of torch: autocast, compile, FLOPs, and where it cannot run."""

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from einsearch.errors import EinsearchError
from einsearch.kernels.btt import reference
from einsearch.kernels.btt.match import matches
from einsearch.kernels.btt.triton import btt, unavailable_because
from einsearch.space.operator import operator
from einsearch.space.parse import parse
from tests.kernels.compare import assert_close, draw, outputs_and_gradients

pytest.importorskip("triton")


def operands(device: str, *leading: int) -> dict[str, Tensor]:
    """alpha 2, gamma 3, epsilon 5, phi 4, rho 2, in float32."""
    shapes = {"x": (*leading, 6), "a": (2, 3, 4, 2), "b": (3, 5, 4, 2)}
    drawn = (draw(*shape, seed=n, dtype=torch.float32, device=device) for n, shape in enumerate(shapes.values()))
    return dict(zip(shapes, drawn, strict=True))


def test_torch_approves_of_the_operator(device: str) -> None:
    torch.library.opcheck(
        torch.ops.einsearch.btt.default,
        tuple(operands(device, 2, 3).values()),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("wanted", [(True, True, True), (False, True, False)])
def test_fake_gradients_are_shaped_as_real_ones(wanted: tuple[bool, ...], device: str) -> None:
    x, a, b = (tensor.detach() for tensor in operands(device, 2, 3).values())
    torch.library.opcheck(
        torch.ops.einsearch.btt_backward.default,
        (btt(x, a, b), x, a, b, list(wanted)),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_compiled_as_one_graph(device: str) -> None:
    def block(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return btt(2 * x, a, b).tanh()

    inputs = operands(device, 4)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    assert_close(outputs_and_gradients(compiled, inputs), outputs_and_gradients(block, inputs), tolerance=0.0)


def test_autocast_casts_the_operands(device: str) -> None:
    inputs = operands(device, 4)

    def under_autocast(**operands: Tensor) -> Tensor:
        with torch.autocast(device, torch.float16):
            return btt(**operands)

    actual = outputs_and_gradients(under_autocast, inputs)
    assert [tensor.dtype for tensor in actual.values()] == [torch.float16, *[torch.float32] * 3]
    expected = outputs_and_gradients(btt, inputs, dtype=torch.float16)
    assert_close(actual, expected, tolerance=0.0)


def test_a_second_derivative_is_refused(device: str) -> None:
    x, a, b = operands(device, 4).values()
    (dx,) = torch.autograd.grad(btt(x, a, b).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        torch.autograd.grad(dx.sum(), x)


@pytest.mark.parametrize("text", ["btt", "btt(1/4)", "low-rank(1/4)", "(0.25|0|0.75|0|0.75|0.25|0.25)"])
def test_flops_are_the_macs_of_the_operator(text: str, device: str) -> None:
    planned = operator(parse(text), 16, 36)
    match = matches(planned)
    assert match is not None
    factors = [draw(*planned.factor_shape(f), seed=f, dtype=torch.float32, device=device) for f in range(2)]
    x = draw(2, 3, 16, seed=2, dtype=torch.float32, device=device)
    with FlopCounterMode(display=False) as counter:
        y = btt(x, *match.factors(factors))
    assert counter.get_total_flops() == 2 * planned.macs * 6
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() == 4 * planned.macs * 6
    with FlopCounterMode(display=False) as counter:
        reference.btt(x, *match.factors(factors))
    assert counter.get_total_flops() == 2 * planned.macs * 6


def test_flops_of_the_gradients_that_are_wanted(device: str) -> None:
    x, a, b = (tensor.detach() for tensor in operands(device, 6).values())
    y = btt(x, a.requires_grad_(), b)
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() == 2 * 6 * a.numel()


SHAPES: list[tuple[dict[str, tuple[int, ...]], str]] = [
    ({"x": (4, 7)}, r"x has shape (4, 7); its last axis must be alpha * gamma = 2 * 3 = 6"),
    ({"x": ()}, r"x has shape (); its last axis must be alpha * gamma = 2 * 3 = 6"),
    ({"a": (2, 3, 4)}, "a has 3 axes, b 4; give a as (alpha, gamma, phi, rho), b as (gamma, epsilon, phi, rho)"),
    (
        {"b": (3, 5, 4, 1)},
        "b has shape (3, 5, 4, 1), but a of shape (2, 3, 4, 2) asks for gamma 3, phi 4 and rho 2: (3, epsilon, 4, 2)",
    ),
    (
        {"b": (3, 0, 4, 2)},
        "a has shape (2, 3, 4, 2), b (3, 0, 4, 2); every size of a factor is at least 1",
    ),
]


@pytest.mark.parametrize(("changed", "message"), SHAPES)
def test_shapes_that_do_not_fit_are_named(changed: dict[str, tuple[int, ...]], message: str, device: str) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in operands(device, 4).items()} | changed
    with pytest.raises(EinsearchError) as caught:
        btt(**{name: torch.zeros(shape, device=device) for name, shape in shapes.items()})
    assert str(caught.value) == message


def test_operands_of_several_dtypes_are_named(device: str) -> None:
    x, a, b = operands(device, 4).values()
    with pytest.raises(
        EinsearchError, match=r"^x is float16, a float32, b float32; the btt kernel takes one dtype: conv"
    ):
        btt(x.half(), a, b)


def test_an_unsupported_dtype_is_named(device: str) -> None:
    message = "the btt kernel takes bfloat16, float16, float32, not float64; convert, or use another implementation"
    assert unavailable_because(device, torch.float64) == message
    with pytest.raises(EinsearchError) as caught:
        btt(*(tensor.double() for tensor in operands(device, 4).values()))
    assert str(caught.value) == message


def test_a_cpu_is_refused_outside_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    message = (
        "the btt kernel runs on a CUDA device, and on a CPU only in Triton's interpreter, for tests: "
        "use another implementation, or set TRITON_INTERPRET=1"
    )
    assert unavailable_because("cpu", torch.float32) == message
    with pytest.raises(EinsearchError) as caught:
        btt(*operands("cpu", 4).values())
    assert str(caught.value) == message


def test_other_reasons_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unavailable_because("meta", torch.float32) == (
        "the btt kernel runs on a CUDA device, not on meta; use another implementation"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert unavailable_because("cuda", torch.float32) == (
        "the btt kernel runs on a CUDA device, and there is none; use another implementation"
    )
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert unavailable_because("cpu", torch.bfloat16) == (
        "Triton's interpreter computes bfloat16 products wrongly; use float16 or float32 there"
    )
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "triton" else find(name, *rest)
    )
    assert unavailable_because("cpu", torch.float32) == (
        "the btt kernel needs Triton, which is not installed; pip install triton"
    )


@pytest.mark.parametrize(("capability", "available"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_old_gpus_are_refused(capability: Any, available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    reason = unavailable_because("cuda:0", torch.bfloat16)
    assert reason == (
        None if available else "the btt kernel needs compute capability 8.0, cuda:0 has 7.5; use another implementation"
    )
