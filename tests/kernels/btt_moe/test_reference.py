"""The reference against one einsum over every expert with a matrix of gates, as float64 NumPy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from einsearch.kernels.btt_moe import reference
from tests.kernels.btt_moe.inputs import SMALL, Case


def dense_by_numpy(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, expert: Tensor) -> np.ndarray:
    """Every expert is computed for every token; the gate of an expert that was not chosen is zero."""
    gates = np.zeros((x.shape[0], a.shape[0]))
    np.add.at(gates, (np.arange(x.shape[0])[:, None], expert.numpy()), gate.detach().numpy())
    x_NAG = x.detach().numpy().reshape(-1, *a.shape[1:3])
    y = np.einsum("nag,xagfr,xgefr,nx->nef", x_NAG, a.detach().numpy(), b.detach().numpy(), gates, optimize=True)
    return y.reshape(x.shape[0], -1)


CASES = [
    SMALL,
    Case(experts=4, active=4, tokens=5, sizes=(2, 3, 4, 2, 3)),
    Case(experts=5, active=1, tokens=9, sizes=(1, 6, 1, 4, 2)),
    Case(experts=2, active=1, tokens=1, sizes=(1, 1, 1, 1, 1)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_the_einsum_over_all_experts(case: Case) -> None:
    inputs = case.inputs()
    y = reference.btt_moe(**inputs)
    torch.testing.assert_close(y.detach(), torch.from_numpy(dense_by_numpy(**inputs)))


def test_leading_dimensions_are_kept() -> None:
    inputs = SMALL.inputs()
    y = reference.btt_moe(**inputs)
    rows = ("x", "gate", "expert")
    folded = inputs | {name: inputs[name][:6].unflatten(0, (2, 3)) for name in rows}
    assert torch.equal(reference.btt_moe(**folded), y[:6].unflatten(0, (2, 3)))


def test_an_expert_without_tokens_and_no_tokens_at_all() -> None:
    inputs = SMALL.inputs(avoided=1)
    reference.btt_moe(**inputs).square().sum().backward()
    assert not inputs["a"].grad[1].any()
    assert inputs["a"].grad[0].any()
    empty = {name: tensor[:0] if name in ("x", "gate", "expert") else tensor for name, tensor in inputs.items()}
    assert reference.btt_moe(**empty).shape == (0, 18)


def test_its_gradients() -> None:
    inputs = Case(experts=3, active=2, tokens=4, sizes=(2, 3, 2, 2, 2)).inputs()
    expert = inputs.pop("expert")
    assert torch.autograd.gradcheck(lambda *given: reference.btt_moe(*given, expert), tuple(inputs.values()))
