"""Checkpoints: whole or absent, read back exactly, never unpickled."""

import json
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from einsearch.errors import EinsearchError
from einsearch.proxy import checkpoint
from einsearch.proxy.checkpoint import TrainingState, load, load_model, save

STATE = TrainingState(
    key="0123456789ab", seed=2**63 + 1, setting="f" * 16, step=7, seconds=0.1 + 0.2, loss_sum=1 / 3, loss_count=3
)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, lr=0.1, fused=True),
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9, fused=True),
    "sgd without momentum": partial(torch.optim.SGD, lr=0.01, fused=True),
}


def trained(width: int = 4, steps: int = 7, kind: str = "adamw") -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2))
    optimizer = OPTIMIZERS[kind](model.parameters())
    for _ in range(steps):
        step(model, optimizer)
    return model, optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.linspace(-1, 1, 12).reshape(3, 4)).square().sum().backward()
    optimizer.step()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "trial" / "step-7", *trained(), STATE)
    return tmp_path / "trial" / "step-7"


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_checkpoint_is_read_back_exactly(kind: str, tmp_path: Path) -> None:
    model, optimizer = trained(kind=kind)
    save(tmp_path / "step-7", model, optimizer, STATE)
    other, other_optimizer = trained(steps=0, kind=kind)
    assert load(tmp_path / "step-7", other, other_optimizer) == STATE
    for _ in range(3):
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine, theirs)
            kept = {name: value for name, value in optimizer.state[mine].items() if value is not None}
            assert kept.keys() == other_optimizer.state[theirs].keys()
            for name, value in kept.items():
                assert torch.equal(value, other_optimizer.state[theirs][name]), name
        step(model, optimizer)
        step(other, other_optimizer)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weights_alone(kind: str, tmp_path: Path) -> None:
    model, optimizer = trained(kind=kind)
    save(tmp_path / "step-7", model, optimizer, STATE)
    other, _ = trained(steps=0)
    assert load_model(tmp_path / "step-7", other) == STATE
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_checkpoint_holds_two_files_and_no_leavings(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["tensors.safetensors", "training.json"]
    assert [path.name for path in saved.parent.iterdir()] == ["step-7"]


def test_saving_again_replaces_the_checkpoint(saved: Path) -> None:
    model, optimizer = trained(steps=9)
    save(saved, model, optimizer, STATE)
    other, _ = trained(steps=0)
    load_model(saved, other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert [path.name for path in saved.parent.iterdir()] == ["step-7"]


def fail(*_: Any, **__: Any) -> NoReturn:
    raise KeyboardInterrupt("the machine goes down")


@pytest.mark.parametrize(
    ("module", "function"), [(checkpoint, "serialize"), (checkpoint, "_sync"), (json, "dumps"), (os, "rename")]
)
def test_a_crash_while_saving_leaves_no_checkpoint(
    module: Any, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = trained()
    with monkeypatch.context() as patch:
        patch.setattr(module, function, fail)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path / "step-7", model, optimizer, STATE)
    assert list(tmp_path.iterdir()) == []


def test_files_are_on_disk_before_the_checkpoint_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    folder = tmp_path / "step-7"
    real = checkpoint._sync

    def watched(path: Path) -> None:
        synced.append(f"{path.name} {'after' if folder.exists() else 'before'}")
        real(path)

    monkeypatch.setattr(checkpoint, "_sync", watched)
    save(folder, *trained(), STATE)
    assert synced == ["tensors.safetensors before", "training.json before", f"{tmp_path.name} after"]


def damage_tensors(folder: Path) -> None:
    path = folder / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def fill_with_noise(folder: Path) -> None:
    (folder / "tensors.safetensors").write_bytes(b"\xff" * 100)


def remove_tensors(folder: Path) -> None:
    (folder / "tensors.safetensors").unlink()


def cut_facts(folder: Path) -> None:
    (folder / "training.json").write_text('{"key": "01', encoding="utf-8")


def forget_a_fact(folder: Path) -> None:
    path = folder / "training.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    del facts["loss_sum"]
    path.write_text(json.dumps(facts), encoding="utf-8")


def list_facts(folder: Path) -> None:
    (folder / "training.json").write_text("[1, 2]", encoding="utf-8")


def put_a_pickle(folder: Path) -> None:
    (folder / "tensors.safetensors").write_bytes(pickle.dumps({"model.0.weight": [1.0]}))


@pytest.mark.parametrize(
    "damage",
    [damage_tensors, fill_with_noise, remove_tensors, cut_facts, forget_a_fact, list_facts, put_a_pickle],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_checkpoint_is_refused(damage: Any, saved: Path) -> None:
    damage(saved)
    with pytest.raises(EinsearchError, match=r"^checkpoint .*step-7 cannot be read: "):
        load(saved, *trained(steps=0))


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EinsearchError, match=r"^checkpoint .*step-9 cannot be read: .*No such file"):
        load_model(tmp_path / "step-9", trained()[0])


def test_a_checkpoint_of_another_model_is_refused(saved: Path) -> None:
    wider, optimizer = trained(width=5, steps=0)
    with pytest.raises(
        EinsearchError,
        match=r"^checkpoint .* does not fit the model: .* is \(4,\) in the checkpoint and \(5,\) in the model",
    ):
        load(saved, wider, optimizer)
    deeper = nn.Sequential(*trained()[0], nn.Linear(2, 2))
    with pytest.raises(
        EinsearchError, match=r"^checkpoint .* does not fit the model: exp_avg.2.bias is missing in the checkpoint"
    ):
        load_model(saved, deeper)


def test_a_checkpoint_of_a_deeper_model_is_refused(saved: Path) -> None:
    with pytest.raises(
        EinsearchError, match=r"^checkpoint .* does not fit the model: exp_avg.1.bias is .* missing in the model"
    ):
        load_model(saved, trained()[0][:1])


def test_a_checkpoint_without_moments_is_refused(saved: Path) -> None:
    path = saved / "tensors.safetensors"
    save_file({n: t for n, t in load_file(path).items() if n != "exp_avg_sq.1.bias"}, path)
    model, optimizer = trained(steps=0)
    with pytest.raises(EinsearchError, match=r"^checkpoint .* does not fit the model: .*exp_avg_sq\.1\.bias"):
        load(saved, model, optimizer)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("sgd", r"exp_avg.0.bias is \(4,\) in the checkpoint and missing in the model"),
        ("sgd without momentum", r"exp_avg.0.bias is \(4,\) in the checkpoint and missing in the model"),
    ],
)
def test_a_checkpoint_of_another_optimizer_is_refused(kind: str, message: str, saved: Path) -> None:
    model, optimizer = trained(steps=0, kind=kind)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(EinsearchError, match=rf"^checkpoint .* does not fit the model: {message}"):
        load(saved, model, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not optimizer.state


def test_nothing_is_ever_unpickled(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, fail)
    assert load(saved, *trained(steps=0)) == STATE
