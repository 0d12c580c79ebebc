"""Replacing the linear layers of any model: which ones, what they keep, what is refused."""

import copy
import doctest
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from einsearch import own_model
from einsearch.errors import EinsearchError
from einsearch.layers.conversion import Conversion
from einsearch.layers.convert import convert
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.parametrize import param_groups
from einsearch.layers.project import project
from einsearch.space.einsum import Einsum
from einsearch.space.operator import operator
from einsearch.space.parse import parse


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int, bias: bool = True) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


class Language(nn.Module):
    """Two MLPs between an embedding and a head, which may be tied."""

    def __init__(self, tied: bool = False, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, width)
        self.blocks = nn.ModuleList(Mlp(width, 4 * width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, 10, bias=False)
        if tied:
            self.lm_head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.norm(x))


def kinds(model: nn.Module) -> dict[str, str]:
    """The linear layers, by every name: their structure, or `dense`."""
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, EinsumLinear):
            found[name] = str(module.operator.einsum)
        elif isinstance(module, nn.Linear):
            found[name] = "dense"
    return found


def replaced(conversion: Conversion) -> list[str]:
    return [layer.name for layer in conversion.replaced]


BLOCKS = ["blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down"]


def test_by_default_every_linear_layer_but_the_head_is_replaced() -> None:
    model = Language()
    conversion = convert(model, "btt")
    assert replaced(conversion) == BLOCKS
    assert [(layer.name, layer.reason) for layer in conversion.skipped] == [
        ("lm_head", "an output head by its name; name it in `where` to convert it")
    ]
    assert kinds(model) == dict.fromkeys(BLOCKS, "(0.5|0|0.5|0|0.5|0.5|0)") | {"lm_head": "dense"}
    assert model(torch.arange(6).reshape(2, 3)).shape == (2, 3, 10)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("*", [*BLOCKS, "lm_head"]),
        ("blocks.*", BLOCKS),
        ("*.up", ["blocks.0.up", "blocks.1.up"]),
        ("blocks.[0].*", ["blocks.0.up", "blocks.0.down"]),
        ("blocks.?.d*", ["blocks.0.down", "blocks.1.down"]),
        ("lm_head", ["lm_head"]),
        (["lm_head", "*.0.up"], ["blocks.0.up", "lm_head"]),
        (["*.up", "blocks.*", "*.0.*"], BLOCKS),
        (lambda name, module: module.out_features == 64, ["blocks.0.up", "blocks.1.up"]),
        (lambda name, module: name.endswith("head"), ["lm_head"]),
    ],
)
def test_patterns_and_functions_choose_layers(where: object, expected: list[str]) -> None:
    model = Language()
    assert replaced(convert(model, "low-rank", where)) == expected  # type: ignore[arg-type]
    assert [name for name, kind in kinds(model).items() if kind != "dense"] == expected


def test_excluded_layers_are_left() -> None:
    model = Language()
    conversion = convert(model, "btt", "*", exclude=["*.down", "lm_head"])
    assert replaced(conversion) == ["blocks.0.up", "blocks.1.up"]
    assert {layer.name: layer.reason for layer in conversion.skipped} == {
        "blocks.0.down": "excluded by '*.down'",
        "blocks.1.down": "excluded by '*.down'",
        "lm_head": "excluded by 'lm_head'",
    }


def test_a_mapping_gives_every_layer_its_structure_and_the_first_pattern_counts() -> None:
    model = Language()
    convert(model, {"blocks.0.up": "kronecker", "*.up": "low-rank", "blocks.1.*": "dense", "*.down": parse("btt(1/4)")})
    assert kinds(model) == {
        "blocks.0.up": str(parse("kronecker")),
        "blocks.0.down": str(parse("btt(1/4)")),
        "blocks.1.up": str(parse("low-rank")),
        "blocks.1.down": "dense",
        "lm_head": "dense",
    }


@pytest.mark.parametrize(
    "structure",
    [
        "btt",
        "(0.5|0|0.5|0|0.5|0.5|0)",
        "ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2",
        parse("btt"),
        (0.5, 0, 0.5, 0, 0.5, 0.5, 0),
    ],
    ids=["family", "theta", "einsum", "Einsum", "numbers"],
)
def test_every_way_to_write_a_structure(structure: str | Einsum | tuple[float, ...]) -> None:
    model = nn.Sequential(nn.Linear(16, 16))
    convert(model, structure)
    assert kinds(model) == {"0": "(0.5|0|0.5|0|0.5|0.5|0)"}


def test_a_module_with_several_names_is_replaced_once_and_stays_shared() -> None:
    shared = nn.Linear(16, 16)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(nn.Linear(16, 16), shared), "c": shared})
    conversion = convert(model, "btt", "b.1")
    assert [layer.names for layer in conversion.replaced] == [("a", "b.1", "c")]
    assert model["a"] is model["c"] is model["b"][1]
    assert isinstance(model["a"], EinsumLinear)
    assert kinds(model)["b.0"] == "dense"
    assert sum(layer.parameters for layer in conversion.replaced) == sum(p.numel() for p in model["a"].parameters())


def test_a_tied_head_is_left_with_the_reason() -> None:
    for where in (None, "*"):
        model = Language(tied=True)
        conversion = convert(model, "btt", where)
        assert replaced(conversion) == BLOCKS
        assert [(s.name, s.reason) for s in conversion.skipped] == [
            ("lm_head", "its weight is tied to embedding.weight")
        ]
        assert model.lm_head.weight is model.embedding.weight


def test_a_weight_that_the_parent_holds_too_is_tied() -> None:
    model = Mlp(16, 32)
    model.transposed = model.up.weight
    assert [(s.name, s.reason) for s in convert(model, "btt").skipped] == [("up", "its weight is tied to transposed")]


@pytest.mark.parametrize("bias", [True, False])
def test_what_a_layer_keeps(bias: bool) -> None:
    model = Mlp(16, 64, bias).to(torch.float64)
    model.down.eval()
    model.up.weight.requires_grad_(False)
    before = dict(model.named_parameters())
    convert(model, "btt(1/4)")
    assert (model.up.training, model.down.training) == (True, False)
    assert all(parameter.dtype == torch.float64 for parameter in model.parameters())
    assert not any(p.requires_grad for name, p in model.up.named_parameters() if name != "bias")
    assert all(p.requires_grad for p in model.down.parameters())
    for layer, name in ((model.up, "up.bias"), (model.down, "down.bias")):
        assert layer.bias is before.get(name)
        assert layer.bias is None or layer.bias.requires_grad
        assert (layer.bias is not None) == bias
    assert list(dict(model.named_children())) == ["up", "down"]


def test_a_bias_that_is_shared_stays_shared() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 8))
    model[1].bias = model[0].bias
    convert(model, "kronecker")
    assert model[0].bias is model[1].bias is not None


def test_layers_may_be_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = Mlp(16, 64)
    convert(model, "btt")
    assert all(parameter.is_meta for parameter in model.parameters())
    with pytest.raises(EinsearchError, match=r"^layer up: the weights are on the meta device"):
        convert(Mlp(16, 64).to("meta"), "btt", project=True)


def test_the_start_follows_the_rules_of_the_layer() -> None:
    model = nn.Sequential(nn.Linear(256, 1024), nn.Linear(1024, 256))
    convert(model, "btt", zero="1", generator=torch.Generator().manual_seed(0))
    # x = 16 x 16, y = 32 x 32: A contracts 16 into 32, B 16 into 32.
    for factor in model[0].factors:
        assert factor.std().item() == pytest.approx(math.sqrt(16) / 16, rel=0.1)
    assert model[1].zero
    assert not model[1].factors[model[1].operator.plan.steps[-1].factor].any()
    again = nn.Sequential(nn.Linear(256, 1024), nn.Linear(1024, 256))
    convert(again, "btt", zero="1", generator=torch.Generator().manual_seed(0))
    assert torch.equal(model[0].factors[0], again[0].factors[0])


def test_options_of_the_layers() -> None:
    model = Mlp(16, 64)
    convert(model, "btt", normalize=False, implementation="reference")
    assert (model.up.normalize, model.up.gain, model.up.implementation) == (False, None, "reference")
    model = Mlp(16, 64)
    convert(model, "btt", gain=False)
    assert (model.up.normalize, model.up.gain) == (True, None)
    model = Mlp(16, 64)
    convert(model, "btt", project=True)
    assert (model.up.normalize, model.up.gain) == (False, None)
    model = Mlp(16, 64)
    convert(model, "btt", project=True, normalize=True)
    assert model.up.normalize
    assert model.up.gain is not None


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("text", ["low-rank", "kronecker", "btt(1/4)", "btt(1/8, factors=3)"])
def test_a_projected_model_computes_with_the_projected_matrices(text: str, normalize: bool) -> None:
    torch.manual_seed(0)
    model = Mlp(16, 36).double()
    dense = copy.deepcopy(model)
    conversion = convert(model, text, project=True, normalize=normalize)
    found = {}
    for layer, before in ((model.up, dense.up), (model.down, dense.down)):
        shape = layer.in_features, layer.out_features
        x = torch.eye(shape[0], dtype=torch.float64)
        found[shape] = layer(x) - layer.bias
        error = (found[shape] - before.weight.mT).norm() / before.weight.norm()
        assert error.item() == pytest.approx(project(before.weight.mT, operator(parse(text), *shape)).relative_error)
        assert error.item() == pytest.approx(next(r.relative_error for r in conversion.replaced if r.d_in == shape[0]))
        with torch.no_grad():
            before.weight.copy_(found[shape].mT)
    x = torch.randn(5, 16, dtype=torch.float64)
    assert torch.allclose(model(x), dense(x))
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_what_is_reported_of_a_layer() -> None:
    """BTT at 64 -> 256: a8 g8 e16 f16, A 8 x 8 x 16, B 8 x 16 x 16, two gains and the bias."""
    model = nn.Sequential(nn.Linear(64, 256))
    (layer,) = convert(model, "btt").replaced
    assert (layer.d_in, layer.d_out, layer.parameters_before, layer.macs_before) == (64, 256, 16640, 16384)
    assert (layer.parameters, layer.macs) == (1024 + 2048 + 2 + 256, 1024 + 2048)
    assert layer.relative_error is None


def test_the_table_shows_layers_that_differ_in_numbers_once() -> None:
    model = Language()
    lines = str(convert(model, "btt")).splitlines()
    assert len(lines) == 5
    assert " ".join(lines[0].split()) == "layer x to y structure sizes parameters of dense MACs of dense"
    assert lines[1].startswith("blocks.*.up    x2  16 to 64  BTT rank 1  a4 g4 e8 f8")
    assert lines[3].split()[:2] == ["4", "layers"]
    assert lines[4] == "left dense: lm_head: an output head by its name; name it in `where` to convert it"
    text = str(convert(nn.Sequential(nn.Linear(12, 18)), "low-rank", project=True))
    assert text.splitlines()[0].endswith("error")
    assert text.splitlines()[1].startswith("0 ")


def test_learning_rates_of_a_converted_model() -> None:
    model = Language()
    convert(model, "low-rank")
    rate = {p: group["lr"] for group in param_groups(model, lr=0.01) for p in group["params"]}
    # 16 -> 64, rank 4: (d_in / n_in) / factors.
    assert [rate[p] for p in model.blocks[0].up.factors] == pytest.approx([0.005, 0.02])
    assert rate[model.lm_head.weight] == 0.01


def test_attention_and_the_fused_inference_of_torch_still_work() -> None:
    """The output projection is a subclass whose weight is read; the encoder's fused inference reads weights too."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, dtype=torch.float64)
    model = nn.TransformerEncoder(layer, 2)
    conversion = convert(model, "btt(1/4)")
    assert replaced(conversion) == ["layers.0.linear1", "layers.0.linear2", "layers.1.linear1", "layers.1.linear2"]
    assert [s.name for s in conversion.skipped] == ["layers.0.self_attn.out_proj", "layers.1.self_attn.out_proj"]
    assert all("NonDynamicallyQuantizableLinear" in s.reason for s in conversion.skipped)
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[:, 4] = True
    trained = model(x, src_key_padding_mask=padding)
    model.eval()
    with torch.no_grad():
        assert torch.allclose(model(x, src_key_padding_mask=padding)[:, :4], trained[:, :4])
        assert model(x).shape == x.shape
    decoder = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True, dtype=torch.float64)
    convert(decoder, "btt")
    assert decoder.eval()(x, x).shape == x.shape


def hooked(model: Mlp) -> None:
    model.up.register_forward_hook(lambda *_: None)


def hooked_before(model: Mlp) -> None:
    model.up.register_forward_pre_hook(lambda *_: None)


def hooked_backward(model: Mlp) -> None:
    model.up.register_full_backward_hook(lambda *_: None)


def hooked_state(model: Mlp) -> None:
    model.up.register_state_dict_post_hook(lambda *_: None)


def hooked_parameter(model: Mlp) -> None:
    model.up.weight.register_hook(lambda grad: grad)


def parametrized(model: Mlp) -> None:
    nn.utils.parametrizations.spectral_norm(model.up)


def patched(model: Mlp) -> None:
    model.up.forward = lambda x: x  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (hooked, "hooks"),
        (hooked_before, "hooks"),
        (hooked_backward, "hooks"),
        (hooked_state, "hooks"),
        (hooked_parameter, "hooks on its parameters"),
        (parametrized, "parametrizations"),
        (patched, "a forward of its own"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_a_replacement_would_lose_is_refused(alter: Callable[[Mlp], None], said: str) -> None:
    model = Mlp(16, 64)
    alter(model)
    down = model.down
    message = f"^layer up has {said}, which would be lost; remove them first, or leave it out: exclude='up'$"
    for where in (None, "*", "up"):
        with pytest.raises(EinsearchError, match=message):
            convert(model, "btt", where)
        assert model.down is down
    assert replaced(convert(model, "btt", exclude="up")) == ["down"]


class Scaled(nn.Linear):
    """A subclass that uses its weight in a way of its own."""


def integers(model: Mlp) -> None:
    model.up.weight = nn.Parameter(model.up.weight.detach().to(torch.complex64))


def subclass(model: Mlp) -> None:
    model.up = Scaled(16, 64)


def empty(model: Mlp) -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        model.up = nn.Linear(0, 64)


class SpecialParameter(nn.Parameter):
    pass


def special(model: Mlp) -> None:
    model.up.weight = SpecialParameter(model.up.weight.detach())


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (integers, "its weight is complex64; known are float16, bfloat16, float32, float64"),
        (subclass, "a Scaled, a subclass of nn.Linear: who uses it may read its weight"),
        (empty, "its weight is 64 x 0: a dimension is 0"),
        (special, "its weight is a SpecialParameter, not a plain parameter"),
    ],
    ids=["dtype", "subclass", "dimension", "parameter"],
)
def test_layers_that_cannot_be_replaced_are_left_or_refused(alter: Callable[[Mlp], None], reason: str) -> None:
    model = Mlp(16, 64)
    alter(model)
    with pytest.raises(EinsearchError, match=f"^layer up cannot be converted: {reason}; leave it out$"):
        convert(model, "btt", "up")
    with pytest.raises(EinsearchError, match=f"^no layer is converted: up: {reason}$"):
        convert(model, "btt", "u*")
    conversion = convert(model, "btt")
    assert replaced(conversion) == ["down"]
    assert [(s.name, s.reason) for s in conversion.skipped] == [("up", reason)]


def test_a_tied_head_that_is_named_is_refused() -> None:
    model = Language(tied=True)
    message = r"^layer lm_head cannot be converted: its weight is tied to embedding.weight; leave it out$"
    for where in (["*.up", "lm_head"], ["*", "lm_head"]):
        with pytest.raises(EinsearchError, match=message):
            convert(model, "btt", where)
    assert set(kinds(model).values()) == {"dense"}


THERE = "there are blocks.0.up, blocks.0.down, blocks.1.up, blocks.1.down, lm_head"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": "btt", "where": "*.q"}, rf"^pattern '\*\.q' matches no linear layer; {THERE}$"),
        ({"structure": "btt", "where": ["*", "*.q"]}, rf"^pattern '\*\.q' matches no linear layer; {THERE}$"),
        ({"structure": "btt", "where": "norm"}, rf"^pattern 'norm' matches no linear layer; {THERE}$"),
        ({"structure": "btt", "where": "up"}, rf"^pattern 'up' matches .*{THERE}; '\*\.up' matches 2 of them$"),
        ({"structure": "btt", "where": "blocks.1"}, r"; 'blocks.1' holds linear layers: write 'blocks.1\.\*'$"),
        ({"structure": "btt", "where": []}, r"^where is empty; give a pattern"),
        ({"structure": "btt", "where": lambda name, module: False}, r"^where chose none of the 5 linear layers: "),
        ({"structure": "btt", "exclude": "*.q"}, rf"^pattern '\*\.q' matches no linear layer; {THERE}$"),
        ({"structure": "btt", "exclude": "*"}, r"^no layer is converted: blocks\.0\.up: excluded by '\*'$"),
        ({"structure": "btt", "zero": "*.q"}, r"^zero: pattern '\*\.q' matches no linear layer; there are blocks"),
        ({"structure": "btt", "zero": "lm_head"}, r"^zero: pattern 'lm_head' matches no linear layer"),
        ({"structure": "btt", "zero": "*.up", "project": True}, r"^project starts layers from the dense weights"),
        (
            {"structure": {"*": "btt", "*.up": "dense"}},
            r"^pattern '\*\.up' matches only layers that an earlier pattern",
        ),
        ({"structure": {"*.up": "btt"}, "where": "*"}, r"^the patterns are given in the mapping of structures and in"),
        ({"structure": {}}, r"^the mapping of structures is empty; give a pattern and a structure"),
        ({"structure": "nonsense"}, r"^unknown structure 'nonsense'; give a family \(dense, low-rank"),
        ({"structure": "(1|0|0)"}, r"^theta has 3 exponents, not 7"),
        ({"structure": (1, 0, 0)}, r"^theta has 3 exponents, not 7"),
        ({"structure": 3}, r"^structure is a int; give a family's name"),
        ({"structure": "dense"}, r"^every structure is dense, which the layers are already; give another, as 'btt'$"),
        ({"structure": {"*.up": "dense"}}, r"^every structure is dense"),
        ({"structure": "btt", "implementation": "fast"}, r"^layer blocks\.0\.up: unknown implementation 'fast'"),
        (
            {"structure": "btt", "project": True, "normalize": True, "gain": False},
            r"^layer blocks\.0\.up: a weight-norm",
        ),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(options: dict[str, object], message: str) -> None:
    model = Language()
    before = dict(model.named_modules())
    with pytest.raises(EinsearchError, match=message) as raised:
        convert(model, **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert dict(model.named_modules()) == before


def test_the_example_of_the_documentation() -> None:
    results = doctest.testmod(own_model)
    assert results.attempted > 1
    assert results.failed == 0


def test_models_that_cannot_be_converted() -> None:
    with pytest.raises(
        EinsearchError, match=r"^Embedding has no linear layer \(nn.Linear or Conv1D\), so none to conv"
    ):
        convert(nn.Embedding(3, 4), "btt")
    with pytest.raises(EinsearchError, match=r"^the model is itself a Linear, which cannot be replaced in place"):
        convert(nn.Linear(3, 4), "btt")
    model = Mlp(16, 64)
    convert(model, "btt")
    with pytest.raises(EinsearchError, match=r"^Mlp has no linear layer"):
        convert(model, "btt")
    many = nn.ModuleList(nn.Linear(2, 2) for _ in range(9))
    with pytest.raises(EinsearchError, match=r"there are 0, 1, 2, 3, 4, 5 and 3 more$"):
        convert(many, "btt", "x")
    broken = Mlp(16, 64)
    with torch.no_grad():
        broken.down.weight[0, 0] = math.inf
    with pytest.raises(EinsearchError, match=r"^layer down: the weights are not all finite"):
        convert(broken, "btt", project=True)
    assert set(kinds(broken).values()) == {"dense"}
