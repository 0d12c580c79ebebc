"""The proxy GPT-2: how it starts, that it cannot look ahead, and its learning-rate multipliers."""

import math
from itertools import product

import pytest
import torch

from einsearch.layers.implementations import IMPLEMENTATIONS, Activations
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.parametrize import learning_rate_multipliers
from einsearch.proxy.activations import OPERATIONS, activations_for
from einsearch.proxy.block import Batch
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.protocol import Protocol
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.operator import operator
from einsearch.space.parse import parse

PROTOCOL = Protocol(context=16, batch=4)
SHAPE = ModelShape(width=16, depth=2, head_size=8)
STRUCTURES = ["dense", "btt", "low-rank", "kronecker", "a,ab,bc,cd->d; a=1, b=.5, c=.5, d=1"]


ON_CPU = [
    name
    for name, each in IMPLEMENTATIONS.items()
    if each.refuses(operator(parse("btt"), 16, 16), torch.device("cpu"), torch.float64) is None
]
"""The implementations that compute float64 on a CPU: all but those for GPUs."""

LAYOUTS: list[Activations] = ["row-major", "feature-major"]


def model_of(
    text: str, seed: int = 0, implementation: str = "auto", activations: Activations | None = None
) -> ProxyGPT2:
    return ProxyGPT2(Candidate.of(parse(text), SHAPE), PROTOCOL, seed, implementation, activations)


def batch_of(activations: Activations, sequences: int) -> Batch:
    return Batch(operations=OPERATIONS[activations], sequences=sequences, tokens=torch.zeros(0, dtype=torch.long))


def perturbed(model: ProxyGPT2) -> ProxyGPT2:
    """Away from the start, where head and residual branches are zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def tokens(rows: int = 3, length: int = 16) -> torch.Tensor:
    return torch.randint(96, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_it_starts_as_a_uniform_guess(structure: str) -> None:
    model = model_of(structure)
    assert (model(tokens()) == 0).all()
    assert model.loss(tokens(length=17)).item() == pytest.approx(math.log(96), abs=1e-6)


@pytest.mark.parametrize("activations", LAYOUTS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_it_cannot_look_ahead(structure: str, activations: Activations) -> None:
    model = perturbed(model_of(structure, activations=activations))
    seen = tokens()
    for position in (0, 7, 15):
        changed = seen.clone()
        changed[:, position:] = (changed[:, position:] + 1) % 96
        before, after = model(seen), model(changed)
        torch.testing.assert_close(before[:, :position], after[:, :position])
        assert not torch.allclose(before[:, position:], after[:, position:], atol=1e-2)
    torch.testing.assert_close(model(seen[:, :5]), model(seen)[:, :5])


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_loss_is_that_of_the_next_symbol(structure: str) -> None:
    model = perturbed(model_of(structure))
    window = tokens(length=17)
    log_probability = model(window[:, :-1]).log_softmax(-1)
    picked = log_probability.gather(-1, window[:, 1:, None])
    torch.testing.assert_close(model.loss(window), -picked.mean())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_implementations_and_layouts_agree(structure: str) -> None:
    window = tokens(length=17)
    found = {}
    for name, activations in product(ON_CPU, LAYOUTS):
        model = perturbed(model_of(structure, implementation=name, activations=activations))
        loss = model.loss(window)
        loss.backward()
        assert model.implementations_on(torch.device("cpu")) == (name,)
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        found[name, activations] = {"loss": loss.detach()} | gradients
    expected = found.pop(("reference", "row-major"))
    for case, values in found.items():
        for name, value in values.items():
            assert value is not None
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=f"{case}: {name}")


def test_activations_suit_the_device_and_the_model() -> None:
    wide, narrow = ModelShape(width=128), ModelShape(width=64)
    btt, cpu = parse("btt"), torch.device("cpu")
    assert activations_for(Candidate.of(btt, wide), cpu) == "feature-major"
    assert activations_for(Candidate.of(btt, narrow), cpu) == "row-major"
    assert activations_for(Candidate.dense(wide), cpu) == "row-major"
    assert activations_for(Candidate.of(btt, wide), torch.device("cuda")) == "row-major"
    assert model_of("btt", activations="feature-major").activations_on(cpu) == "feature-major"


def test_the_seed_decides_the_start() -> None:
    first, same, other = (model_of("btt", seed).state_dict() for seed in (0, 0, 1))
    torch.manual_seed(7)  # the global generator does not matter
    again = model_of("btt", 0).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, same[name])
        assert torch.equal(tensor, again[name])
    assert not torch.equal(first["blocks.0.q.factors.0"], other["blocks.0.q.factors.0"])
    assert not torch.equal(first["blocks.0.q.factors.0"], first["blocks.1.q.factors.0"])


def test_what_starts_at_zero_and_what_has_a_gain() -> None:
    model = model_of("btt")
    for block in model.blocks:
        layers = {name: layer for name, layer in block.named_children() if isinstance(layer, EinsumLinear)}
        assert list(layers) == ["q", "k", "v", "o", "up", "down"]
        assert [name for name, layer in layers.items() if (layer.factors[1] == 0).all()] == ["o", "down"]
        assert [name for name, layer in layers.items() if layer.gain is None] == ["q", "k"]
        assert all(layer.bias is None for layer in layers.values())
    assert (model.head.weight == 0).all()


def test_embeddings_start_with_the_std_of_the_protocol() -> None:
    protocol = Protocol(context=64, embedding_std=0.3)
    model = ProxyGPT2(Candidate.dense(ModelShape(width=64, depth=1)), protocol, seed=0)
    for table in (model.token_embedding.weight, model.position_embedding.weight):
        assert table.std().item() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(("residual", "scale"), [("paper", math.sqrt(3 / 4)), ("completep", 1 / 4)])
def test_residual_branches_are_scaled_by_depth(residual: str, scale: float) -> None:
    model = ProxyGPT2(Candidate.dense(ModelShape(width=16, depth=4)), Protocol(context=16, residual=residual), seed=0)
    block = perturbed(model).blocks[2]
    x_NC = torch.randn(2 * 5, 16)
    after = x_NC + scale * block.attention(x_NC, batch_of("row-major", 2))
    hidden = torch.nn.functional.gelu(block.norm_ffn(after) @ block.up.factors[0])
    expected = after + scale * (hidden @ block.down.factors[0])
    torch.testing.assert_close(block(x_NC, batch_of("row-major", 2)), expected)
    torch.testing.assert_close(block(x_NC.t().contiguous(), batch_of("feature-major", 2)), expected.t())


@pytest.mark.parametrize("activations", LAYOUTS)
def test_attention_against_the_formula(activations: Activations) -> None:
    block = perturbed(model_of("dense")).blocks[0]
    x_TC = torch.randn(5, 16)
    normal_TC = block.norm_attention(x_TC)
    heads = {}
    for name, norm in (("q", block.norm_q), ("k", block.norm_k), ("v", None)):
        y = (normal_TC @ getattr(block, name).factors[0]).view(5, 2, 8)
        if norm is not None:
            y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            y = y * norm.weight
        heads[name] = y.transpose(0, 1)
    logits = heads["q"] @ heads["k"].mT * (8 / 8)
    logits = logits.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    mixed = (logits.softmax(-1) @ heads["v"]).transpose(0, 1).reshape(5, 16)
    operations = OPERATIONS[activations]
    y = block.attention(operations.of_rows(x_TC), batch_of(activations, 1))
    torch.testing.assert_close(operations.to_rows(y), mixed @ block.o.factors[0])


def multipliers(text: str, shape: ModelShape, protocol: Protocol) -> dict[str, float]:
    model = ProxyGPT2(Candidate.of(parse(text), shape), protocol, seed=0)
    found = learning_rate_multipliers(model, model.base_fans, protocol.optimizer)
    assert list(found) == [name for name, _ in model.named_parameters()]
    return found


def test_multipliers_of_dense_are_those_of_mup() -> None:
    found = multipliers("dense", ModelShape(width=128, depth=2), Protocol(context=8, base_width=32))
    for name, value in found.items():
        scaled = name == "head.weight" or ".factors." in name
        assert value == (32 / 128 if scaled else 1.0), name


def test_multipliers_of_a_base_model_without_expansion() -> None:
    protocol = Protocol(context=8, base_width=32, base_ffn_expansion=1)
    found = multipliers("dense", ModelShape(width=128, depth=1), protocol)
    assert found["blocks.0.up.factors.0"] == 32 / 128
    assert found["blocks.0.down.factors.0"] == 32 / 512


def test_multipliers_of_btt_worked_by_hand() -> None:
    """Width 64, base 32: q has blocks of 8, up is a8 g8 e16 f16, down a16 g16 e8 f8; two factors."""
    found = multipliers("btt", ModelShape(width=64, depth=1), Protocol(context=8, base_width=32))
    layers = {"q": (8, 8), "k": (8, 8), "v": (8, 8), "o": (8, 8), "up": (8, 8), "down": (16, 16)}
    for name, fans in layers.items():
        base = 32 * 4 if name == "down" else 32
        for factor, fan_in in enumerate(fans):
            assert found[f"blocks.0.{name}.factors.{factor}"] == base / fan_in / 2, (name, factor)
        assert found.get(f"blocks.0.{name}.gain") == (None if name in "qk" else 1.0)
    rest = {name: value for name, value in found.items() if not name.startswith("blocks.0.") or "norm" in name}
    assert rest.pop("head.weight") == 0.5
    assert set(rest.values()) == {1.0}
