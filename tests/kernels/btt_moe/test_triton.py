"""The kernels against the reference: outputs and all gradients, by name."""

import re
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from einsearch.kernels.btt_moe import reference
from einsearch.kernels.btt_moe import triton as operators
from einsearch.kernels.btt_moe.dispatch import sort_pairs
from einsearch.kernels.btt_moe.launch import Launch
from einsearch.kernels.btt_moe.triton import btt_moe
from tests.kernels.btt_moe.conftest import Force
from tests.kernels.btt_moe.inputs import SMALL, Case, compared
from tests.kernels.compare import TOLERANCE, assert_close, compare, outputs_and_gradients

pytest.importorskip("triton")

CASES = {
    "base": SMALL,
    "ones": Case(experts=1, active=1, tokens=3, sizes=(1, 1, 1, 1, 1)),
    "all experts": Case(experts=3, active=3, tokens=4, sizes=(2, 3, 3, 2, 1)),
    "wide middle": Case(experts=2, active=1, tokens=4, sizes=(3, 17, 2, 18, 1)),
    "long sums": Case(experts=2, active=2, tokens=3, sizes=(33, 2, 2, 3, 5)),
}

KINDS_AND_CASES = [
    *(("resident", case) for case in CASES),
    ("streamed", "wide middle"),
    ("streamed", "long sums"),
    ("staged", "wide middle"),
    ("staged, streamed", "long sums"),
]


KERNELS = {
    "resident": {"fused_product", "fused_gradient"},
    "streamed": {"fused_product", "fused_gradient"},
    "staged": {"stage_product", "stage_gradient"},
    "staged, streamed": {"stage_product", "stage_gradient"},
}


def reads_again(constants: Mapping[str, int | str]) -> bool:
    """Whether a program reads its slice of the factors again for every block of pairs."""
    if "G" in constants:
        return constants["G"] < constants["GAMMA"] or constants["R"] < constants["RHO"]
    return constants["K"] < (constants["FAR"] * constants["RHO"] if constants["LAST"] else constants["OWN"])


@pytest.mark.parametrize(("kind", "case"), KINDS_AND_CASES)
def test_the_kernels_are_the_reference(kind: str, case: str, force: Force, guarded: list[Launch], device: str) -> None:
    force(kind)
    compared(CASES[case].inputs(device))
    ran = {launched.kernel.__name__ for launched in guarded}
    assert {name for name in ran if not name.startswith("sum")} == KERNELS[kind]
    products = [launched.constants for launched in guarded if "product" in launched.kernel.__name__]
    assert any(reads_again(constants) for constants in products) == ("streamed" in kind)


@pytest.mark.parametrize("kind", ["resident", "staged"])
def test_half_precision(kind: str, force: Force, device: str) -> None:
    force(kind)
    dtypes = [torch.float16, torch.bfloat16] if device == "cuda" else [torch.float16]
    for dtype in dtypes:
        compare(btt_moe, reference.btt_moe, SMALL.inputs(device), dtype=dtype)


def test_an_expert_without_tokens_has_a_gradient_of_zero(device: str) -> None:
    found = compared(SMALL.inputs(device, avoided=0))
    assert not found["gradient of a"][0].any()
    assert not found["gradient of b"][0].any()


@pytest.mark.parametrize("kind", ["resident", "one program a sum", "staged, one program a sum"])
def test_all_tokens_go_to_one_expert(kind: str, force: Force, guarded: list[Launch], device: str) -> None:
    """More pairs than a block of 16: several chunks, or one of several blocks."""
    force(kind)
    inputs = Case(experts=4, active=1, tokens=20, sizes=(2, 3, 3, 2, 1)).inputs(device)
    inputs["expert"].fill_(2)
    compared(inputs)
    sums = [launched.constants for launched in guarded if "N" in launched.constants]
    assert all((constants["CHUNK"] > constants["N"]) == ("one program" in kind) for constants in sums)


def test_gates_of_zero(device: str) -> None:
    """The gradient of a gate does not come from dividing by it."""
    inputs = SMALL.inputs(device)
    with torch.no_grad():
        inputs["gate"][::2] = 0
    found = compared(inputs)
    assert not found["y"][::2].any()
    assert found["gradient of gate"][::2].all()


def test_no_tokens(device: str) -> None:
    inputs = Case(experts=3, active=2, tokens=0, sizes=SMALL.sizes).inputs(device)
    found = outputs_and_gradients(btt_moe, inputs, dtype=torch.float32)
    assert found["y"].shape == (0, 18)
    assert found["gradient of gate"].shape == (0, 2)
    assert not found["gradient of a"].any()


def test_any_strides(device: str) -> None:
    """Every second number of a wider tensor, factors and gates in another order in memory."""
    inputs = SMALL.inputs(device)
    wide = torch.stack([inputs["x"], inputs["x"].flip(1)], 2).flatten(1).detach()
    compared(
        {
            "x": wide[:, ::2].requires_grad_(),
            "a": inputs["a"].detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_(),
            "b": inputs["b"].detach().transpose(2, 3).contiguous().transpose(2, 3).requires_grad_(),
            "gate": inputs["gate"].detach().T.contiguous().T.requires_grad_(),
            "expert": inputs["expert"].T.contiguous().T,
        }
    )


def test_rows_of_a_wider_tensor_leading_dimensions_and_an_expanded_gradient(device: str) -> None:
    inputs = {name: tensor.detach() for name, tensor in SMALL.inputs(device).items()}
    folded = {name: inputs[name][:6].unflatten(0, (2, 3)) for name in ("x", "gate", "expert")}
    found, expected = (
        outputs_and_gradients(
            lambda x, function=function, **rest: {"sum": function(x[..., 3:23], **rest).sum()},
            inputs | folded | {"x": torch.nn.functional.pad(folded["x"], (3, 5)).requires_grad_()},
            dtype=dtype,
        )
        for function, dtype in ((btt_moe, torch.float32), (reference.btt_moe, torch.float64))
    )
    assert_close(found, expected, tolerance=TOLERANCE[torch.float32])


def test_results_repeat_bit_for_bit(device: str) -> None:
    inputs = SMALL.inputs(device)
    first, second = (outputs_and_gradients(btt_moe, inputs, dtype=torch.float32) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def shifted_offsets(expert: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """An off-by-one: every expert begins one pair late."""
    order, offsets = sort_pairs(expert, experts)
    return order, (offsets + 1).clamp(max=order.numel())


def rolled_order(expert: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    order, offsets = sort_pairs(expert, experts)
    return order.roll(1), offsets


def without_gate(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    return operators.run_forward(x, a, b, torch.ones_like(gate), order, offsets)


def next_expert(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    return operators.run_forward(x, a.roll(1, 0), b, gate, order, offsets)


def gate_applied_first(dy: Tensor, *inputs: Tensor) -> list[Tensor]:
    """The gradient of the gate from what was multiplied by it already."""
    *found, dgate = operators.run_backward(dy, *inputs)
    return [*found, dgate * inputs[3]]


def last_pair_forgotten(dy: Tensor, *inputs: Tensor) -> list[Tensor]:
    dx, _, _, dgate = operators.run_backward(dy, *inputs)
    *rest, offsets, wanted = inputs
    _, da, db, _ = operators.run_backward(dy, *rest, offsets.clamp(max=int(offsets.max()) - 1), wanted)
    return [dx, da, db, dgate]


WRONG = [
    ("sort_pairs", shifted_offsets, ["y", "gradient of x", "gradient of a", "gradient of b", "gradient of gate"]),
    ("sort_pairs", rolled_order, ["y", "gradient of x", "gradient of a", "gradient of b", "gradient of gate"]),
    ("run_forward", without_gate, ["y"]),
    ("run_forward", next_expert, ["y"]),
    ("run_backward", gate_applied_first, ["gradient of gate"]),
    ("run_backward", last_pair_forgotten, ["gradient of a", "gradient of b"]),
]


@pytest.mark.parametrize(("name", "wrong", "off"), WRONG, ids=[wrong.__name__ for _, wrong, _ in WRONG])
def test_a_wrong_kernel_is_rejected(
    name: str, wrong: Callable[..., object], off: list[str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(operators, name)

    def once(*inputs: Tensor) -> object:
        monkeypatch.setattr(operators, name, right)
        return wrong(*inputs)

    monkeypatch.setattr(operators, name, once)
    with pytest.raises(AssertionError) as rejected:
        compared(SMALL.inputs(device))
    assert re.findall(r"(?:^|; )(y|gradient of \w+) (?:is off|has)", str(rejected.value)) == off


class NoSynchronization(TorchDispatchMode):
    """Fails where the host would wait for a number from the device."""

    WAITS = (
        "_local_scalar_dense",
        "nonzero",
        "is_nonzero",
        "equal",
        "masked_select",
        "bincount",
        "_unique2",
        "repeat_interleave",
    )

    def __torch_dispatch__(
        self, function: torch._ops.OpOverload, types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        name = function.overloadpacket.__name__
        assert name not in self.WAITS, f"{name} waits for the device"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["resident", "staged"])
def test_the_host_never_waits_for_the_device(kind: str, force: Force, device: str) -> None:
    force(kind)
    inputs = {name: tensor.detach() for name, tensor in SMALL.inputs(device).items()}
    expert = inputs.pop("expert")
    x, a, b, gate = (tensor.to(torch.float32) for tensor in inputs.values())
    with NoSynchronization():
        order, offsets = sort_pairs(expert, a.shape[0])
        y = operators.run_forward(x, a, b, gate, order, offsets)
        operators.run_backward(y, x, a, b, gate, order, offsets, [True] * 4)
    with NoSynchronization(), pytest.raises(AssertionError, match="nonzero waits for the device"):
        reference.btt_moe(x, a, b, gate, expert)
