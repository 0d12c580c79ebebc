"""The operators of torch around the kernels: its rules, compilation, autocast, FLOPs, and what is refused."""

import importlib.util

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from einsearch.errors import EinsearchError
from einsearch.kernels.btt_moe import reference
from einsearch.kernels.btt_moe import triton as operators
from einsearch.kernels.btt_moe.dispatch import sort_pairs
from einsearch.kernels.btt_moe.triton import btt_moe, unavailable_because
from tests.kernels.btt_moe.inputs import SMALL, compared
from tests.kernels.compare import assert_close, outputs_and_gradients

pytest.importorskip("triton")


def test_the_operators_keep_torchs_rules(device: str) -> None:
    """Schema, shapes without data, autograd: what torch checks of an operator."""
    inputs = {name: tensor.detach() for name, tensor in SMALL.inputs(device).items()}
    order, offsets = sort_pairs(inputs.pop("expert"), 3)
    x, a, b, gate = (tensor.to(torch.float32).requires_grad_() for tensor in inputs.values())
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.einsearch.btt_moe.default, (x, a, b, gate, order, offsets), test_utils=tests)
    rest = (*(tensor.detach() for tensor in (x, a, b, gate)), order, offsets, [True] * 4)
    dy = torch.ones(7, 18, device=device)
    torch.library.opcheck(torch.ops.einsearch.btt_moe_backward.default, (dy, *rest), test_utils=tests)


def test_under_compile(device: str) -> None:
    inputs = SMALL.inputs(device)
    traced = torch.compile(btt_moe, backend="aot_eager", fullgraph=True)
    found, expected = (outputs_and_gradients(f, inputs, dtype=torch.float32) for f in (traced, btt_moe))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_under_autocast(device: str) -> None:
    """Products in float16; gates and gradients keep their dtype."""
    inputs = SMALL.inputs(device)

    def autocast(**given: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.float16):
            return btt_moe(**given)

    found = outputs_and_gradients(autocast, inputs, dtype=torch.float32)
    assert {name: tensor.dtype for name, tensor in found.items() if tensor.dtype != torch.float32} == {
        "y": torch.float16
    }
    assert_close(found, outputs_and_gradients(reference.btt_moe, inputs), tolerance=1e-2)


@pytest.mark.parametrize("wanted", ["x", "a", "b", "gate"])
def test_only_what_is_wanted_is_computed(wanted: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    right = operators.run_backward

    def noted(*inputs: object) -> list[Tensor]:
        asked.append(inputs[-1])
        return right(*inputs)

    monkeypatch.setattr(operators, "run_backward", noted)
    inputs = {name: tensor.detach() for name, tensor in SMALL.inputs(device).items()}
    inputs[wanted].requires_grad_()
    compared(inputs)
    assert asked == [[name == wanted for name in ("x", "a", "b", "gate")]]


def test_flops_are_those_of_the_active_experts() -> None:
    """2 FLOPs a MAC; 7 tokens, 2 experts each, 4 * 5 * 6 + 5 * 3 * 6 MACs an expert; backward twice that."""
    inputs = {name: tensor.detach() for name, tensor in SMALL.inputs("meta").items()}
    rows = {name: inputs[name].to(torch.float32).requires_grad_() for name in ("x", "a", "b", "gate")}
    expected = 2 * 7 * 2 * (4 * 5 * 6 + 5 * 3 * 6)
    with FlopCounterMode(display=False) as counter:
        y = btt_moe(**rows, expert=inputs["expert"])
        assert counter.get_total_flops() == expected
        y.sum().backward()
    assert counter.get_total_flops() == 3 * expected


@pytest.mark.parametrize(("wanted", "macs"), [("x", 210), ("gate", 210), ("a", 120), ("b", 90)])
def test_flops_of_a_gradient_alone(wanted: str, macs: int) -> None:
    inputs = {name: tensor.detach() for name, tensor in SMALL.inputs("meta").items()}
    inputs[wanted].requires_grad_()
    y = btt_moe(**inputs)
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() == 2 * 14 * macs


BAD = [
    ({"a": (3, 4, 5, 6)}, r"a has shape \(3, 4, 5, 6\) .*must be \(experts, alpha, gamma, phi, rho\)"),
    ({"b": (3, 5, 3, 6, 2)}, r"b has shape \(3, 5, 3, 6, 2\).*it must be \(3, 5, epsilon, 6, 1\)"),
    ({"b": (3, 5, 0, 6, 1)}, "every size must be at least 1"),
    ({"x": (7, 21)}, r"x has shape \(7, 21\); its last size must be alpha \* gamma = 4 \* 5 = 20"),
    ({"gate": (7, 1)}, r"gate has shape \(7, 1\) and expert \(7, 2\); both must be \(7, active\)"),
    ({"x": (6, 20)}, r"both must be \(6, active\), one row for each of x"),
    ({"gate": (7, 4), "expert": (7, 4)}, "4 active experts of 3; the last size of gate must be 1 to 3"),
]


@pytest.mark.parametrize(("shapes", "message"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], message: str, device: str) -> None:
    inputs = SMALL.inputs(device)
    given = {name: inputs[name].new_zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(EinsearchError, match=message):
        btt_moe(**(inputs | given))


def test_dtypes_and_devices_that_do_not_fit(device: str) -> None:
    inputs = SMALL.inputs(device)
    with pytest.raises(EinsearchError, match=r"float16 or float32, not torch\.float64; convert"):
        btt_moe(**inputs)
    single = {name: tensor.to(torch.float32) for name, tensor in inputs.items()}
    with pytest.raises(
        EinsearchError, match=r"expert has dtype torch\.float32 and gate torch\.float32; they must be int64"
    ):
        btt_moe(**single)
    with pytest.raises(
        EinsearchError, match=r"x, a and b have dtypes torch\.float32, torch\.float64, torch\.float64, not one"
    ):
        btt_moe(**(inputs | {"x": single["x"]}))
    with pytest.raises(EinsearchError, match=r"tensors on .*meta.*; move them to one device"):
        btt_moe(**(inputs | {"a": inputs["a"].to("meta")}))


def test_where_it_is_available(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unavailable_because(device, torch.float16) is None
    assert unavailable_because(torch.device(device), torch.float32) is None
    assert "not on meta; use the reference" in str(unavailable_because("meta", torch.float32))
    assert "not torch.int8" in str(unavailable_because(device, torch.int8))
    if device == "cpu":
        assert "bfloat16 products wrongly" in str(unavailable_because("cpu", torch.bfloat16))
    find = importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "triton" else find(name, *rest))
        assert "needs Triton, which is not installed; pip install triton" in str(
            unavailable_because(device, torch.float32)
        )
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "set TRITON_INTERPRET=1" in str(unavailable_because("cpu", torch.float32))
