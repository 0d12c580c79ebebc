"""Mixtures of einsum experts against all experts computed densely and weighted by a matrix of gates."""

import string
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from einsearch.kernels.einsum.reference import einsum_linear
from einsearch.kernels.einsum_moe import grouped, reference
from einsearch.kernels.einsum_moe.reference import Expert, linear_experts
from einsearch.space.einsum import Einsum
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse
from tests.kernels.compare import compare, draw, outputs_and_gradients

Kernel = Callable[[Tensor, list[Tensor], Operator, Tensor, Tensor], Tensor]


def grouped_rows(x: Tensor, factors: list[Tensor], planned: Operator, gate: Tensor, expert: Tensor) -> Tensor:
    experts = linear_experts(factors, planned, einsum_linear)
    return grouped.weighted_sum(x, gate, expert, experts, planned.sizes.padded_out)


def grouped_merged(x: Tensor, factors: list[Tensor], planned: Operator, gate: Tensor, expert: Tensor) -> Tensor:
    experts = grouped.merged_experts(factors, planned)
    return grouped.weighted_sum(x, gate, expert, experts, planned.sizes.padded_out)


KERNELS: dict[str, Kernel] = {
    "reference": reference.einsum_moe,
    "grouped": grouped_rows,
    "grouped merged": grouped_merged,
}

STRUCTURES = {
    "dense": ("dense", 7, 5),
    "btt": ("btt(1/4)", 16, 16),
    "btt-padded": ("btt", 97, 53),
    "low-rank": ("low-rank", 12, 30),
    "kronecker": ("kronecker", 12, 20),
    "generic": ("(.5|.25|.25|.25|.5|.25|.25)", 16, 24),
    "no-contraction": ("(0|0|1|.5|.5|0|0)", 9, 16),
    "chain": ("a,abp,bcpq,cdq->d; a=1, b=1/3, c=1/3, d=1, p=1/4, q=1/4", 16, 8),
}


def all_experts(planned: Operator, gate: Tensor, expert: Tensor) -> Callable[..., Tensor]:
    """The dense computation: every expert's matrix from one einsum string, a gate for every token and expert."""
    left, y_term = planned.einsum.structure.equation().split("->")
    x_term, *terms = left.split(",")
    which = next(letter for letter in string.ascii_letters if letter not in left + y_term)
    text = f"{','.join(which + term for term in terms)}->{which}{x_term}{y_term}"

    def run(x: Tensor, gate: Tensor, **factors: Tensor) -> Tensor:
        matrices = torch.einsum(text, *factors.values())
        matrices = matrices.reshape(len(matrices), planned.sizes.padded_in, planned.sizes.padded_out)
        chosen = expert.unsqueeze(-1) == torch.arange(len(matrices))
        weight = torch.where(chosen, gate.unsqueeze(-1), 0.0).sum(-2)
        return torch.einsum("...e,...i,eio->...o", weight, x, matrices)

    return run


def by_name(kernel: Kernel, planned: Operator, expert: Tensor) -> Callable[..., Tensor]:
    def run(x: Tensor, gate: Tensor, **factors: Tensor) -> Tensor:
        return kernel(x, list(factors.values()), planned, gate, expert)

    return run


def inputs_of(planned: Operator, experts: int, expert: Tensor) -> dict[str, Tensor]:
    shapes = [(experts, *planned.factor_shape(f)) for f in range(planned.einsum.factors)]
    factors = {f"factor {f}": draw(*shape, seed=2 + f) for f, shape in enumerate(shapes)}
    return {
        "x": draw(*expert.shape[:-1], planned.sizes.padded_in, seed=0),
        "gate": draw(*expert.shape, seed=1),
    } | factors


def chosen(shape: tuple[int, ...], experts: int, active: int) -> Tensor:
    """Different experts for each token."""
    return torch.rand(*shape, experts, generator=torch.Generator().manual_seed(3)).topk(active).indices


def check(kernel: Kernel, planned: Operator, experts: int, expert: Tensor, dtype: torch.dtype = torch.float64) -> None:
    inputs = inputs_of(planned, experts, expert)
    expected = all_experts(planned, inputs["gate"], expert)
    compare(
        by_name(kernel, planned, expert), expected, inputs, dtype=dtype, tolerance=1e-3 * (dtype.itemsize == 4) or None
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_named_structures_at_odd_sizes(structure: tuple[str, int, int], kernel: Kernel, dtype: torch.dtype) -> None:
    text, d_in, d_out = structure
    check(kernel, operator(parse(text), d_in, d_out), 5, chosen((3, 7), 5, 2), dtype)


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=15)
@given(
    einsum=...,
    d_in=st.sampled_from([1, 5, 8, 12]),
    d_out=st.sampled_from([1, 6, 9]),
    tokens=st.integers(1, 9),
    active=st.integers(1, 4),
)
def test_random_structures(name: str, einsum: Einsum, d_in: int, d_out: int, tokens: int, active: int) -> None:
    check(KERNELS[name], operator(einsum, d_in, d_out), 4, chosen((tokens,), 4, active))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_all_tokens_on_one_expert(kernel: Kernel) -> None:
    check(kernel, operator(parse("btt"), 16, 9), 6, torch.full((11, 1), 3))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_the_same_expert_in_two_slots(kernel: Kernel) -> None:
    """No router of ours does that; the sum is defined all the same."""
    check(kernel, operator(parse("btt"), 16, 9), 3, torch.tensor([[1, 1], [2, 0], [2, 2]]))


def test_the_comparison_rejects_experts_and_gates_that_are_wrong() -> None:
    planned, expert = operator(parse("btt"), 16, 9), chosen((8,), 4, 2)

    def other_expert(x: Tensor, factors: list[Tensor], planned: Operator, gate: Tensor, expert: Tensor) -> Tensor:
        return grouped_rows(x, factors, planned, gate, (expert + 1) % 4)

    def no_gradient_of_gates(
        x: Tensor, factors: list[Tensor], planned: Operator, gate: Tensor, expert: Tensor
    ) -> Tensor:
        return grouped_rows(x, factors, planned, 2 * gate.detach() - gate + 1e-9 * gate, expert)

    def swapped(x: Tensor, factors: list[Tensor], planned: Operator, gate: Tensor, expert: Tensor) -> Tensor:
        return grouped_rows(x, factors, planned, gate.flip(-1), expert)

    with pytest.raises(AssertionError, match="y is off"):
        check(other_expert, planned, 4, expert)
    with pytest.raises(AssertionError, match="gradient of gate is off"):
        check(no_gradient_of_gates, planned, 4, expert)
    with pytest.raises(AssertionError, match=r"y is off.*gradient of gate is off"):
        check(swapped, planned, 4, expert)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_gradcheck(kernel: Kernel) -> None:
    planned, expert = operator(parse("btt"), 4, 4), chosen((5,), 3, 2)
    inputs = inputs_of(planned, 3, expert)
    run = by_name(kernel, planned, expert)
    assert torch.autograd.gradcheck(
        lambda *tensors: run(**dict(zip(inputs, tensors, strict=True))), (*inputs.values(),)
    )


@pytest.mark.parametrize("weighted_sum", [reference.weighted_sum, grouped.weighted_sum], ids=["reference", "grouped"])
def test_an_expert_without_tokens_is_not_called(weighted_sum: Callable[..., Tensor]) -> None:
    rows: dict[int, int] = {}

    def counting(e: int) -> Expert:
        def run(x: Tensor) -> Tensor:
            rows[e] = len(x)
            return x.repeat(1, 2) * e

        return run

    expert = torch.tensor([[4, 1], [1, 4], [4, 6]])
    x, gate = torch.ones(3, 2), torch.tensor([[1.0, 10.0], [2.0, 3.0], [5.0, 0.5]])
    y = weighted_sum(x, gate, expert, [counting(e) for e in range(8)], 4)
    assert rows == {1: 2, 4: 3, 6: 1}
    torch.testing.assert_close(y, torch.tensor([14.0, 14.0, 23.0])[:, None].expand(3, 4))


@pytest.mark.parametrize("kernel", [reference.einsum_moe, grouped_rows], ids=["reference", "grouped"])
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_torch_counts_the_flops_of_active_experts_alone(structure: tuple[str, int, int], kernel: Kernel) -> None:
    text, d_in, d_out = structure
    planned, expert = operator(parse(text), d_in, d_out), chosen((10,), 6, 3)
    inputs = inputs_of(planned, 6, expert)
    with FlopCounterMode(display=False) as counter:
        by_name(kernel, planned, expert)(**inputs)
    assert counter.get_total_flops() == 2 * 3 * planned.macs * 10


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_without_tokens_there_is_nothing(kernel: Kernel) -> None:
    planned = operator(parse("btt"), 16, 9)
    inputs = inputs_of(planned, 4, torch.empty(2, 0, 2, dtype=torch.int64))
    y = by_name(kernel, planned, torch.empty(2, 0, 2, dtype=torch.int64))(**inputs)
    assert y.shape == (2, 0, 9)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_results_repeat_bit_for_bit(kernel: Kernel) -> None:
    planned, expert = operator(parse("btt"), 16, 9), chosen((50,), 4, 2)
    inputs = {name: tensor.detach().float().requires_grad_() for name, tensor in inputs_of(planned, 4, expert).items()}
    first, second = (outputs_and_gradients(by_name(kernel, planned, expert), inputs) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_low_precision_sums_in_the_dtype_of_the_gates(kernel: Kernel) -> None:
    """Four slots of 1 and 2^-9: bfloat16 would lose what float32 keeps until the sum is done."""
    planned = operator(parse("dense"), 1, 1)
    factor, expert = torch.ones(4, 1, 1, dtype=torch.bfloat16), torch.arange(4)[None]
    gate = torch.tensor([[1.0, 2**-9, 2**-9, 2**-8]])
    y = kernel(torch.ones(1, 1, dtype=torch.bfloat16), [factor], planned, gate, expert)
    assert y.dtype == torch.bfloat16
    assert y.item() == 1 + 2**-7


# torch's compiler looks at `.grad` of what goes from one graph to the next.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_caller_leaves_the_experts_out() -> None:
    """Two graphs, before and after, for any number of tokens an expert has."""
    planned = operator(parse("btt"), 16, 9)
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    def model(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, expert: Tensor) -> Tensor:
        return grouped_rows(2 * x, [a, b], planned, gate, expert).tanh().sum()

    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend)
    for seed in range(4):
        expert = torch.rand(6, 5, generator=torch.Generator().manual_seed(seed)).topk(2).indices
        inputs = list(inputs_of(planned, 5, expert).values())
        given = [inputs[0], *inputs[2:], inputs[1], expert]
        expected, found = (torch.autograd.grad(run(*given), given[:4]) for run in (model, compiled))
        for wanted, gradient in zip(expected, found, strict=True):
            torch.testing.assert_close(gradient, wanted)
    assert 1 <= len(graphs) <= 3
