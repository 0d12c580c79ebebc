"""EinsumMoE and ExpertFFN against all experts computed one by one as EinsumLinear layers."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from einsearch.errors import EinsearchError
from einsearch.layers import moe_implementations
from einsearch.layers.experts import EinsumExperts
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.moe import EinsumMoE, ExpertFFN
from einsearch.layers.moe_implementations import IMPLEMENTATIONS, Implementation
from einsearch.layers.router import Router, Routing
from einsearch.space.mixture import Counts, Mixture
from einsearch.space.operator import operator
from einsearch.space.parse import parse
from tests.kernels.compare import assert_close

HERE = [name for name in IMPLEMENTATIONS if name != "triton"]
"""Those that compute every operator on a CPU; the Triton kernel is in tests/kernels/test_triton_moe_layer.py."""

STRUCTURES = {
    "dense": "dense",
    "btt": "btt",
    "btt-rank": "btt(1/4)",
    "low-rank": "low-rank",
    "kronecker": "kronecker",
    "generic": "(.5|.25|.25|.25|.5|.25|.25)",
    "chain": "a,abp,bcpq,cdq->d; a=1, b=1/3, c=1/3, d=1, p=1/4, q=1/4",
}

Run = Callable[[Tensor, dict[str, Tensor]], Tensor]


def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Away from the start: some factors above their std, some below, gains, biases and routers anything."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, parameter in enumerate(module.parameters()):
            parameter.normal_(0.1, 2.0 if n % 2 else 0.05, generator=generator)
    return module


class Routed(nn.Module):
    """A mixture behind its router."""

    def __init__(self, router: Router, mixture: nn.Module) -> None:
        super().__init__()
        self.router = router
        self.mixture = mixture

    def forward(self, x: Tensor) -> Tensor:
        return self.mixture(x, self.router(x))  # type: ignore[no-any-return]


def expert_of(stack: EinsumExperts, e: int, named: dict[str, Tensor], prefix: str) -> Callable[[Tensor], Tensor]:
    """Expert e as an EinsumLinear."""
    alone = EinsumLinear(
        stack.in_features,
        stack.out_features,
        stack.operator.einsum,
        bias=False,
        normalize=stack.normalize,
        gain=stack.gain is not None,
        implementation="reference",
        dtype=torch.float64,
    )
    own = {name: named[f"{prefix}{name}"][e] for name, _ in alone.named_parameters() if name != "gain"}
    if stack.gain is not None:
        own["gain"] = named[f"{prefix}gain"][:, e]
    return lambda x: torch.func.functional_call(alone, own, (x,))


def expected(module: Routed, x: Tensor, named: dict[str, Tensor]) -> Tensor:
    """Every expert on every token, weighted by a matrix that is zero where an expert is not active."""
    routing: Routing = torch.func.functional_call(module.router, {"weight": named["router.weight"]}, (x,))
    mixture = module.mixture
    if isinstance(mixture, EinsumMoE):
        count = mixture.experts
        experts = [expert_of(mixture, e, named, "mixture.") for e in range(count)]
    else:
        assert isinstance(mixture, ExpertFFN)
        count = mixture.up.experts
        ups, downs = (
            [expert_of(part, e, named, f"mixture.{name}.") for e in range(count)]
            for name, part in (("up", mixture.up), ("down", mixture.down))
        )
        experts = [lambda x, up=up, down=down: down(F.gelu(up(x))) for up, down in zip(ups, downs, strict=True)]
    y = torch.zeros(())
    for e, run in enumerate(experts):
        weight = torch.where(routing.expert == e, routing.gate, 0.0).sum(-1, keepdim=True)
        y = y + weight * run(x)
    return y + named["mixture.bias"] if "mixture.bias" in named else y


def output_and_gradients(run: Run, x: Tensor, named: dict[str, Tensor]) -> dict[str, Tensor]:
    """y, and the gradients of a fixed functional of it with respect to x and every parameter, by name."""
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in {"x": x, **named}.items()}
    y = run(leaves["x"], {name: leaf for name, leaf in leaves.items() if name != "x"})
    weight = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    gradients = torch.autograd.grad((y * weight).sum(), list(leaves.values()))
    return {"y": y.detach()} | dict(zip(leaves, gradients, strict=True))


def check(module: Routed, in_features: int) -> None:
    named = {name: parameter.detach() for name, parameter in module.named_parameters()}
    x = torch.randn(2, 5, in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    actual = output_and_gradients(lambda x, p: torch.func.functional_call(module, p, (x,)), x, named)
    wanted = output_and_gradients(lambda x, p: expected(module, x, p), x, named)
    assert set(actual) == {"y", "x", *named}
    assert_close(actual, wanted, tolerance=1e-9)


def routed(mixture: nn.Module, in_features: int, experts: int = 5, active: int = 2) -> Routed:
    module = Routed(Router(in_features, experts, active, dtype=torch.float64), mixture)
    scrambled(module)
    return module


@pytest.mark.parametrize("implementation", HERE)
@pytest.mark.parametrize(("d_in", "d_out"), [(16, 16), (31, 7)])
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_a_layer_is_the_weighted_sum_of_its_experts(structure: str, d_in: int, d_out: int, implementation: str) -> None:
    layer = EinsumMoE(d_in, d_out, structure, 5, implementation=implementation, dtype=torch.float64)
    check(routed(layer, d_in), d_in)


@pytest.mark.parametrize("implementation", HERE)
@pytest.mark.parametrize(
    ("up", "down", "features", "hidden"),
    [("dense", "dense", 8, 12), ("btt", "low-rank", 16, 24), ("kronecker", "btt(1/4)", 31, 53)],
)
def test_an_ffn_is_the_weighted_sum_of_whole_ffns(
    up: str, down: str, features: int, hidden: int, implementation: str
) -> None:
    ffn = ExpertFFN(features, hidden, up, down, 5, implementation=implementation, dtype=torch.float64)
    check(routed(ffn, features), features)


@pytest.mark.parametrize("fields", [{"normalize": False}, {"gain": False}, {"bias": False}])
def test_without_normalization_gains_or_bias(fields: dict[str, bool]) -> None:
    check(routed(EinsumMoE(16, 9, "btt", 5, dtype=torch.float64, **fields), 16), 16)


@pytest.mark.parametrize("active", [1, 3, 5])
def test_any_number_of_active_experts(active: int) -> None:
    check(routed(EinsumMoE(16, 9, "btt", 5, dtype=torch.float64), 16, active=active), 16)


@pytest.mark.parametrize("name", ["y", "x", "router.weight", "mixture.factors.1", "mixture.gain", "mixture.bias"])
def test_the_comparison_rejects_a_wrong_answer(name: str) -> None:
    module = routed(EinsumMoE(16, 9, "btt", 5, dtype=torch.float64), 16)
    named = {key: parameter.detach() for key, parameter in module.named_parameters()}
    x = torch.randn(5, 16, dtype=torch.float64)
    right = output_and_gradients(lambda x, p: expected(module, x, p), x, named)
    with pytest.raises(AssertionError, match=name):
        assert_close(right | {name: right[name] * (1 + 1e-6)}, right, tolerance=1e-9)


def test_gradcheck_through_the_router() -> None:
    module = routed(EinsumMoE(4, 4, "btt", 3, dtype=torch.float64), 4, experts=3)
    names = [name for name, _ in module.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    x = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *(p.detach().clone().requires_grad_() for p in module.parameters())))


def test_experts_start_as_layers_of_their_own() -> None:
    layer = EinsumMoE(256, 256, "btt(1/4)", 6, generator=torch.Generator().manual_seed(0))
    alone = EinsumLinear(256, 256, "btt(1/4)")
    assert layer.std == alone.std == (math.sqrt(16) / 16, math.sqrt(16) / 64)
    for factor, wanted in zip(layer.factors, layer.std, strict=True):
        for own in factor:
            assert own.std().item() == pytest.approx(wanted, rel=5 / math.sqrt(2 * own.numel()))
    assert layer.gain is not None
    assert layer.gain.shape == (2, 6)
    assert (layer.gain == 1).all()
    assert layer.bias is not None
    assert (layer.bias == 0).all()
    same = EinsumMoE(256, 256, "btt(1/4)", 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(same.factors[1], layer.factors[1])


def test_experts_learn_as_layers_of_their_own() -> None:
    for structure, base in (("btt(1/4)", 64), ("low-rank", None), ("dense", 32)):
        layer, alone = EinsumMoE(256, 256, structure, 6), EinsumLinear(256, 256, structure)
        assert layer.learning_rate_multipliers(base) == alone.learning_rate_multipliers(base)
        assert set(layer.learning_rate_multipliers()) == {name for name, _ in layer.named_parameters()}
    ffn = ExpertFFN(64, 256, "btt", "btt", 4)
    assert ffn.down.learning_rate_multipliers() == EinsumLinear(256, 64, "btt", bias=False).learning_rate_multipliers()


def test_weight_normalization_goes_expert_by_expert() -> None:
    """W * gain / max(1, rms(W) / std): expert 0 three times its std, expert 1 half of it."""
    layer = EinsumMoE(16, 16, "btt", 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        for factor in layer.factors:
            factor.copy_(torch.sign(torch.randn(factor.shape)) * 0.5 * torch.tensor([3.0, 0.5]).view(2, 1, 1, 1))
        assert layer.gain is not None
        layer.gain.copy_(torch.tensor([[2.0, 5.0], [7.0, 11.0]]))
    assert layer.std == (0.5, 0.5)
    first, second = layer.effective_factors()
    torch.testing.assert_close(first, layer.factors[0] * torch.tensor([2 / 3, 5.0]).view(2, 1, 1, 1))
    torch.testing.assert_close(second, layer.factors[1] * torch.tensor([7 / 3, 11.0]).view(2, 1, 1, 1))
    assert EinsumMoE(16, 16, "dense", 2).gain is None, "a single factor is never normalised"


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_zero_starts_at_zero_and_learns(structure: str) -> None:
    layer, ffn = EinsumMoE(16, 24, structure, 4, zero=True), ExpertFFN(16, 24, structure, structure, 4, zero=True)
    router = Router(16, 4, 2)
    for module, last in ((layer, layer.factors), (ffn, ffn.down.factors)):
        x = torch.randn(9, 16)
        y = module(x, router(x))
        assert (y == 0).all()
        (y * torch.randn(y.shape)).sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all(), name
        assert any((factor.grad != 0).any() for factor in last)


def test_resetting_starts_again() -> None:
    layer = scrambled(EinsumMoE(16, 24, "btt", 4))
    layer.reset_parameters(torch.Generator().manual_seed(3))
    fresh = EinsumMoE(16, 24, "btt", 4, generator=torch.Generator().manual_seed(3))
    for (name, parameter), wanted in zip(layer.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(parameter, wanted), name


def modules() -> dict[str, Routed]:
    return {
        "layer": Routed(Router(17, 4, 2), EinsumMoE(17, 12, "btt", 4)),
        "ffn": Routed(Router(17, 4, 2), ExpertFFN(17, 30, "btt", "low-rank", 4)),
    }


@pytest.mark.parametrize("name", modules())
def test_copies_compute_the_same(name: str) -> None:
    module, x = scrambled(modules()[name]), torch.randn(6, 17)
    copied, loaded = copy.deepcopy(module), modules()[name]
    loaded.load_state_dict(module.state_dict())
    for other in (copied, loaded):
        assert torch.equal(other(x), module(x))
    scrambled(module, seed=1)
    assert not torch.equal(copied(x), module(x))


@pytest.mark.parametrize("name", modules())
def test_feature_major_activations(name: str) -> None:
    module, x = scrambled(modules()[name]), torch.randn(6, 17)
    assert isinstance(module, Routed)
    y = module.mixture.feature_major(x.t().contiguous(), module.router(x))
    torch.testing.assert_close(y, module(x).t())


@pytest.mark.parametrize("name", modules())
def test_activation_checkpointing(name: str) -> None:
    module, x = scrambled(modules()[name]), torch.randn(6, 17, requires_grad=True)
    plain, recomputed = (
        torch.autograd.grad(y.square().sum(), [x, *module.parameters()])
        for y in (module(x), checkpoint(module, x, use_reentrant=False))
    )
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


@pytest.mark.parametrize("implementation", HERE)
@pytest.mark.parametrize("name", modules())
def test_autocast_to_bfloat16(name: str, implementation: str) -> None:
    module, x = modules()[name], torch.randn(40, 17, requires_grad=True)
    module.mixture.implementation = implementation
    nn.init.normal_(module.router.weight)
    exact = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16 or name == "layer"  # a bias in float32 widens it, as in nn.Linear's sum
    assert (y - exact).norm() / exact.norm() < 0.05
    y.float().square().sum().backward()
    for parameter in (x, *module.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def test_one_router_for_several_layers() -> None:
    """The losses of a shared router count once, its gradient is the sum over the layers."""
    router, x = Router(16, 4, 2), torch.randn(10, 16)
    nn.init.normal_(router.weight)
    layers = [EinsumMoE(16, 16, "btt", 4) for _ in "qkv"]
    routing = router(x)
    (together,) = torch.autograd.grad(sum(layer(x, routing).sum() for layer in layers), [router.weight])
    apart = [torch.autograd.grad(layer(x, router(x)).sum(), [router.weight])[0] for layer in layers]
    torch.testing.assert_close(together, sum(apart))


@pytest.mark.parametrize("routing", ["learned", "random", "hash"])
@pytest.mark.parametrize("implementation", ["reference", "grouped", "feature-major"])
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_counts_are_those_of_the_modules(structure: str, implementation: str, routing: str) -> None:
    """Parameters as numel, without gains; MACs as torch counts them, forward and backward."""
    mixture, planned = Mixture(experts=6, active=3, routing=routing), operator(parse(structure), 19, 16)
    layer = EinsumMoE(19, 16, structure, 6, bias=False, gain=False, implementation=implementation)
    router, x, ids = Router.of(mixture, 19), torch.randn(10, 19, requires_grad=True), torch.arange(10)
    layer_counts, router_counts = mixture.layer_counts(planned), mixture.router_counts(19)
    counts = Counts.sum([layer_counts, router_counts])
    assert counts.parameters == sum(p.numel() for module in (layer, router) for p in module.parameters())
    with FlopCounterMode(display=False) as forward:
        y = layer(x, router(x, ids))
    assert forward.get_total_flops() == 2 * counts.macs * 10
    with FlopCounterMode(display=False) as backward:
        y.square().sum().backward()
    assert backward.get_total_flops() == 4 * counts.macs * 10


@pytest.mark.parametrize("implementation", ["reference", "grouped"])
def test_counts_of_an_ffn(implementation: str) -> None:
    mixture = Mixture(experts=6, active=2, per="ffn")
    ffn, x = ExpertFFN(12, 48, "btt", "dense", 6, gain=False, implementation=implementation), torch.randn(10, 12)
    counts = Counts.sum(mixture.layer_counts(part.operator) for part in (ffn.up, ffn.down))
    assert counts.parameters == sum(p.numel() for p in ffn.parameters())
    routing = Router.of(mixture, 12)(x)
    with FlopCounterMode(display=False) as counter:
        ffn(x, routing)
    assert counter.get_total_flops() == 2 * counts.macs * 10


def test_auto_depends_on_device_and_size_alone() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    cases = {
        ("btt", 64, 64): "merged",
        ("dense", 512, 512): "merged",
        ("btt", 128, 512): "feature-major",
        ("low-rank", 128, 512): "grouped",
    }
    for (structure, d_in, d_out), wanted in cases.items():
        layer = EinsumMoE(d_in, d_out, structure, 4)
        assert (layer.implementation_on(cpu), layer.implementation_on(gpu)) == (wanted, "grouped")
    assert EinsumMoE(64, 64, "btt", 4, implementation="reference").implementation_on(cpu) == "reference"
    assert ExpertFFN(64, 256, "btt", "btt", 4).implementation_on(cpu) == "merged"
    assert ExpertFFN(64, 256, "dense", "dense", 4).implementation_on(cpu) == "merged"
    assert ExpertFFN(128, 512, "btt", "dense", 4).implementation_on(cpu) == "feature-major"
    assert ExpertFFN(128, 512, "low-rank", "dense", 4).implementation_on(cpu) == "grouped"


def test_a_kernel_for_whole_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a later entry of the table: it is called with stacked factors, and says what it refuses."""

    def kernel(x: Tensor, factors: list[Tensor], planned: object, gate: Tensor, expert: Tensor) -> Tensor:
        return moe_implementations.reference.einsum_moe(x, factors, planned, gate, expert)

    def refuses(planned: object, device: torch.device, dtype: torch.dtype) -> str | None:
        return "it wants float32" if dtype == torch.float64 else None

    monkeypatch.setitem(IMPLEMENTATIONS, "kernel", Implementation(layer=kernel, refuses=refuses))
    layer, router, x = EinsumMoE(16, 9, "btt", 4, implementation="kernel"), Router(16, 4, 2), torch.randn(5, 16)
    found = layer(x, router(x))
    layer.implementation = "reference"
    assert torch.equal(found, layer(x, router(x)))
    layer.implementation = "kernel"
    with pytest.raises(EinsearchError) as error:
        layer.double()(x.double(), router(x))
    assert str(error.value) == "implementation kernel cannot run: it wants float32; use auto or another one"
    ffn = ExpertFFN(16, 24, "btt", "btt", 4, implementation="kernel")
    with pytest.raises(EinsearchError) as error:
        ffn(x, router(x))
    assert str(error.value) == (
        "implementation kernel computes single layers, not experts that are FFNs; use auto, reference, grouped, "
        "feature-major, merged"
    )


def test_a_mixture_learns() -> None:
    """Two linear maps, each on its half of the space: a mixture of two experts finds both."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 8, generator=generator)
    first, second = (torch.randn(8, 8, generator=generator) for _ in range(2))
    y = torch.where(x[:, :1] > 0, x @ first, x @ second)
    layer, router = EinsumMoE(8, 8, "dense", 2, generator=generator), Router(8, 2, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *router.parameters()], lr=0.02)
    losses = []
    for _ in range(150):
        routing = router(x)
        loss = F.mse_loss(layer(x, routing), y)
        optimizer.zero_grad()
        (loss + 0.01 * routing.aux_loss).backward()
        optimizer.step()
        router.after_step(routing.counts)
        losses.append(loss.item())
    best = torch.linalg.lstsq(x, y).solution
    assert losses[-1] < 0.3 * F.mse_loss(x @ best, y).item() < losses[0]


def test_repr_names_structure_sizes_and_experts() -> None:
    assert repr(EinsumMoE(64, 64, "btt", 8, bias=False)).startswith(
        "EinsumMoE(\n  64, 64, (0.5|0|0.5|0|0.5|0.5|0) [a8 g8 e8 f8], experts=8, bias=False"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EinsumMoE(8, 8, "btt", 1), "experts is 1; a mixture has at least 2, one alone is an EinsumLinear"),
        (lambda: EinsumMoE(0, 8, "btt", 2), "d_in is 0; a dimension is a positive integer"),
        (lambda: ExpertFFN(8, 16, "bttt", "btt", 2), "unknown structure 'bttt'; give a family"),
        (
            lambda: EinsumMoE(8, 8, "btt", 2, implementation="fast"),
            "unknown implementation 'fast' of a mixture; known: auto, reference, grouped, feature-major, merged",
        ),
        (
            lambda: ExpertFFN(8, 8, "btt", "btt", 2, implementation="fast"),
            "unknown implementation 'fast' of a mixture; known: auto, reference, grouped, feature-major, merged",
        ),
    ],
)
def test_what_is_no_mixture_is_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        make()
    assert str(error.value).startswith(message)
