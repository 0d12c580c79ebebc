"""Routers against numbers counted and worked out by hand."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from einsearch.errors import EinsearchError
from einsearch.layers.router import BIAS_RATE, Z_LOSS, Router, Routing, balance_loss
from einsearch.space.mixture import OPTIONS, Mixture


def tokens(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def trained(router: Router, seed: int = 0) -> Router:
    """With weights as if it had learned something."""
    assert router.weight is not None
    torch.nn.init.normal_(router.weight, generator=torch.Generator().manual_seed(seed))
    return router


def same(a: Routing, b: Routing) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("active", [2, 3, 6])
def test_learned_routing_by_numpy(active: int) -> None:
    router, x = trained(Router(5, 6, active)), tokens(2, 7, 5)
    found = router(x)
    assert router.weight is not None
    logits = x.reshape(14, 5).numpy() @ router.weight.detach().numpy().T
    order = np.argsort(-logits, axis=1)[:, :active]
    selected = np.take_along_axis(logits, order, axis=1)
    gates = np.exp(selected) / np.exp(selected).sum(1, keepdims=True)
    assert found.expert.shape == found.gate.shape == (2, 7, active)
    assert found.expert.reshape(14, active).numpy().tolist() == order.tolist()
    np.testing.assert_allclose(found.gate.detach().reshape(14, active).numpy(), gates, rtol=1e-5)
    assert found.counts.tolist() == np.bincount(order.ravel(), minlength=6).tolist()
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    entropy = -(probabilities * np.log(probabilities)).sum(1).mean()
    assert found.entropy.item() == pytest.approx(entropy, rel=1e-5)
    assert not found.entropy.requires_grad


def test_one_active_expert_is_weighted_by_its_probability() -> None:
    router, x = trained(Router(5, 4, 1)), tokens(9, 5)
    found = router(x)
    probabilities = router._logits(x).softmax(-1)
    torch.testing.assert_close(found.gate[:, 0], probabilities.max(-1).values)
    (gradient,) = torch.autograd.grad(found.gate.sum(), [router.weight])
    assert (gradient != 0).any(), "a softmax over one logit would have none"


def test_loads_are_fractions_of_all_pairs() -> None:
    routing = Router(3, 5, 2)(tokens(20, 3))
    assert routing.counts.sum() == 40
    torch.testing.assert_close(routing.load, routing.counts / 40)
    found = routing.statistics()
    assert found["max_load"] == routing.counts.max() / 8
    assert found["min_load"] == routing.counts.min() / 8
    assert found["entropy"] == routing.entropy
    empty = Router(3, 5, 2)(tokens(0, 3))
    assert empty.expert.shape == (0, 2)
    assert (empty.load.tolist(), empty.entropy.item(), empty.aux_loss.item()) == ([0.0] * 5, 0.0, 0.0)


def test_the_balance_loss_by_hand() -> None:
    """Two tokens, two experts. Probabilities (3/4, 1/4) and (1/2, 1/2); logsumexp log 4 and log 2."""
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    z_loss = Z_LOSS * (math.log(4) ** 2 + math.log(2) ** 2) / 2
    for count, balance in (([2, 0], 2 * 5 / 8), ([1, 1], 1.0), ([1, 3], 2 * (5 / 8 / 4 + 3 / 8 * 3 / 4))):
        assert balance_loss(logits, torch.tensor(count)).item() == pytest.approx(balance + z_loss)


@pytest.mark.parametrize(("experts", "active"), [(4, 1), (8, 2), (16, 4)])
def test_it_is_one_where_all_is_even(experts: int, active: int) -> None:
    """A router at its start: equal probabilities, so loads do not matter."""
    found = Router(6, experts, active)(tokens(50, 6))
    assert found.aux_loss.item() == pytest.approx(1 + Z_LOSS * math.log(experts) ** 2)
    assert found.entropy.item() == pytest.approx(math.log(experts))


def test_it_grows_with_the_imbalance() -> None:
    """All tokens sure of one of four experts: 4 * 1 * 1, and little else."""
    logits = torch.tensor([[40.0, 0.0, 0.0, 0.0]] * 5) - 40
    assert balance_loss(logits, torch.tensor([5, 0, 0, 0])).item() == pytest.approx(4.0)


def test_huge_logits_are_no_infinity() -> None:
    assert balance_loss(torch.tensor([[1e4, 0.0]]), torch.tensor([1, 0])).item() == pytest.approx(2 + Z_LOSS * 1e8)


def test_its_gradient_by_finite_differences() -> None:
    logits, count = tokens(5, 3, dtype=torch.float64).requires_grad_(), torch.tensor([4, 0, 6])
    assert torch.autograd.gradcheck(lambda logits: balance_loss(logits, count), (logits,))


def test_gradients_of_the_router_by_finite_differences() -> None:
    """Gates and loss; between the points no choice changes."""
    for active, balance in itertools.product((1, 2), ("loss", "bias")):
        router = Router(3, 4, active, balance=balance, dtype=torch.float64)
        x = tokens(5, 3, dtype=torch.float64).requires_grad_()
        weight = tokens(4, 3, seed=1, dtype=torch.float64).requires_grad_()

        def run(x: Tensor, weight: Tensor, router: Router = router) -> tuple[Tensor, Tensor]:
            found = torch.func.functional_call(router, {"weight": weight}, (x,))
            return found.gate, found.aux_loss + 0 * weight.sum()

        assert torch.autograd.gradcheck(run, (x, weight))


@pytest.mark.parametrize(("routing", "balance"), [("learned", "bias"), ("learned", "none"), ("random", None)])
def test_without_a_balance_loss_there_is_nothing_to_add(routing: str, balance: str | None) -> None:
    found = Router(6, 4, 2, routing=routing, balance=balance)(tokens(50, 6))
    assert found.aux_loss.item() == 0
    assert not found.aux_loss.requires_grad


@pytest.mark.parametrize(("experts", "active"), [(4, 1), (8, 2), (32, 3)])
def test_a_router_at_its_start_spreads_tokens_evenly(experts: int, active: int) -> None:
    router, x = Router(6, experts, active), tokens(64, 64, 6)
    found = router(x)
    assert router.weight is not None
    assert (router.weight == 0).all()
    assert stats.chisquare(found.counts.numpy()).pvalue > 1e-3
    # The first two slots take every pair of experts equally often.
    if active > 1:
        pairs = np.zeros((experts, experts))
        np.add.at(pairs, tuple(found.expert.reshape(-1, active)[:, :2].T.numpy()), 1)
        assert (np.diag(pairs) == 0).all()
        assert stats.chisquare(pairs[~np.eye(experts, dtype=bool)]).pvalue > 1e-3


def test_only_equal_logits_are_left_to_chance() -> None:
    router, x = Router(2, 4, 2), torch.eye(2).repeat(200, 1)
    with torch.no_grad():
        assert router.weight is not None
        router.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 5.0], [1.0, 5.0], [2.0, -1.0]]))
    found = router(x).expert
    assert (found[::2, 0] == 3).all(), "the greatest logit"
    assert set(found[::2, 1].tolist()) == {0, 1, 2}, "one of three equal ones"
    assert set(map(tuple, found[1::2].tolist())) == {(1, 2), (2, 1)}


def test_a_seed_and_a_step_decide_between_equals() -> None:
    x = tokens(100, 3)
    first, again, other_seed = (Router(3, 8, 2, seed=seed) for seed in (5, 5, 6))
    assert same(first(x), again(x))
    assert same(first(x), first(x)), "a repeated forward decides the same"
    assert not torch.equal(first(x).expert, other_seed(x).expert)
    again.after_step(again(x).counts)
    assert not torch.equal(first(x).expert, again(x).expert)
    first.after_step(first(x).counts)
    assert same(first(x), again(x))


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    router = Router(3, 8, 2, routing="random")
    router(tokens(10, 3))
    assert torch.equal(torch.get_rng_state(), state)


@settings(max_examples=40)
@given(
    routing=st.sampled_from(["random", "hash"]),
    experts=st.integers(2, 33),
    active=st.integers(1, 4),
    seed=st.integers(0, 2**40),
    ids=st.lists(st.integers(0, 10**6), min_size=1, max_size=20),
)
def test_fixed_routings_choose_different_experts_and_weight_them_alike(
    routing: str, experts: int, active: int, seed: int, ids: list[int]
) -> None:
    active = min(active, experts)
    router = Router(4, experts, active, routing=routing, seed=seed)
    found = router(tokens(len(ids), 4), torch.tensor(ids))
    assert list(router.parameters()) == []
    assert ((found.expert >= 0) & (found.expert < experts)).all()
    assert all(len(set(row)) == active for row in found.expert.tolist())
    assert (found.gate == 1 / active).all()
    assert found.counts.sum() == active * len(ids)


def test_random_routing_is_uniform_and_new_in_every_step() -> None:
    router, x = Router(4, 8, 2, routing="random"), torch.zeros(4096, 4)
    first = router(x)
    assert stats.chisquare(first.counts.numpy()).pvalue > 1e-3
    assert first.entropy.item() == pytest.approx(math.log(8))
    router.after_step(first.counts)
    second = router(x)
    # By chance, one expert in eight is the same in a slot.
    table = np.zeros((8, 8))
    np.add.at(table, (first.expert[:, 0].numpy(), second.expert[:, 0].numpy()), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-3


def test_hash_routing_goes_by_the_id_alone() -> None:
    router, ids = Router(4, 8, 2, routing="hash", seed=3), torch.arange(96).repeat(4)
    found = router(tokens(384, 4), ids)
    assert torch.equal(found.expert[:96], found.expert[96:192])
    assert found.entropy.item() == 0
    router.after_step(found.counts)
    assert torch.equal(router(tokens(384, 4, seed=1), ids).expert, found.expert), "not by the step, nor by x"
    shuffled = torch.randperm(384, generator=torch.Generator().manual_seed(0))
    assert torch.equal(router(tokens(384, 4), ids[shuffled]).expert, found.expert[shuffled]), "nor by the position"
    assert not torch.equal(Router(4, 8, 2, routing="hash", seed=4)(tokens(384, 4), ids).expert, found.expert)
    assert len(set(map(tuple, found.expert[:96].tolist()))) > 30


def test_hash_routing_asks_for_ids() -> None:
    router = Router(4, 8, 2, routing="hash")
    with pytest.raises(EinsearchError) as error:
        router(tokens(2, 3, 4))
    assert str(error.value) == "hash routing goes by the token's id; call the router with token_ids"
    with pytest.raises(EinsearchError) as error:
        router(tokens(2, 3, 4), torch.arange(6))
    assert str(error.value) == "token_ids have shape (6,); x has tokens (2, 3)"
    assert same(Router(4, 8, 2)(tokens(6, 4), torch.arange(6)), Router(4, 8, 2)(tokens(6, 4))), "others ignore them"


def test_a_bias_chooses_and_does_not_weigh() -> None:
    router, x = trained(Router(5, 4, 2, balance="bias")), tokens(200, 5)
    scores = router._logits(x).sigmoid()
    assert torch.equal(router.bias, torch.zeros(4))
    assert torch.equal(router(x).expert, scores.topk(2).indices)
    router.votes.copy_(torch.tensor([900, -300, -300, -300]))
    torch.testing.assert_close(router.bias, torch.tensor([0.9, -0.3, -0.3, -0.3]))
    found = router(x)
    assert torch.equal(found.expert, (scores + router.bias).topk(2).indices)
    assert not torch.equal(found.expert, scores.topk(2).indices)
    assert torch.equal(found.gate, scores.gather(1, found.expert))


def test_a_step_moves_the_bias_against_the_load() -> None:
    router = Router(5, 4, 2, balance="bias")
    router.after_step(torch.tensor([10, 10, 16, 4]))
    assert router.bias.tolist() == pytest.approx([0.0, 0.0, -BIAS_RATE, BIAS_RATE])
    router.after_step(torch.tensor([20, 20, 20, 20]))
    assert router.step == 2
    assert router.bias.tolist() == pytest.approx([0.0, 0.0, -BIAS_RATE, BIAS_RATE])
    router.after_step(torch.tensor([7, 0, 0, 0]))
    mean = BIAS_RATE * 2 / 4
    assert router.bias.tolist() == pytest.approx([-BIAS_RATE - mean, BIAS_RATE - mean, 0 - mean, 2 * BIAS_RATE - mean])
    assert router.bias.sum().item() == pytest.approx(0, abs=1e-9)


def test_equal_loads_are_equal_whatever_a_float_says() -> None:
    router = Router(5, 3, 1, balance="bias")
    router.after_step(torch.tensor([7, 7, 7]))
    assert router.votes.tolist() == [0, 0, 0]


def test_the_bias_evens_a_skewed_router() -> None:
    router, x = Router(4, 8, 2, balance="bias"), torch.cat([torch.ones(512, 1), 0.2 * tokens(512, 3)], dim=1)
    with torch.no_grad():
        trained(router)
        assert router.weight is not None
        router.weight[:, 0] = torch.linspace(-0.5, 0.5, 8)
    before = router(x).statistics()
    for _ in range(600):
        router.after_step(router(x).counts)
    after = router(x).statistics()
    assert before["max_load"] > 2.5
    assert before["min_load"] < 0.1
    assert after["max_load"] < 1.2
    assert after["min_load"] > 0.8


OPTIONS_OF_ROUTERS = [
    *(("learned", balance) for balance in OPTIONS["balance"]),
    *((routing, None) for routing in OPTIONS["routing"] if routing != "learned"),
]


def used(routing: str, balance: str | None) -> Router:
    """A router some steps on."""
    router = Router(4, 8, 2, routing=routing, balance=balance, seed=9)
    if router.weight is not None:
        trained(router)
    for _ in range(3):
        router.after_step(router(tokens(30, 4), torch.arange(30)).counts)
    return router


@pytest.mark.parametrize(("routing", "balance"), OPTIONS_OF_ROUTERS)
def test_copies_decide_the_same(routing: str, balance: str | None) -> None:
    router, x, ids = used(routing, balance), tokens(30, 4), torch.arange(30)
    loaded = Router(4, 8, 2, routing=routing, balance=balance)
    loaded.load_state_dict(router.state_dict())
    for other in (copy.deepcopy(router), loaded):
        assert same(other(x, ids), router(x, ids))
    assert "step" in router.state_dict()


@pytest.mark.parametrize(("routing", "balance"), OPTIONS_OF_ROUTERS)
def test_feature_major_activations(routing: str, balance: str | None) -> None:
    router, x, ids = used(routing, balance), tokens(30, 4), torch.arange(30)
    found, expected = router.feature_major(x.t().contiguous(), ids), router(x, ids)
    assert torch.equal(found.expert, expected.expert)
    for name, value, wanted in zip(Routing._fields, found, expected, strict=True):
        torch.testing.assert_close(value, wanted, msg=name)


@pytest.mark.parametrize(("routing", "balance"), OPTIONS_OF_ROUTERS)
def test_a_graph_without_breaks(routing: str, balance: str | None) -> None:
    router, x, ids = used(routing, balance), tokens(30, 4), torch.arange(30)
    torch.compiler.reset()
    compiled = torch.compile(router, backend="eager", fullgraph=True)
    assert same(compiled(x, ids), router(x, ids))
    router.after_step(router(x, ids).counts)
    assert same(compiled(x, ids), router(x, ids)), "the step is no constant of the graph"


def test_checkpointing_repeats_the_choice_and_keeps_the_loss() -> None:
    router, x = Router(4, 8, 2), tokens(30, 4).requires_grad_()

    def run(x: Tensor) -> Routing:
        return router(x)

    gradients = []
    for found in (run(x), checkpoint(run, x, use_reentrant=False)):
        gradients.append(torch.autograd.grad(found.aux_loss + found.gate[:, 0].sum(), [x, router.weight]))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_logits_are_float32_under_autocast_and_in_bfloat16() -> None:
    router, x = trained(Router(64, 8, 2)), tokens(200, 64)
    exact = router(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(router(x), exact)
    low = Router(64, 8, 2, dtype=torch.bfloat16)
    low.load_state_dict(router.state_dict())
    found = low(x.bfloat16())
    assert found.gate.dtype == found.aux_loss.dtype == torch.float32
    assert (found.expert == exact.expert).float().mean() > 0.95
    assert low.seed.dtype == low.step.dtype == torch.int64
    assert Router(4, 8, 2, balance="bias").to(torch.bfloat16).bias.dtype == torch.float32


def test_learning_rates_of_the_head() -> None:
    assert Router(256, 8, 2).learning_rate_multipliers(64) == {"weight": 0.25}
    assert Router(256, 8, 2).learning_rate_multipliers() == {"weight": 1.0}
    assert Router(256, 8, 2, routing="hash").learning_rate_multipliers(64) == {}


def test_a_router_of_a_mixture() -> None:
    router = Router.of(Mixture(experts=16, active=3, balance="bias"), 32, seed=7)
    assert repr(router) == "Router(32, experts=16, active=3, learned, bias)"
    assert router.seed == 7
    assert router.weight is not None
    assert router.weight.shape == (16, 32)


def test_resetting_starts_at_zero_again() -> None:
    router = trained(Router(4, 8, 2))
    router.reset_parameters()
    assert router.weight is not None
    assert (router.weight == 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"experts": 2, "active": 3},
            "a mixture of 2 experts has 3 active; give at least as many experts as active",
        ),
        ({"active": 0}, "active of a mixture is 0; it must be an integer of at least 1"),
        ({"routing": "best"}, "routing of a mixture is 'best'; choose one of learned, random, hash"),
        (
            {"routing": "random", "balance": "loss"},
            "balance is 'loss', but random routing learns nothing to balance; leave balance out",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        Router(**({"in_features": 4, "experts": 8, "active": 2} | fields))
    assert str(error.value) == message
