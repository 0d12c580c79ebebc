"""EinsumLinear against float64 einsums built from the string alone: outputs, gradients and rules."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS
from einsearch.layers.linear import EinsumLinear
from einsearch.space.einsum import Einsum
from einsearch.space.operator import operator
from einsearch.space.parse import parse

ON_CPU = [
    name
    for name, each in IMPLEMENTATIONS.items()
    if each.refuses(operator(parse("btt"), 16, 16), torch.device("cpu"), torch.float64) is None
]
"""The implementations that compute float64 on a CPU: all but those for GPUs."""

STRUCTURES = {
    "dense": "dense",
    "btt": "btt(1/4)",
    "low-rank": "low-rank",
    "kronecker": "kronecker",
    "generic": "(.5|.25|.25|.25|.5|.25|.25)",
    "no-contraction": "(0|0|1|.5|.5|0|0)",
    "chain": "a,abp,bcpq,cdq->d; a=1, b=1/3, c=1/3, d=1, p=1/4, q=1/4",
}


def expected_product(layer: EinsumLinear, x: Tensor, named: dict[str, Tensor]) -> Tensor:
    """One einsum over all operands, in the order of its string, with padding and normalization spelled out."""
    structure, sizes = layer.operator.einsum, layer.operator.sizes
    size = {structure.structure.letters()[index]: n for index, n in sizes.of}
    left, y_term = structure.structure.equation().split("->")
    x_term, *terms = left.split(",")
    factors = []
    for f, term in enumerate(terms):
        factor = named[f"factors.{f}"]
        assert factor.shape == torch.Size([size[name] for name in term])
        if layer.normalize:
            rms = factor.square().mean().sqrt()
            factor = factor / torch.maximum(rms / layer.std[f], torch.ones_like(rms))
            factor = factor * named["gain"][f] if "gain" in named else factor
        factors.append(factor)
    padded = torch.cat([x, x.new_zeros(*x.shape[:-1], sizes.padded_in - layer.in_features)], dim=-1)
    operand = padded.reshape(*x.shape[:-1], *(size[name] for name in x_term))
    y = torch.einsum(f"...{x_term},{','.join(terms)}->...{y_term}", operand, *factors)
    y = y.reshape(*x.shape[:-1], sizes.padded_out)[..., : layer.out_features]
    return y + named["bias"] if "bias" in named else y


Run = Callable[[Tensor, dict[str, Tensor]], Tensor]


def output_and_gradients(run: Run, x: Tensor, named: dict[str, Tensor]) -> dict[str, Tensor]:
    """y, and the gradients of a fixed random functional of it with respect to x and every parameter."""
    leaves = {"x": x, **named}
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in leaves.items()}
    y = run(leaves["x"], {name: leaf for name, leaf in leaves.items() if name != "x"})
    weight = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    gradients = torch.autograd.grad((y * weight).sum(), list(leaves.values()))
    return {"y": y.detach()} | dict(zip(leaves, gradients, strict=True))


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-9) -> None:
    """Every tensor by name, relative to the largest entry expected."""
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        found = actual[name]
        assert found.shape == wanted.shape, name
        error = (found - wanted).abs().max() if wanted.numel() else torch.zeros(())
        bound = tolerance * max(1.0, float(wanted.abs().max()) if wanted.numel() else 1.0)
        # Not `error > bound`: a NaN must fail.
        assert error <= bound, f"{name} is off by {error}, more than {bound}"


def check_against_expected(layer: EinsumLinear, rows: int = 3) -> None:
    named = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    x = torch.randn(2, rows, layer.in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    actual = output_and_gradients(lambda x, p: torch.func.functional_call(layer, p, (x,)), x, named)
    expected = output_and_gradients(lambda x, p: expected_product(layer, x, p), x, named)
    assert set(actual) == {"y", "x", *named}
    assert_same(actual, expected)


def scrambled(layer: EinsumLinear, seed: int = 0) -> EinsumLinear:
    """Away from the start: some factors above their std, some below, gains and bias anything."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, parameter in enumerate(layer.parameters()):
            parameter.normal_(0.1, 2.0 if n % 2 else 0.05, generator=generator)
    return layer


@pytest.mark.parametrize("implementation", ON_CPU)
@settings(max_examples=60)
@given(
    einsum=...,
    d_in=st.sampled_from([1, 5, 8, 12, 17]),
    d_out=st.sampled_from([1, 6, 9, 13]),
    normalize=...,
    gain=...,
)
def test_random_structures(
    implementation: str, einsum: Einsum, d_in: int, d_out: int, normalize: bool, gain: bool
) -> None:
    layer = EinsumLinear(
        d_in,
        d_out,
        einsum,
        normalize=normalize,
        gain=gain,
        implementation=implementation,
        dtype=torch.float64,
    )
    check_against_expected(scrambled(layer))


@pytest.mark.parametrize("implementation", ON_CPU)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("d_in", "d_out"), [(16, 16), (16, 64), (31, 7), (97, 53)])
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_named_structures_at_odd_and_padded_sizes(
    structure: str, d_in: int, d_out: int, normalize: bool, implementation: str
) -> None:
    layer = EinsumLinear(
        d_in, d_out, structure, normalize=normalize, implementation=implementation, dtype=torch.float64
    )
    check_against_expected(scrambled(layer))


@pytest.mark.parametrize("name", ["y", "x", "factors.0", "factors.1", "gain", "bias"])
def test_the_comparison_rejects_a_wrong_answer(name: str) -> None:
    layer = scrambled(EinsumLinear(16, 16, "btt", dtype=torch.float64))
    named = {key: parameter.detach() for key, parameter in layer.named_parameters()}
    x = torch.randn(3, 16, dtype=torch.float64)
    right = output_and_gradients(lambda x, p: expected_product(layer, x, p), x, named)
    assert_same(right, right)
    for spoil in (lambda t: t * (1 + 1e-6), lambda t: t * float("nan"), lambda t: t[..., :-1]):
        with pytest.raises(AssertionError, match=name):
            assert_same(right | {name: spoil(right[name])}, right)
    with pytest.raises(AssertionError):
        assert_same({key: value for key, value in right.items() if key != name}, right)


@pytest.mark.parametrize("implementation", ON_CPU)
@pytest.mark.parametrize("structure", ["btt(1/4)", "kronecker"])
def test_gradcheck(structure: str, implementation: str) -> None:
    layer = scrambled(EinsumLinear(5, 6, structure, implementation=implementation, dtype=torch.float64))
    names = [name for name, _ in layer.named_parameters()]
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    parameters = [parameter.detach().clone().requires_grad_() for parameter in layer.parameters()]
    assert torch.autograd.gradcheck(run, (x, *parameters))


def test_dense_is_nn_linear() -> None:
    layer = EinsumLinear(7, 5, "dense")
    linear = nn.Linear(7, 5)
    with torch.no_grad():
        linear.weight.copy_(layer.factors[0].T)
        assert layer.bias is not None
        linear.bias.copy_(layer.bias.normal_())
    x = torch.randn(4, 7)
    torch.testing.assert_close(layer(x), linear(x))
    assert (layer.normalize, layer.gain) == (False, None)


@pytest.mark.parametrize(
    ("structure", "d_in", "d_out", "std"),
    [
        # sqrt(min(n_in, n_out)) / n_in
        ("dense", 256, 64, [math.sqrt(64) / 256]),
        ("low-rank", 256, 256, [math.sqrt(16) / 256, math.sqrt(16) / 16]),
        ("btt(1/4)", 256, 256, [math.sqrt(16) / 16, math.sqrt(16) / 64]),
        ("kronecker", 4096, 4096, [1 / 8, 1 / 8]),
    ],
)
def test_every_factor_starts_with_its_std(structure: str, d_in: int, d_out: int, std: list[float]) -> None:
    layer = EinsumLinear(d_in, d_out, structure, generator=torch.Generator().manual_seed(0))
    assert layer.std == pytest.approx(std)
    for factor, wanted in zip(layer.factors, std, strict=True):
        assert factor.mean().item() == pytest.approx(0, abs=4 * wanted / math.sqrt(factor.numel()))
        assert factor.std().item() == pytest.approx(wanted, rel=4 / math.sqrt(2 * factor.numel()))
    assert layer.bias is not None
    assert (layer.bias == 0).all()
    assert layer.gain is None or (layer.gain == 1).all()


def test_a_generator_decides_the_start() -> None:
    a, b, c = (EinsumLinear(16, 16, "btt", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a.factors[0], b.factors[0])
    assert not torch.equal(a.factors[0], c.factors[0])


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_zero_starts_the_last_factor_at_zero_and_learns(structure: str) -> None:
    layer = EinsumLinear(16, 24, structure, zero=True)
    last = layer.operator.plan.steps[-1].factor
    assert [bool((factor == 0).all()) for factor in layer.factors] == [f == last for f in range(len(layer.factors))]
    y = layer(torch.randn(3, 16))
    assert (y == 0).all()
    y.square().sum().backward()
    (layer(torch.randn(3, 16)) * torch.randn(3, 24)).sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all(), name
    assert (layer.factors[last].grad != 0).any()


def test_weight_normalization_rule() -> None:
    """W * gain / max(1, rms(W) / std): factor 0 three times its std, factor 1 half of it."""
    layer = EinsumLinear(16, 16, "btt", bias=False, dtype=torch.float64)
    with torch.no_grad():
        for factor, times in zip(layer.factors, (3.0, 0.5), strict=True):
            factor.copy_(torch.sign(torch.randn(factor.shape)) * 0.5 * times)
        assert layer.gain is not None
        layer.gain.copy_(torch.tensor([2.0, 5.0]))
    assert layer.std == (0.5, 0.5)  # n_in = n_out = 4
    first, second = layer.effective_factors()
    torch.testing.assert_close(first, layer.factors[0] * 2 / 3)
    torch.testing.assert_close(second, layer.factors[1] * 5)


def test_normalization_and_its_gain_can_be_left_out() -> None:
    assert EinsumLinear(16, 16, "btt", gain=False).gain is None
    plain = EinsumLinear(16, 16, "btt", normalize=False)
    assert plain.gain is None
    assert all(a is b for a, b in zip(plain.effective_factors(), plain.factors, strict=True))


@pytest.mark.parametrize(
    ("structure", "d_in", "d_out", "base", "expected"),
    [
        # base / (n_in * number of factors); a multiplier over dense of d_in / n_in / factors.
        ("dense", 128, 128, 64, {"factors.0": 64 / 128}),
        ("dense", 512, 128, 256, {"factors.0": 256 / 512}),
        ("btt", 256, 256, None, {"factors.0": 256 / 16 / 2, "factors.1": 256 / 16 / 2, "gain": 1}),
        ("btt", 256, 256, 64, {"factors.0": 64 / 16 / 2, "factors.1": 64 / 16 / 2, "gain": 1}),
        ("btt(1/4)", 256, 256, 64, {"factors.0": 64 / 16 / 2, "factors.1": 64 / 64 / 2, "gain": 1}),
        ("low-rank", 256, 256, 64, {"factors.0": 64 / 256 / 2, "factors.1": 64 / 16 / 2, "gain": 1}),
        # The down projection of a model of width 64 and expansion 4, base width 32: fan-in 128 there.
        ("low-rank", 256, 64, 128, {"factors.0": 128 / 256 / 2, "factors.1": 128 / 8 / 2, "gain": 1}),
    ],
)
def test_learning_rate_multipliers(
    structure: str, d_in: int, d_out: int, base: int | None, expected: dict[str, float]
) -> None:
    found = EinsumLinear(d_in, d_out, structure).learning_rate_multipliers(base)
    assert found == pytest.approx({**expected, "bias": 1.0})
    layer = EinsumLinear(d_in, d_out, structure, bias=False)
    assert set(layer.learning_rate_multipliers()) == {name for name, _ in layer.named_parameters()}


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_copies_compute_the_same(structure: str) -> None:
    layer = scrambled(EinsumLinear(17, 12, structure))
    x = torch.randn(3, 17)
    copied = copy.deepcopy(layer)
    loaded = EinsumLinear(17, 12, structure)
    loaded.load_state_dict(layer.state_dict())
    for other in (copied, loaded):
        assert torch.equal(other(x), layer(x))
    scrambled(layer, seed=1)
    assert not torch.equal(copied(x), layer(x))


@pytest.mark.parametrize("implementation", ON_CPU)
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_autocast_to_bfloat16(structure: str, implementation: str) -> None:
    layer = EinsumLinear(16, 24, structure, implementation=implementation)
    x = torch.randn(64, 16, requires_grad=True)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert (y - exact).norm() / exact.norm() < 0.03
    assert not torch.equal(y.float(), exact)
    y.float().square().sum().backward()
    for parameter in (x, *layer.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("implementation", ON_CPU)
def test_leading_dimensions_of_x(implementation: str) -> None:
    layer = EinsumLinear(8, 12, "btt", implementation=implementation)
    x = torch.randn(2, 3, 5, 8)
    assert layer(x).shape == (2, 3, 5, 12)
    torch.testing.assert_close(layer(x)[1, 2, 4], layer(x[1, 2, 4]))
    assert layer(x[:0]).shape == (0, 3, 5, 12)


@pytest.mark.parametrize("implementation", ON_CPU)
@pytest.mark.parametrize(("d_in", "d_out"), [(16, 24), (31, 7), (97, 53)])
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_feature_major_activations(structure: str, d_in: int, d_out: int, implementation: str) -> None:
    layer = scrambled(EinsumLinear(d_in, d_out, structure, implementation=implementation, dtype=torch.float64))
    x = torch.randn(d_in, 5, dtype=torch.float64)

    def of_rows(rows: Tensor, named: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(layer, named, (rows.t(),)).t()

    class FeatureMajor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, columns: Tensor) -> Tensor:
            return self.layer.feature_major(columns)

    def of_columns(columns: Tensor, named: dict[str, Tensor]) -> Tensor:
        held = {f"layer.{name}": tensor for name, tensor in named.items()}
        return torch.func.functional_call(FeatureMajor(), held, (columns,))

    named = dict(layer.named_parameters())
    expected, found = output_and_gradients(of_rows, x, named), output_and_gradients(of_columns, x, named)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_auto_depends_on_device_and_size_alone() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    small, large = EinsumLinear(64, 64, "btt"), EinsumLinear(128, 256, "btt")
    plain = EinsumLinear(64, 64, "dense"), EinsumLinear(128, 256, "low-rank")
    assert small.implementation_on(cpu) == "merged"
    assert large.implementation_on(cpu) == "feature-major"
    assert [layer.implementation_on(cpu) for layer in plain] == ["reference", "reference"]
    assert [layer.implementation_on(cpu, "feature-major") for layer in plain] == ["feature-major"] * 2
    assert [layer.implementation_on(gpu) for layer in (small, large, *plain)] == ["reference"] * 4
    assert EinsumLinear(64, 64, "btt", implementation="reference").implementation_on(cpu) == "reference"


def test_repr_names_structure_sizes_and_padding() -> None:
    assert repr(EinsumLinear(64, 64, "btt", bias=False)).startswith(
        "EinsumLinear(\n  64, 64, (0.5|0|0.5|0|0.5|0.5|0) [a8 g8 e8 f8], bias=False"
    )
    assert "[a10 g10 e8 f8 padded 97->100, 64->64], bias=True" in repr(EinsumLinear(97, 64, "btt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 8, "bttt"), "unknown structure 'bttt'; give a family"),
        ((8, 8, "(.5|0|.4|0|.5|.5|0)"), "exponents of x sum to 0.9, not 1"),
        ((0, 8, "btt"), "d_in is 0; a dimension is a positive integer"),
    ],
)
def test_what_is_no_layer_is_refused(arguments: tuple[int, int, str], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        EinsumLinear(*arguments)
    assert str(error.value).startswith(message)


def test_an_unknown_implementation_is_refused() -> None:
    with pytest.raises(EinsearchError, match=r"^unknown implementation 'fast'; known: auto, reference, .*merged"):
        EinsumLinear(8, 8, parse("btt"), implementation="fast")


def test_a_kernel_for_gpus_is_refused_on_a_cpu() -> None:
    layer = EinsumLinear(16, 16, "btt", implementation="triton")
    with pytest.raises(EinsearchError, match="the btt kernel runs on a CUDA device, and on a CPU only in Triton's"):
        layer(torch.randn(2, 16))
