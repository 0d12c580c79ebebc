"""Converted models in files: rebuilt exactly from a fresh one, or refused with the reason."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from einsearch.errors import EinsearchError
from einsearch.layers import export
from einsearch.layers.convert import convert
from einsearch.layers.export import convert_like, load_converted, save_converted
from einsearch.layers.linear import EinsumLinear


class Model(nn.Module):
    """Layers under several names, a tied head, a view and a number among the buffers."""

    def __init__(self, width: int = 16, bias: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, width)
        self.first = nn.Linear(width, 36, bias=bias)
        self.second = nn.Linear(36, width)
        self.again = self.first
        self.norm = nn.BatchNorm1d(36)
        self.head = nn.Linear(width, 10, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("view", torch.arange(12.0).reshape(3, 4)[:, 1])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        return self.head(self.second(self.again(x) + self.first(x)) * self.view.sum())


def converted(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    model = Model()
    convert(model, {"first": "btt(1/4)", "second": "low-rank"}, normalize=False, zero="second")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    model.norm.num_batches_tracked.fill_(7)
    return model


TOKENS = torch.arange(10).reshape(2, 5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_converted(converted(), tmp_path / "new" / "folder")


def test_a_fresh_model_becomes_the_saved_one(saved: Path) -> None:
    model, fresh = converted(), Model()
    conversion = load_converted(fresh, saved)
    assert [layer.names for layer in conversion.replaced] == [("first", "again"), ("second",)]
    assert fresh.first is fresh.again
    assert fresh.head.weight is fresh.embedding.weight
    assert fresh.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert torch.equal(fresh(TOKENS), model(TOKENS))
    for name in ("first", "second"):
        layer, wanted = fresh.get_submodule(name), model.get_submodule(name)
        assert isinstance(layer, EinsumLinear)
        assert isinstance(wanted, EinsumLinear)
        assert layer.operator == wanted.operator
        for option in ("normalize", "zero", "implementation", "gain"):
            assert getattr(layer, option) == getattr(wanted, option), option


def test_what_is_written(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["einsearch.json", "einsearch.safetensors"]
    described = json.loads((saved / "einsearch.json").read_text())
    first, second = described["layers"]
    assert first["names"] == ["first", "again"]
    assert (first["in_features"], first["out_features"], second["einsum"]) == (16, 36, "(1|0|0|0|1|0|0.5)")
    assert first["sizes"] == {"a": 4, "g": 4, "e": 6, "f": 6, "r": 2}
    tensors = load_file(saved / "einsearch.safetensors")
    assert "head.weight" not in tensors, "a tied tensor is written once"
    assert not any(name.startswith("again.") for name in tensors)


def test_only_the_structure(saved: Path) -> None:
    fresh = Model().to(torch.float64)
    before = fresh.embedding.weight.clone()
    convert_like(fresh, saved)
    assert isinstance(fresh.first, EinsumLinear)
    assert {parameter.dtype for parameter in fresh.parameters()} == {torch.float64}
    assert torch.equal(fresh.embedding.weight, before)
    fresh.load_state_dict(converted().state_dict())


def test_weights_are_brought_to_the_type_of_the_model(saved: Path) -> None:
    fresh = Model().to(torch.bfloat16)
    load_converted(fresh, saved)
    assert torch.equal(fresh.first.factors[0], converted().first.factors[0].to(torch.bfloat16))


def test_saving_again_replaces_the_files(saved: Path) -> None:
    save_converted(converted(seed=1), saved)
    fresh = Model()
    load_converted(fresh, saved)
    assert torch.equal(fresh(TOKENS), converted(seed=1)(TOKENS))
    assert len(list(saved.iterdir())) == 2


def fail(*_: Any, **__: Any) -> NoReturn:
    raise KeyboardInterrupt("the machine goes down")


@pytest.mark.parametrize("function", ["save_file", "replace_file"])
def test_a_crash_while_saving_leaves_the_older_description(
    function: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (saved / "einsearch.json").read_bytes()
    monkeypatch.setattr(export, function, fail)
    with pytest.raises(KeyboardInterrupt):
        save_converted(converted(seed=1), saved)
    assert (saved / "einsearch.json").read_bytes() == before
    assert sorted(path.name for path in saved.iterdir()) == ["einsearch.json", "einsearch.safetensors"]


def test_nothing_is_unpickled(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, fail)
    load_converted(Model(), saved)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "einsearch.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.clear(), r"einsearch.json is no description of an einsearch converted model; give the folder"),
        (lambda d: d.update(format="other"), r"is no description of an einsearch converted model"),
        (lambda d: d.update(version=2), r"has version 2, this einsearch reads up to 1; install a newer one$"),
        (lambda d: d.update(version=None), r"has version None, this einsearch reads up to 1"),
        (lambda d: d.pop("layers"), r"einsearch.json is damaged: 'layers'; save the model again$"),
        (lambda d: d["layers"][0].pop("zero"), r"einsearch.json is damaged: .*zero"),
        (
            lambda d: d["layers"][0].update(sizes={"a": 16}),
            r"^layer first was saved with sizes \{'a': 16\}, and einsearch",
        ),
        (
            lambda d: d["layers"][0].update(names=["third"]),
            r"describes layer third, and the model has no linear layer of",
        ),
        (
            lambda d: d["layers"][0].update(names=["embedding"]),
            r"describes layer embedding, and the model has no linear",
        ),
        (
            lambda d: d["layers"][0].update(names=["head"]),
            r"^layer head cannot be converted: its weight is tied to emb",
        ),
        (lambda d: d["layers"][0].update(einsum="nonsense"), r"^unknown structure 'nonsense'"),
    ],
)
def test_a_description_that_is_not_right(change: Callable[[dict[str, Any]], object], message: str, saved: Path) -> None:
    edit(saved, change)
    model = Model()
    before = dict(model.named_modules())
    with pytest.raises(EinsearchError, match=message):
        load_converted(model, saved)
    assert dict(model.named_modules()) == before


@pytest.mark.parametrize("text", ["{", "[1]", "\udc80"])
def test_a_description_that_is_none(text: str, saved: Path) -> None:
    (saved / "einsearch.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(EinsearchError, match=r"einsearch.json (cannot be read|is no description)"):
        convert_like(Model(), saved)


def test_a_description_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EinsearchError, match=r"einsearch.json cannot be read: .*No such file"):
        convert_like(Model(), tmp_path)


def test_a_model_that_does_not_fit(saved: Path) -> None:
    with pytest.raises(
        EinsearchError, match=r"^layer first is 12 to 36 with bias, called again and first in the model"
    ):
        convert_like(Model(width=12), saved)
    with pytest.raises(EinsearchError, match=r"^layer first is 16 to 36 without bias, called again and first in"):
        convert_like(Model(bias=False), saved)
    apart = Model()
    apart.again = nn.Linear(16, 36)
    with pytest.raises(
        EinsearchError, match=r"^layer first is 16 to 36 with bias in the model and .*again and first in"
    ):
        convert_like(apart, saved)
    with pytest.raises(EinsearchError, match=r"describes layer first, and the model has no linear layer of that name"):
        convert_like(converted_alone(), saved)


def converted_alone() -> nn.Module:
    model = Model()
    convert(model, "btt", "first")
    return model


def forget(tensors: dict[str, torch.Tensor]) -> None:
    for name in ("norm.weight", "second.factors.0", "second.bias", "view"):
        del tensors[name]


def add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["third.weight"] = torch.zeros(2)


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["norm.weight"] = torch.zeros(3, 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (forget, r"lacks weights of the model: view, second.bias, second.factors.0 and 1 more$"),
        (add, r"has weights that the model has not: third.weight$"),
        (reshape, r"^norm.weight is 3 x 12 in .* and 36 in the model$"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_weights_that_do_not_fit(change: Callable[[dict[str, torch.Tensor]], None], message: str, saved: Path) -> None:
    tensors = load_file(saved / "einsearch.safetensors")
    change(tensors)
    save_file(tensors, saved / "einsearch.safetensors")
    with pytest.raises(EinsearchError, match=message):
        load_converted(Model(), saved)


def test_weights_that_are_damaged_or_missing(saved: Path) -> None:
    path = saved / "einsearch.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EinsearchError, match=r"^the weights .*einsearch.safetensors cannot be read: "):
        load_converted(Model(), saved)
    path.unlink()
    with pytest.raises(EinsearchError, match=r"^the weights .*einsearch.safetensors cannot be read: "):
        load_converted(Model(), saved)
    (saved / "model.safetensors.index.json").write_text("{}")
    edit(saved, lambda described: described.update(weights=None))
    with pytest.raises(EinsearchError, match=r"model.safetensors.index.json cannot be read"):
        load_converted(Model(), saved)


def test_a_model_on_the_meta_device(saved: Path) -> None:
    with torch.device("meta"):
        fresh = nn.Sequential(nn.Linear(16, 16))
    convert(fresh, "btt")
    with pytest.raises(EinsearchError, match=r"is not a tensor with values, so it cannot be saved"):
        save_converted(fresh, saved)
    with pytest.raises(EinsearchError, match=r" is on the meta device, which holds no values"):
        load_converted(Model().to("meta"), saved)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(EinsearchError, match=r"^Model has no einsum layer to describe; convert it first$"):
        save_converted(Model(), tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(EinsearchError, match=r"^cannot make folder .*file: File exists; give another path$"):
        save_converted(converted(), tmp_path / "file")
    (tmp_path / "einsearch.safetensors").mkdir()
    with pytest.raises(EinsearchError, match=r"^cannot write the weights to .*einsearch.safetensors: "):
        save_converted(converted(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["einsearch.safetensors", "file"]
